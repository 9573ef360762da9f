//! Frames that were fetched from the hub and are not written to the socket yet.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// As many pieces as the hub gives out at a time, and its few that go before them.
const AT_ONCE: usize = 8;

/// Frames that are being written.
#[derive(Debug, Default)]
pub(super) struct Writing(VecDeque<Bytes>);

impl Writing {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn put(&mut self, pieces: VecDeque<Bytes>) {
        if self.0.is_empty() { self.0 = pieces } else { self.0.extend(pieces) }
    }

    /// Writes as much as the socket takes, and says when it took something. Ready when all is written and flushed.
    pub(super) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        cx: &mut Context<'_>,
        mut took: impl FnMut(),
    ) -> Poll<io::Result<()>> {
        while !self.0.is_empty() {
            let mut slices = [IoSlice::new(&[]); AT_ONCE];
            let count = slices.iter_mut().zip(&self.0).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
            let slices = slices.get(..count).unwrap_or_default();
            let bytes = match Pin::new(&mut *socket).poll_write_vectored(cx, slices) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => bytes,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            };
            took();
            self.advance(bytes);
        }
        // Who is idle holds no memory for it.
        self.0 = VecDeque::new();
        Pin::new(socket).poll_flush(cx)
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = self.0.front_mut() {
            if bytes < first.len() {
                return first.advance(bytes);
            }
            bytes -= first.len();
            self.0.pop_front();
        }
    }
}
