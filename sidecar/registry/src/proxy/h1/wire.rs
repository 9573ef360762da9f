//! A connection to a service: who hears of it, what was read from it, and how long it has waited. `exchange.rs` has the call that it
//! carries.

use std::{
    io,
    os::fd::BorrowedFd,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{BufMut as _, BytesMut};
use rustix::pipe::{SpliceFlags, splice};
use tokio::{
    io::{AsyncRead as _, Interest, ReadBuf},
    net::TcpStream,
    runtime::{self, Handle},
};
use tokio_util::{either::Either, io::poll_read_buf};

use super::head::Length;
use crate::dial::Stream;

/// What is read at once while a head or a small body is awaited.
pub(super) const SMALL_READ: usize = 8 * 1024;
/// A head is seldom longer.
const USUAL_HEAD: usize = 1024;
/// What is read at once of a large body.
pub(super) const LARGE_READ: usize = 128 * 1024;
/// So much of an answer is worth a pipe: below it, copying costs less than the calls that a pipe needs (`docs/benchmarks.md`).
pub(super) const PIPED: u64 = 128 * 1024;

/// A connection that waits for its next call, or carries one.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(super) stream: Stream,
    /// Where its readiness is heard of.
    home: Option<runtime::Id>,
    pub(super) read: BytesMut,
    /// What a request is written out of; empty, and kept for the sake of its memory.
    pub(super) first: Vec<u8>,
    /// What is read at once for the next answer: as much as the last one had, so that it comes in one piece.
    pub(super) expects: usize,
    /// Since when it waits, if it has carried a call before.
    since: Option<Instant>,
}

/// What is heard on a connection before it carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// The service has closed it.
    End,
    /// It sent what nobody asked for.
    Bytes,
}

/// Whether a connection has carried a call before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    Used,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, home: here(), read: BytesMut::new(), first: Vec::new(), expects: SMALL_READ, since: None }
    }

    /// Whether it is heard where this is called: whoever uses another thread's connection is woken by that thread, each time.
    pub(crate) fn is_of(&self, home: Option<runtime::Id>) -> bool {
        self.home == home
    }

    /// Brings a waiting connection to where this is called; one of TLS stays with the thread that made it. `None` if the
    /// service has closed it, or has spoken: nobody is told of that any more.
    pub(crate) fn brought_here(self) -> Option<Self> {
        let home = here();
        match self.stream {
            Either::Left(stream) if self.home != home => {
                let stream = stream.into_std().ok()?;
                stream.peek(&mut [0]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock).then_some(())?;
                Some(Self { stream: Either::Left(TcpStream::from_std(stream).ok()?), home, ..self })
            }
            stream => Some(Self { stream, ..self }),
        }
    }

    /// It has carried a call, and waits for the next one from now on.
    pub(crate) fn waits(&mut self) {
        self.since = Some(Instant::now());
    }

    /// How long it has waited.
    pub(crate) fn waited(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn age(&self) -> Age {
        if self.since.is_some() { Age::Used } else { Age::Fresh }
    }

    pub(super) fn poll_heard(&mut self, cx: &mut Context<'_>) -> Heard {
        let mut byte = [0];
        if let (Either::Left(stream), true) = (&self.stream, self.read.is_empty()) {
            // Nobody waits for more: what is to be known is known.
            return match stream.try_read(&mut byte) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
                Ok(1..) => Heard::Bytes,
                Ok(0) | Err(_) => Heard::End,
            };
        }
        let mut byte = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.stream).poll_read(cx, &mut byte) {
            _ if !self.read.is_empty() => Heard::Bytes,
            Poll::Pending => Heard::Nothing,
            Poll::Ready(Ok(())) if !byte.filled().is_empty() => Heard::Bytes,
            Poll::Ready(_) => Heard::End,
        }
    }

    /// Learns how much the next answer may bring.
    pub(super) fn learns(&mut self, length: Length) {
        if let Length::Exact(length) = length {
            if length >= PIPED && matches!(self.stream, Either::Left(_)) {
                // The next one may be as long, and what comes beside its head is copied.
                self.expects = USUAL_HEAD;
                return;
            }
            // A little more than that: a read that fills its room says nothing of what is left, and is followed by another.
            let whole = usize::try_from(length).unwrap_or(LARGE_READ).saturating_add(USUAL_HEAD);
            self.expects = whole.clamp(SMALL_READ, LARGE_READ);
        }
    }

    /// How much of what is `left` can go into a pipe: nothing by TLS, nor beside what was read before.
    pub(super) fn pipes(&self, left: u64) -> u64 {
        if self.read.is_empty() && matches!(self.stream, Either::Left(_)) { left } else { 0 }
    }

    /// Moves up to `most` bytes into `pipe`, which is empty; nought at the end.
    pub(super) fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let Either::Left(stream) = &self.stream else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let moved = stream.try_io(Interest::READABLE, || Ok(splice(stream, None, pipe, None, most, flags)?));
            match moved {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                moved => return Poll::Ready(moved),
            }
        }
    }

    /// Reads up to `most` more, into the room that is left where that is as much as `room`; `false` at the end.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, most: usize, room: usize) -> Poll<io::Result<bool>> {
        if self.read.capacity() - self.read.len() < room {
            self.read.reserve(most);
        }
        let most = if most > USUAL_HEAD { usize::MAX } else { most };
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut (&mut self.read).limit(most)).map_ok(|read| read > 0)
    }
}

/// The thread of the data plane that this is called on: each has a runtime of its own.
pub(crate) fn here() -> Option<runtime::Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}
