//! The body of a request as it arrives. The client's window opens again as its pieces are taken, so that whoever reads
//! slowly slows its sender down.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::{Frame, SizeHint};
use mesh_core::{Body, BoxError};
use tokio::{runtime::Handle, time::timeout};

use super::expected::Expected;

/// A body up to this size that came with its head is whole at once: as much as fits into one frame of a client that has not
/// heard of larger ones.
const SMALL: usize = 16 * 1024;

/// What nobody wanted is still taken for so long (PTP section 13.2). Else the `h2` crate resets the stream behind its answer,
/// as it may; but clients, curl 7.88 among them, then throw the answer away.
const DRAIN: Duration = Duration::from_secs(2);

/// A body, some of which is still to come.
struct Arriving {
    /// `None` when it is left to be drained.
    stream: Option<RecvStream>,
    /// What was there at once.
    first: Option<Bytes>,
    /// What is still to be taken, where that was announced. The `h2` crate sees to it that so much comes.
    left: Option<u64>,
    is_read: bool,
    /// Where the client waits to be told that it is wanted.
    expected: Option<Arc<Expected>>,
}

/// The body of a request with these headers.
pub(super) fn body(headers: &HeaderMap, mut stream: RecvStream, expected: Option<Arc<Expected>>) -> Body {
    if stream.is_end_stream() {
        return Body::Empty;
    }
    let left = announced(headers);
    // Whoever reads it asks again.
    let first = match stream.poll_data(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(piece))) => Some(piece),
        // Its end or its error is found again.
        Poll::Ready(_) | Poll::Pending => None,
    };
    match first {
        Some(whole) if stream.is_end_stream() && whole.len() <= SMALL => Body::Full(whole),
        first => Body::Boxed(Box::pin(Arriving { stream: Some(stream), first, left, is_read: false, expected })),
    }
}

/// Of several that differ none is believed.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let mut all = headers.get_all(CONTENT_LENGTH).iter();
    let length = all.next()?;
    if all.any(|other| other != length) {
        return None;
    }
    length.to_str().ok()?.parse().ok()
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        if !this.is_read {
            let piece = match this.first.take() {
                Some(piece) => Some(Ok(piece)),
                None => match stream.poll_data(cx) {
                    Poll::Ready(piece) => piece,
                    Poll::Pending => {
                        if let Some(expected) = this.expected.take() {
                            expected.want();
                        }
                        return Poll::Pending;
                    }
                },
            };
            if let Some(piece) = piece {
                let piece = piece?;
                // Of a stream that is over there is nothing to give back.
                let _ = stream.flow_control().release_capacity(piece.len());
                this.left = this.left.map(|left| left.saturating_sub(piece.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            this.is_read = true;
        }
        let trailers = ready!(pin!(stream.trailers()).poll(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let first = self.first.take().map_or(0, |piece| piece.len());
        if let Some(stream) = self.stream.take().filter(|stream| !stream.is_end_stream())
            && let Ok(runtime) = Handle::try_current()
        {
            // One for each stream that the client has open, of which there are as many as the limits allow.
            runtime.spawn(timeout(DRAIN, drain(stream, first)));
        }
    }
}

/// Takes what comes until the client has ended or given up, and opens its window again.
async fn drain(mut stream: RecvStream, mut taken: usize) {
    loop {
        let _ = stream.flow_control().release_capacity(taken);
        match stream.data().await {
            Some(Ok(piece)) => taken = piece.len(),
            Some(Err(_)) | None => return,
        }
    }
}
