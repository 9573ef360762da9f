//! The body of an answer: its pieces, gRPC's trailers, and the lease of the message within.
//!
//! The lease commits when the connection took the last piece, let go of the body, and the listener says that the client
//! has the answer; a body that is dropped before its end, because the connection broke or the call was reset, hands the
//! message back, and so does an answer that was lost on its way (design section 6).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::{Body, BoxError};
use mesh_network::listen::Settlement;

use super::chunks::Chunks;
use crate::Lease;

/// The body of an answer.
pub(crate) struct AnswerBody {
    chunks: Chunks,
    left: usize,
    trailers: Option<HeaderMap>,
    lease: Option<Lease>,
    settlement: Settlement,
}

impl AnswerBody {
    /// A response with the lightest body for the answer.
    pub(crate) fn response(chunks: Chunks, trailers: Option<HeaderMap>, lease: Option<Lease>) -> Response<Body> {
        let Some(lease) = lease else { return Response::new(Self::of(chunks, trailers)) };
        let settlement = Settlement::default();
        let name = lease.name().and_then(|name| HeaderValue::from_str(name).ok());
        let lease = Some(lease);
        let body = Self { left: chunks.len(), chunks, trailers, lease, settlement: settlement.clone() };
        let mut response = Response::new(Body::Boxed(Box::pin(body)));
        response.extensions_mut().insert(settlement);
        if let Some(name) = name {
            response.headers_mut().insert(super::LEASE, name);
        }
        response
    }

    /// The lightest body for an answer without a message.
    pub(crate) fn of(chunks: Chunks, trailers: Option<HeaderMap>) -> Body {
        if trailers.is_none()
            && let Some(whole) = chunks.single()
        {
            return Body::Full(whole.clone());
        }
        let settlement = Settlement::default();
        Body::Boxed(Box::pin(Self { left: chunks.len(), chunks, trailers, lease: None, settlement }))
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(piece) = self.chunks.take() {
            self.left -= piece.len();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.is_end_stream()
            && !self.settlement.is_lost()
            && let Some(lease) = lease.written()
        {
            self.settlement.when_received(move || lease.commit());
        }
    }
}
