//! The access log: a line for each request of the data plane, when its answer begins or when nobody waits for it any more.
//!
//! Off unless a level names it (`access=debug`), and then without what a request carries: no query, no header but the trace
//! id, no body.

use http::{Method, Request, Response, StatusCode, Version};
use mesh_core::{Body, CallContext, Code};
use tokio::time::Instant;
use tracing::Level;

use super::Connection;

/// What the log's level names.
const TARGET: &str = "access";

/// Whether there is an access log now.
#[must_use]
pub fn is_on() -> bool {
    tracing::enabled!(target: TARGET, Level::DEBUG)
}

/// Says in an answer what came of its call, where somebody is to read it: HTTP's status is 200 nearly always.
pub fn note(answer: &mut Response<Body>, code: Code) {
    if is_on() {
        answer.extensions_mut().insert(code);
    }
}

/// The line of a request, written when it is dropped.
pub(super) struct Line {
    peer: std::net::SocketAddr,
    version: Version,
    method: Method,
    path: String,
    trace: Option<String>,
    began: Instant,
    outcome: Option<(StatusCode, Option<Code>)>,
}

impl Line {
    /// `None` where nobody keeps an access log.
    pub(super) fn of(request: &Request<Body>, connection: &Connection) -> Option<Box<Self>> {
        is_on().then(|| {
            Box::new(Self {
                peer: connection.peer,
                version: request.version(),
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
                trace: CallContext::from_headers(request.headers()).ok().and_then(|context| context.trace_id),
                began: Instant::now(),
                outcome: None,
            })
        })
    }

    pub(super) fn answered(&mut self, answer: &Response<Body>) {
        self.outcome = Some((answer.status(), answer.extensions().get().copied()));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { peer, version, method, path, trace, began, outcome } = self;
        let (status, code) = outcome.unzip();
        let (status, code) = (status.map(|status| status.as_u16()), code.flatten());
        let (millis, code) = (began.elapsed().as_secs_f64() * 1000.0, code.map(Code::as_str));
        let what = if status.is_some() { "answered" } else { "given up" };
        tracing::debug!(
            target: TARGET,
            %peer, http = ?version, %method, path, trace, status, code = code.as_deref(), millis, "{what}"
        );
    }
}
