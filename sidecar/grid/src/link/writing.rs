//! Frames that were taken out of an outbox and are not written to the socket yet.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Frames of one call of the system: beyond this a longer list brings nothing more.
const AT_ONCE: usize = 64;

/// Frames that are being written.
#[derive(Debug, Default)]
pub(crate) struct Writing(VecDeque<Bytes>);

impl Writing {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn put(&mut self, frames: VecDeque<Bytes>) {
        if self.0.is_empty() { self.0 = frames } else { self.0.extend(frames) }
    }

    /// Writes as much as the socket takes, and says of each piece how long it was. Ready when all is written.
    pub(crate) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        cx: &mut Context<'_>,
        mut written: impl FnMut(usize),
    ) -> io::Result<Poll<()>> {
        while !self.0.is_empty() {
            let mut slices = [IoSlice::new(&[]); AT_ONCE];
            let count = slices.iter_mut().zip(&self.0).map(|(slice, frame)| *slice = IoSlice::new(frame)).count();
            let Poll::Ready(bytes) = Pin::new(&mut *socket).poll_write_vectored(cx, &slices[..count])? else {
                return Ok(Poll::Pending);
            };
            if bytes == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written(bytes);
            self.advance(bytes);
        }
        // An idle client holds no memory for it.
        self.0 = VecDeque::new();
        Ok(Pin::new(socket).poll_flush(cx)?)
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
