//! A long answer from one socket to another by a pipe (splice(2)): the kernel hands its pages on, and nobody copies them.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use mesh_core::Body;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::lender::Holder;

/// What a pipe is asked to hold: what two sockets of usual size hold between them. The system may give less.
const ROOM: usize = 512 * 1024;

/// Empty pipes that a thread keeps: opening one costs as much as it saves in 64 KiB.
const KEPT: usize = 4;

thread_local! {
    static EMPTY: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// A pipe, empty or with bytes of one answer.
pub(super) struct Pipe {
    /// `None` once it was given back.
    ends: Option<Ends>,
    holds: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// An empty one.
    ///
    /// # Errors
    /// The system gives none: the answer is copied.
    pub(super) fn empty() -> io::Result<Self> {
        let ends = EMPTY.with_borrow_mut(Vec::pop).map_or_else(Ends::open, Ok)?;
        Ok(Self { ends: Some(ends), holds: 0 })
    }

    /// Whether there is something in it that the socket has not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.holds == 0
    }

    /// Fills it from `body`, which can go by a pipe; says with how many bytes.
    ///
    /// # Errors
    /// The body broke off.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<io::Result<usize>> {
        let (Body::Piped(body), Some(ends)) = (body, &self.ends) else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        let came = ready!(body.as_mut().poll_pipe(cx, ends.write.as_fd(), ROOM)).map_err(io::Error::other)?;
        self.holds += came;
        Poll::Ready(Ok(came))
    }

    /// Ready when the socket has taken all that is in it.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn poll_empty(&mut self, cx: &mut Context<'_>, holder: &mut Holder) -> Poll<io::Result<()>> {
        let Some(ends) = &self.ends else { return Poll::Ready(Ok(())) };
        while self.holds > 0 {
            let most = self.holds;
            match ready!(holder.with(|stream| Pin::new(stream).poll_take(cx, ends.read.as_fd(), most)))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.holds = self.holds.saturating_sub(taken),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Ends {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // One that is smaller does as well, in more steps.
        let _ = fcntl_setpipe_size(&write, ROOM);
        Ok(Self { read, write })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // What is left of one answer must not come into another.
        if let Some(ends) = self.ends.take().filter(|_| self.holds == 0) {
            EMPTY.with_borrow_mut(|empty| {
                if empty.len() < KEPT {
                    empty.push(ends);
                }
            });
        }
    }
}
