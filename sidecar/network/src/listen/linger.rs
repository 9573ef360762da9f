//! A socket whose end lets the answer through: it half-closes, reads on for a moment what nobody wants, then closes.
//!
//! A close with unread bytes makes the kernel send a reset, and a reset destroys an answer that the client has not read yet,
//! for example "body too large" to a client that is still sending (PTP section 13.2).

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// What one look at the socket throws away at most.
const GULP: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Lingering {
    tcp: TcpStream,
    most: Duration,
    left: Option<Pin<Box<Sleep>>>,
    is_broken: Arc<AtomicBool>,
}

impl Lingering {
    /// `is_broken` is set when the connection is lost. Nobody above says so: to TLS and HTTP an idle connection's reset is an
    /// end like any other.
    pub(super) fn new(tcp: TcpStream, most: Duration, is_broken: Arc<AtomicBool>) -> Self {
        Self { tcp, most, left: None, is_broken }
    }

    fn note<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(done, Poll::Ready(Err(_))) {
            self.is_broken.store(true, Ordering::Release);
        }
        done
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
            self.left = Some(Box::pin(sleep(self.most)));
        }
        let mut gulp = [0; GULP];
        loop {
            if self.left.as_mut().is_some_and(|left| left.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut gulp);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.tcp).poll_read(cx, buf);
        self.note(done)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.note(done)
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
        self.note(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}
