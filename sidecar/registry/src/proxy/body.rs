//! The bodies of a forwarded call, frame by frame: nothing is collected, nothing is copied.
//!
//! The request's body says how far it is, so that a timeout counts from the last progress; the answer's body holds the
//! connection and the instance's load until its end.

use std::{
    os::fd::BorrowedFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::{Body, BoxError, Piped};
use tokio::time::Instant;

use super::{headers, pool::Answer};
use crate::instance::Load;

/// The value that says the next byte has to come from the caller, for which no service is to blame.
const CALLERS_TURN: u64 = u64::MAX;

/// When the request last moved towards the service.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    start: Instant,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    millis: AtomicU64,
    came: AtomicU64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), state: Arc::default() }
    }

    /// How long ago the call came in.
    pub(crate) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// The last time that the service had all it could take; `None` while the caller owes the next byte.
    pub(crate) fn last(&self) -> Option<Instant> {
        match self.state.millis.load(Relaxed) {
            CALLERS_TURN => None,
            millis => Some(self.start + Duration::from_millis(millis)),
        }
    }

    /// The bytes of the body that have come.
    pub(crate) fn came(&self) -> u64 {
        self.state.came.load(Relaxed)
    }

    fn has_come(&self, bytes: usize) {
        self.state.came.fetch_add(bytes as u64, Relaxed);
    }

    fn moved(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(CALLERS_TURN - 1);
        self.state.millis.store(millis, Relaxed);
    }

    fn waits_for_the_caller(&self) {
        self.state.millis.store(CALLERS_TURN, Relaxed);
    }
}

/// The body on its way to the service.
#[derive(Debug)]
pub(crate) struct Outgoing {
    inner: Body,
    progress: Progress,
}

impl Outgoing {
    pub(crate) fn new(inner: Body, progress: Progress) -> Self {
        Self { inner, progress }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            self.progress.waits_for_the_caller();
        } else {
            self.progress.moved();
        }
        polled.map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                headers::strip_trailers(trailers);
            } else if let Some(data) = frame.data_ref() {
                self.progress.has_come(data.len());
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The service's answer on its way to the caller.
#[derive(Debug)]
pub(crate) struct Answered {
    inner: Answer,
    _load: Load,
}

impl Answered {
    pub(crate) fn new(inner: Answer, load: Load) -> Self {
        Self { inner, _load: load }
    }
}

impl Piped for Answered {
    fn pipes(&self) -> u64 {
        match &self.inner {
            Answer::Http1(body) => body.pipes(),
            Answer::Upgrade(_) | Answer::Http2(..) => 0,
        }
    }

    fn poll_pipe(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        most: usize,
    ) -> Poll<Result<usize, BoxError>> {
        match &mut self.inner {
            Answer::Http1(body) => body.poll_pipe(cx, pipe, most),
            Answer::Upgrade(_) | Answer::Http2(..) => Poll::Ready(Err("it does not come from a socket".into())),
        }
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.inner {
            Answer::Http1(body) => Pin::new(body).poll_frame(cx),
            Answer::Upgrade(body) | Answer::Http2(body, _) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Answer::Http1(body) => body.is_end_stream(),
            Answer::Upgrade(body) | Answer::Http2(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Answer::Http1(body) => body.size_hint(),
            Answer::Upgrade(body) | Answer::Http2(body, _) => body.size_hint(),
        }
    }
}
