//! A connection through hyper: HTTP/2, and whatever of HTTP/1.1 does not go the short way.

use std::{convert::Infallible, sync::Arc};

use futures::FutureExt;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::Body;

use super::{
    Limits, Serve,
    exchange::Proof,
    handler::{Answering, Handler},
    pace::{HeaderClock, Pace},
    rare::{Rare, until_end},
    wire::Stream,
};
use crate::http2_sizes as sizes;

pub(super) async fn h1<S: Serve>(
    stream: Stream,
    pace: Arc<Pace>,
    handler: Arc<Handler<S>>,
    limits: Limits,
    rare: &mut Rare,
) -> hyper::Result<()> {
    let mut builder = http1::Builder::new();
    builder
        .timer(HeaderClock { pace, limit: limits.headers })
        .header_read_timeout(limits.headers)
        .max_header_size(limits.header_bytes)
        // The end of a client's bytes is the end of the client: one that was killed looks the same as one that half-closed,
        // and a pop must not go on waiting for it.
        .half_close(false)
        // It may have been told to finish by now; what it brought is still answered.
        .keep_alive(!handler.connection.is_finishing());
    let conn = builder.serve_connection(TokioIo::new(stream), Calls(handler)).with_upgrades();
    let conn = std::pin::pin!(conn);
    until_end(conn, rare, http1::UpgradeableConnection::graceful_shutdown).await.unwrap_or(Ok(()))
}

pub(super) async fn h2<S: Serve>(
    stream: Stream,
    handler: Arc<Handler<S>>,
    limits: Limits,
    rare: &mut Rare,
) -> hyper::Result<()> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(sizes::STREAM_WINDOW)
        .initial_connection_window_size(sizes::CONNECTION_WINDOW)
        .max_frame_size(sizes::FRAME)
        .max_send_buf_size(sizes::SEND_BUFFER)
        .max_concurrent_streams(limits.streams)
        // A client that gives up all its calls at once is no attacker.
        .max_pending_accept_reset_streams(usize::try_from(limits.streams).unwrap_or(usize::MAX))
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping);
    let conn = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), Calls(handler)));
    until_end(conn, rare, http2::Connection::graceful_shutdown).await.unwrap_or(Ok(()))
}

/// The handler, as hyper calls it.
struct Calls<S>(Arc<Handler<S>>);

impl<S: Serve> Service<Request<Incoming>> for Calls<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures::future::Map<Answering, fn(Response<Body>) -> Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // hyper does not say when it read a request; who sends odd ones without waiting is taken to have read.
        self.0.answer(request.map(Body::Incoming), Proof::Read).map(Ok)
    }
}
