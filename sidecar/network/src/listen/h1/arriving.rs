//! The body of a request that did not come with its head: read from the socket straight to where it stays, once somebody asks
//! for it, in one piece where it is not large.
//!
//! The body has the connection's stream in the meantime, and gives it back at its end or when it is dropped.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

use crate::listen::wire::Stream;

/// The largest piece. It is also all that is set aside for a body on its announcement alone.
const PIECE: usize = 1 << 20;

/// What has come of a piece by then is given out: who asks sees that a slow body makes progress, and may pass it on.
const SLOW: Duration = Duration::from_secs(1);

/// A body that arrives.
pub(super) struct Arriving {
    stream: Option<Stream>,
    /// What came with the head.
    come: Bytes,
    piece: BytesMut,
    /// How much is still to be read.
    left: u64,
    clock: Option<Pin<Box<Sleep>>>,
    lender: Arc<Lender>,
}

/// Where the stream comes back to.
#[derive(Default)]
pub(super) struct Lender(Mutex<Option<Returned>>);

/// A stream that came back.
pub(super) struct Returned {
    pub(super) stream: Stream,
    /// Whether all of the body was read from it.
    pub(super) is_read: bool,
}

impl Arriving {
    /// The body of `length` bytes that begins with `come`, and who gets the stream back.
    pub(super) fn new(stream: Stream, length: u64, come: Bytes) -> (Self, Arc<Lender>) {
        let lender = Arc::<Lender>::default();
        let (left, back) = (length - come.len() as u64, Arc::clone(&lender));
        (Self { stream: Some(stream), come, piece: BytesMut::new(), left, clock: None, lender: back }, lender)
    }

    fn give_back(&mut self) {
        if let Some(stream) = self.stream.take() {
            *self.lender.0.lock() = Some(Returned { stream, is_read: self.left == 0 });
        }
    }

    /// Ready when the piece is full, the body is at its end, or the piece takes long.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.piece.capacity() == 0 {
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            self.piece.reserve(left.saturating_add(self.come.len()).min(PIECE));
            self.piece.extend_from_slice(&std::mem::take(&mut self.come));
        }
        while self.left > 0 && self.piece.len() < self.piece.capacity() {
            let Some(stream) = &mut self.stream else { break };
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.piece.capacity() - self.piece.len());
            match poll_read_buf(Pin::new(stream), cx, &mut (&mut self.piece).limit(most))? {
                Poll::Ready(0) => return Poll::Ready(Err(ended())),
                Poll::Ready(read) => self.left -= read as u64,
                Poll::Pending => return self.poll_clock(cx),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(SLOW)));
        ready!(clock.as_mut().poll(cx));
        self.clock = None;
        // Without a byte there is nothing to give out yet; the socket wakes whoever waits.
        if self.piece.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within it")
}

impl Lender {
    /// The stream, if it is back.
    pub(super) fn take(&self) -> Option<Returned> {
        self.0.lock().take()
    }

    /// The stream, if it is back and all of the body was read from it.
    pub(super) fn take_read(&self) -> Option<Stream> {
        self.0.lock().take_if(|back| back.is_read).map(|back| back.stream)
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        if let Err(e) = ready!(self.poll_piece(cx)) {
            self.give_back();
            return Poll::Ready(Some(Err(e)));
        }
        if self.left == 0 {
            self.give_back();
        }
        self.clock = None;
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.piece).freeze()))))
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
        self.give_back();
    }
}
