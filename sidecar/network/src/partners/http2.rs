//! HTTP/2 to partners: how it is set up, and what a new connection is asked first.

use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mesh_core::Body;

use super::exchange::alert_in;
use crate::{dial::Failure, http2_sizes as sizes};

/// HTTP/2 pings after this silence while a call waits: a third of the 60 s after which middle boxes cut.
const PING: Duration = Duration::from_secs(20);

/// What answers on a new connection.
pub(super) async fn ask(sender: &mut http2::SendRequest<Body>, stats: &Uri) -> Result<Response<Incoming>, Failure> {
    let mut request = Request::new(Body::Empty);
    request.uri_mut().clone_from(stats);
    sender.send_request(request).await.map_err(|e| no_http(&e))
}

/// Why a new connection carries nothing: in TLS 1.3 a refusal of our certificate arrives only now.
pub(super) fn no_http(error: &hyper::Error) -> Failure {
    alert_in(error).map_or_else(|| Failure::Unreachable(format!("no HTTP there: {error}")), Failure::Refused)
}

pub(super) fn h2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(sizes::STREAM_WINDOW)
        .initial_connection_window_size(sizes::CONNECTION_WINDOW)
        .max_frame_size(sizes::FRAME)
        .max_send_buf_size(sizes::SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}
