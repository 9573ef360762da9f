//! A socket whose end lets the answer through: it half-closes, reads on for a moment what nobody wants, then closes.
//!
//! A close with unread bytes makes the kernel send a reset, and a reset destroys an answer that the client has not read yet,
//! for example "body too large" to a client that is still sending (PTP section 13.2).

use std::{
    future::Future,
    io,
    os::fd::BorrowedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::pipe::{SpliceFlags, splice};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::traffic::Traffic;

/// How often an end is looked at that the other side has not acknowledged yet: it takes one round trip.
const LOOK: Duration = Duration::from_millis(5);

/// What one look at the socket throws away at most.
const GULP: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Lingering {
    tcp: TcpStream,
    /// In milliseconds: a connection's task holds several of these.
    most: u32,
    ending: Option<Box<Ending>>,
    /// The other side has ended.
    has_ended: bool,
    /// The other side has said in TLS that it ends.
    has_said_so: bool,
    traffic: Arc<Traffic>,
}

/// The time after our end.
#[derive(Debug)]
struct Ending {
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Ending {
    fn new(most: Duration) -> Box<Self> {
        let until = Instant::now() + most;
        Box::new(Self { until, timer: Box::pin(sleep_until(until)) })
    }

    /// Ready when all of the time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }

    /// Wakes the task for the next look, but not after all of the time.
    fn look_again(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = Instant::now() + LOOK;
        if next >= self.until {
            return Poll::Ready(());
        }
        self.timer.as_mut().reset(next);
        self.timer.as_mut().poll(cx)
    }
}

impl Lingering {
    /// `traffic` is told when the connection is lost. Nobody above says so: to TLS and HTTP an idle connection's reset is an
    /// end like any other.
    pub(super) fn new(tcp: TcpStream, most: Duration, traffic: Arc<Traffic>) -> Self {
        let most = u32::try_from(most.as_millis()).unwrap_or(u32::MAX);
        Self { tcp, most, ending: None, has_ended: false, has_said_so: false, traffic }
    }

    fn note<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(done, Poll::Ready(Err(_))) {
            self.traffic.broke();
        }
        done
    }

    fn count(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = done {
            self.traffic.wrote(written);
        }
        self.note(done)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
        }
        let most = Duration::from_millis(self.most.into());
        let ending = self.ending.get_or_insert_with(|| Ending::new(most));
        let mut gulp = [0; GULP];
        while !self.has_ended {
            if ending.poll_over(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut gulp);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
            self.has_ended = buf.filled().is_empty();
        }
        // Both sides have ended. The socket is gone as soon as the other one has acknowledged all that was written, or has
        // said by a reset that it was closed before that came: who closes before an answer arrives ends as orderly at first
        // as who has read it.
        if self.tcp.peer_addr().is_err() {
            return Poll::Ready(self.tcp.take_error()?.map_or(Ok(()), Err));
        }
        ready!(ending.look_again(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Moves up to `most` bytes out of a pipe, which has as many, into the socket.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            let take = || Ok(splice(pipe, None, &self.tcp, None, most, flags)?);
            match self.tcp.try_io(Interest::WRITABLE, take) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                taken => return self.count(Poll::Ready(taken)),
            }
        }
    }

    /// The other side has said in TLS that it ends; its end itself may be on its way.
    pub(super) fn end_is_said(&mut self) {
        self.has_said_so = true;
    }

    /// Whether the other side has gone, or is about to.
    pub(super) fn is_leaving(&self) -> bool {
        self.has_ended || self.has_said_so
    }
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.tcp).poll_read(cx, buf);
        self.has_ended |= matches!(done, Poll::Ready(Ok(()))) && buf.filled().len() == before;
        self.note(done)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.tcp).poll_flush(cx);
        self.note(done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = self.poll_end(cx);
        self.note(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.count(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}
