//! A client's way out: the frames that were taken out of its outbox and are not written yet, and its socket, where others than its
//! task may write to it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

use super::frames::Frames;
use crate::shared::Shared;

/// Frames of one call of the system: beyond this a longer list brings nothing more.
const AT_ONCE: usize = 64;

/// A client's way out. Whoever holds it writes: nobody else does meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Line {
    socket: Option<Shared>,
    writing: Frames,
}

impl Line {
    /// Others may write to this socket from now on, or to none.
    pub(super) fn share(&mut self, socket: Option<Shared>) {
        self.socket = socket;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writing.is_empty()
    }

    /// Frames are to be written. There are none before them.
    pub(crate) fn put(&mut self, frames: Frames) {
        self.writing = frames;
    }

    /// Writes as much as its task's `socket` takes, and says of each piece how long it was. Ready when all is written.
    pub(crate) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        cx: &mut Context<'_>,
        mut written: impl FnMut(usize),
    ) -> io::Result<Poll<()>> {
        while !self.writing.is_empty() {
            let mut slices = [IoSlice::new(&[]); AT_ONCE];
            let count = self.writing.slices(&mut slices);
            let Poll::Ready(bytes) = Pin::new(&mut *socket).poll_write_vectored(cx, &slices[..count])? else {
                return Ok(Poll::Pending);
            };
            if bytes == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written(bytes);
            self.writing.advance(bytes);
        }
        Ok(Pin::new(socket).poll_flush(cx)?)
    }

    /// Writes as much as the shared socket takes at once; how much that was. What is wrong with it, its task finds out.
    pub(super) fn write(&mut self) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        let mut total = 0;
        while !self.writing.is_empty() {
            let mut slices = [IoSlice::new(&[]); AT_ONCE];
            let count = self.writing.slices(&mut slices);
            let Ok(bytes @ 1..) = socket.try_write(&slices[..count]) else { break };
            total += bytes;
            self.writing.advance(bytes);
        }
        total
    }
}
