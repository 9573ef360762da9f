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
use tokio::{sync::oneshot, time::Instant};

use super::{
    headers,
    pool::Answer,
    spare::{Returning, Spare},
};
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
    /// What went of it already, where it may have to go a second time.
    spare: Option<Spare>,
}

impl Outgoing {
    pub(crate) fn new(inner: Body, progress: Progress) -> Self {
        Self { inner, progress, spare: None }
    }

    /// Keeps what goes from now on, until it is too much; [`Returning`] has all of the body again when this one is dropped.
    pub(crate) fn spared(&mut self) -> Returning {
        let mut spare = self.spare.take().unwrap_or_default();
        let (back, returning) = oneshot::channel();
        spare.back = Some(back);
        self.spare = Some(spare);
        Returning(returning)
    }

    /// The next frame, one that went before or a new one.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.spare.as_mut().and_then(Spare::next) {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.spare.as_ref().is_some_and(Spare::is_over) {
            self.spare = None;
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx).map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                headers::strip_trailers(trailers);
            } else if let Some(data) = frame.data_ref() {
                self.progress.has_come(data.len());
            }
            frame
        });
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.spare = self.spare.take().and_then(|spare| spare.with(frame)),
            // It is read no further.
            Poll::Ready(None) => self.inner = Body::Empty,
            // It is broken, and would be a second time.
            Poll::Ready(Some(Err(_))) => self.spare = None,
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let Some(mut spare) = self.spare.take() else { return };
        if let Some(back) = spare.back.take() {
            spare.next = 0;
            let (inner, progress) = (std::mem::take(&mut self.inner), self.progress.clone());
            // Nobody may want it any more.
            drop(back.send(Self { inner, progress, spare: Some(spare) }));
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.poll_next(cx);
        if polled.is_pending() {
            self.progress.waits_for_the_caller();
        } else {
            self.progress.moved();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.spare.as_ref().is_none_or(Spare::is_gone) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, again) = (self.inner.size_hint(), self.spare.as_ref().map_or(0, Spare::left));
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + again);
        }
        hint.set_lower(inner.lower() + again);
        hint
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
