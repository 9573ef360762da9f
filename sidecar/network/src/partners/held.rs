//! The body of a partner's answer. Holds what the call occupies, until it is read or dropped.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::{http1::Single, lane::Counted, member::Member};

/// What a call occupies.
pub(super) enum Hold {
    /// A place on a shared connection.
    Place {
        /// Counts until it is dropped.
        _counted: Counted,
    },
    /// A connection, which goes back to its address.
    Single(Single, Arc<Member>),
    /// A connection that changed its protocol and belongs to whoever upgraded it.
    Gone,
}

pub(super) struct Held {
    body: Incoming,
    hold: Option<Hold>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    pub(super) fn new(body: Incoming, hold: Hold, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { body, hold: Some(hold), permit }
    }

    /// The answer is read to its end.
    fn release(&mut self) {
        if let Some(Hold::Single(single, member)) = self.hold.take() {
            member.give_back(single);
        }
        self.permit = None;
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.release();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // An answer that was not read to its end takes its HTTP/1.1 connection with it.
        if self.body.is_end_stream() {
            self.release();
        }
    }
}
