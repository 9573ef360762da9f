//! The body of a request that did not come with its head: read from the socket straight to where it stays, once somebody asks
//! for it.
//!
//! The body has the connection's stream in the meantime, and gives it back at its end or when it is dropped.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio_util::io::poll_read_buf;

use crate::listen::wire::Stream;

/// What is set aside for a body on its announcement alone. It grows by doubling as it really arrives, so that a client cannot
/// claim more memory than twice what it sends, and this.
const ON_TRUST: usize = 1 << 20;

/// A body that arrives, in one piece.
pub(super) struct Arriving {
    stream: Option<Stream>,
    bytes: BytesMut,
    left: u64,
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
    pub(super) fn new(stream: Stream, length: u64, come: &Bytes) -> (Self, Arc<Lender>) {
        let lender = Arc::<Lender>::default();
        let left = length - come.len() as u64;
        let bytes = BytesMut::from(&**come);
        (Self { stream: Some(stream), bytes, left, lender: Arc::clone(&lender) }, lender)
    }

    fn give_back(&mut self) {
        if let Some(stream) = self.stream.take() {
            *self.lender.0.lock() = Some(Returned { stream, is_read: self.left == 0 });
        }
    }

    fn grow(&mut self) {
        if self.bytes.capacity() == self.bytes.len() {
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            self.bytes.reserve(left.min(self.bytes.len().max(ON_TRUST)));
        }
    }
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
        let this = &mut *self;
        while this.left > 0 {
            this.grow();
            let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
            let most = usize::try_from(this.left).unwrap_or(usize::MAX);
            let read = match ready!(poll_read_buf(Pin::new(stream), cx, &mut (&mut this.bytes).limit(most))) {
                Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within it")),
                read => read,
            };
            match read {
                Ok(read) => this.left -= read as u64,
                Err(e) => {
                    this.give_back();
                    return Poll::Ready(Some(Err(e)));
                }
            }
        }
        this.give_back();
        let whole = std::mem::take(&mut this.bytes).freeze();
        Poll::Ready((!whole.is_empty()).then(|| Ok(Frame::data(whole))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left + self.bytes.len() as u64)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.give_back();
    }
}
