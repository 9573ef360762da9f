//! What a connection's socket has seen, for those who hold its other parts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared by a socket and its connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    is_broken: AtomicBool,
    written: AtomicU64,
}

impl Traffic {
    /// The connection is lost.
    pub(super) fn broke(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// The kernel took so many bytes more. There is one writer.
    pub(super) fn wrote(&self, bytes: usize) {
        let written = self.written.load(Ordering::Relaxed);
        self.written.store(written.wrapping_add(bytes as u64), Ordering::Release);
    }

    /// The bytes that the kernel took so far, those of TLS included.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}
