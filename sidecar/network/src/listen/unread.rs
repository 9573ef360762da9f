//! A request's body that nobody reads to its end, as when a service answers before all of it has come. The little that is left is
//! read and thrown away, so that the connection serves its next request; hyper would close it without a word, and a client that
//! has begun its next request by then finds no answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::EXPECT};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mesh_core::{Body, BoxError};
use tokio::{runtime::Handle, time::timeout};

/// What is read for nobody: a client that sends more than a socket holds would rather have its connection closed.
pub(super) const MOST: u64 = 64 * 1024;
/// As long as the end of a connection waits for what nobody wants.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// A body that is read to its end one way or another.
struct Unread(Option<Incoming>);

/// The request with a body whose rest does not end the connection.
pub(super) fn settled(request: Request<Incoming>) -> Request<Body> {
    // Who waits for a `100` sends nothing without it, and gets none where nobody reads.
    let is_whole = request.body().is_end_stream() || request.headers().contains_key(EXPECT);
    request.map(|body| if is_whole { Body::Incoming(body) } else { Body::boxed(Unread(Some(body))) })
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx).map_err(Into::into);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream() && body.size_hint().lower() <= MOST) else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(WAIT, read(body)));
        }
    }
}

async fn read(mut body: Incoming) {
    let mut left = MOST;
    while let Some(Ok(frame)) = body.frame().await {
        let some = frame.data_ref().map_or(0, |piece| piece.len() as u64);
        match left.checked_sub(some) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
