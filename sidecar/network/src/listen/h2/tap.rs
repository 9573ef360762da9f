//! The socket as the `h2` crate has it: every byte passes here, and the ledger learns which streams ended and which were
//! reset.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    frames::{Frames, Said},
    ledger::Ledger,
    silence::Heard,
};
use crate::listen::wire::Stream;

/// A stream that is listened to.
pub(super) struct Tap {
    stream: Option<Stream>,
    back: Back,
    ledger: Arc<Ledger>,
    heard: Arc<Heard>,
    came: Frames,
    went: Frames,
    /// What was written and not flushed: TLS may still have it.
    unflushed: Vec<Said>,
}

/// Where the stream is once the tap is gone: the crate drops it with the connection, and it is to end in its own way.
#[derive(Clone, Default)]
pub(super) struct Back(Arc<Mutex<Option<Stream>>>);

impl Back {
    pub(super) fn take(&self) -> Option<Stream> {
        self.0.lock().take()
    }
}

impl Tap {
    pub(super) fn new(stream: Stream, ledger: Arc<Ledger>, heard: Arc<Heard>) -> (Self, Back) {
        let (back, unflushed) = (Back::default(), Vec::new());
        let (came, went) = (Frames::of_client(), Frames::of_server());
        (Self { stream: Some(stream), back: back.clone(), ledger, heard, came, went, unflushed }, back)
    }

    /// The stream, which is there until the tap is dropped.
    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        *self.back.0.lock() = self.stream.take();
    }
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.stream()?.poll_read(cx, buf))?;
        let Self { ledger, heard, came, .. } = &mut *self;
        if let Some(new @ [_, ..]) = buf.filled().get(before..) {
            heard.now();
            came.pass(new, |said| {
                if let Said::Reset(stream, reason) = said {
                    ledger.given_up(stream, reason);
                }
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write(cx, buf))?;
        let Self { went, unflushed, .. } = &mut *self;
        went.pass(buf.get(..written).unwrap_or_default(), |said| unflushed.push(said));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream()?.poll_flush(cx))?;
        let Self { ledger, unflushed, .. } = &mut *self;
        ledger.written(unflushed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write_vectored(cx, bufs))?;
        let Self { went, unflushed, .. } = &mut *self;
        let mut left = written;
        for buf in bufs {
            let some = left.min(buf.len());
            went.pass(buf.get(..some).unwrap_or_default(), |said| unflushed.push(said));
            left -= some;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
