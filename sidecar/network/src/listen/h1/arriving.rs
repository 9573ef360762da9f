//! The body of a request that did not come with its head: read from the socket straight to where it stays, once somebody asks
//! for it; in one piece where it is not large and somebody wants it so, else as it comes.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::lender::Lender;
use crate::listen::{Pieces, wire::Stream};

/// The largest piece. It is also all that is set aside for a body on its announcement alone.
const PIECE: usize = 1 << 20;

/// The largest piece of what is passed on: it is written from where it lies while that is still near the processor.
const PASSED: usize = 128 << 10;

/// What has come of a piece by then is given out: who asks sees that a slow body makes progress, and may pass it on.
const SLOW: Duration = Duration::from_secs(1);

/// A body that arrives.
pub(super) struct Arriving {
    lender: Arc<Lender>,
    pieces: Pieces,
    /// What came with the head.
    come: Bytes,
    piece: BytesMut,
    /// How much is still to be read.
    left: u64,
    clock: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    /// The body of `length` bytes that begins with `come`, and who has the stream meanwhile.
    pub(super) fn new(stream: Stream, length: u64, come: Bytes, pieces: Pieces) -> (Self, Arc<Lender>) {
        let left = length - come.len() as u64;
        let lender = Lender::new(stream, left);
        (Self { lender: Arc::clone(&lender), pieces, come, piece: BytesMut::new(), left, clock: None }, lender)
    }

    /// The next piece of a body that is passed on: what is there.
    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if !self.come.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.come)));
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(PASSED);
        self.piece.reserve(room);
        while self.left > 0 && self.piece.len() < room {
            match self.poll_read(cx, room - self.piece.len())? {
                Poll::Ready(()) => {}
                Poll::Pending if self.piece.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(self.piece.split().freeze()))
    }

    /// The next piece of a body that is wanted whole: ready when the piece is full, the body is at its end, or the piece takes long.
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.piece.capacity() == 0 {
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            self.piece.reserve(left.saturating_add(self.come.len()).min(PIECE));
            self.piece.extend_from_slice(&std::mem::take(&mut self.come));
        }
        while self.left > 0 && self.piece.len() < self.piece.capacity() {
            if self.poll_read(cx, self.piece.capacity() - self.piece.len())?.is_pending() {
                ready!(self.poll_clock(cx));
                break;
            }
        }
        self.clock = None;
        Poll::Ready(Ok(std::mem::take(&mut self.piece).freeze()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        match ready!(self.lender.poll_read(cx, &mut self.piece, most))? {
            0 => Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within it"))),
            read => {
                self.left -= read as u64;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(SLOW)));
        ready!(clock.as_mut().poll(cx));
        self.clock = None;
        // Without a byte there is nothing to give out yet; the socket wakes whoever waits.
        if self.piece.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = ready!(match self.pieces {
            Pieces::Large => self.poll_large(cx),
            Pieces::AsTheyCome => self.poll_some(cx),
        });
        if piece.is_err() {
            self.lender.leave();
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.piece.is_empty() && self.come.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left + (self.piece.len() + self.come.len()) as u64)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if self.left > 0 {
            self.lender.leave();
        }
    }
}
