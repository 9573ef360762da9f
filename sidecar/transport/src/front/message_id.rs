//! The ids of pushes that are passed on: instance, epoch, sequence (design section 6). A push that is sent again carries
//! the same one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers the pushes of this process.
#[derive(Debug)]
pub(crate) struct MessageIds {
    /// Random for each process, so it is instance and epoch in one.
    instance: u64,
    next: AtomicU64,
}

impl MessageIds {
    pub(crate) fn new() -> Self {
        Self { instance: rand::random(), next: AtomicU64::new(1) }
    }

    pub(crate) fn next(&self) -> String {
        format!("{:016x}-0-{}", self.instance, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
