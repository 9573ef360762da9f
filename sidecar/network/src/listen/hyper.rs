//! A connection through hyper: whatever of HTTP/1.1 does not go the short way.

use std::{convert::Infallible, sync::Arc};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::TokioIo;
use mesh_core::Body;

use super::{
    Limits, Serve,
    exchange::Proof,
    flushed::{Buffered, Flushed},
    handler::Handler,
    pace::{HeaderClock, Pace},
    rare::{Rare, until_end},
    unread::settled,
    wire::Stream,
};

pub(super) async fn serve<S: Serve>(
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
    let buffered = Buffered::default();
    let stream = TokioIo::new(Flushed::new(stream, buffered.clone()));
    let conn = builder.serve_connection(stream, Calls { handler, buffered }).with_upgrades();
    let conn = std::pin::pin!(conn);
    until_end(conn, rare, http1::UpgradeableConnection::graceful_shutdown).await.unwrap_or(Ok(()))
}

/// The handler, as hyper calls it.
struct Calls<S> {
    handler: Arc<Handler<S>>,
    buffered: Buffered,
}

impl<S: Serve> Service<Request<Incoming>> for Calls<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        // For whoever takes the connection over by an upgrade.
        request.extensions_mut().insert(Arc::clone(&self.handler.connection));
        // hyper does not say when it read a request; who sends odd ones without waiting is taken to have read.
        let (answering, buffered) = (self.handler.answer(settled(request), Proof::Read), self.buffered.clone());
        Box::pin(async move { Ok(buffered.keeps(answering.await)) })
    }
}
