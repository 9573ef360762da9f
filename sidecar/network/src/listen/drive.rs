//! One connection from accept to end.

use std::{convert::Infallible, net::SocketAddr, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures::FutureExt;
use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::{Body, Drained};
use tokio::{net::TcpStream, time::sleep};

use super::{
    Connection, Exchange, Gate, Limits, Serve, Settlement,
    accept::Place,
    exchange::Sharing,
    handshake::{Ready, first_bytes},
    metrics::Metrics,
    pace::HeaderClock,
    wire::Alive,
};
use crate::http2_sizes as sizes;

pub(super) async fn connection<S: Serve>(
    tcp: TcpStream,
    peer: SocketAddr,
    service: Arc<S>,
    gate: Arc<Gate>,
    drained: Drained,
    place: Place,
) {
    let ready = tokio::select! {
        ready = first_bytes(tcp, peer, &gate) => ready,
        // Nothing was asked yet, so nothing is lost.
        () = drained.asked() => return,
    };
    let mut ready = match ready {
        Ok(ready) => ready,
        Err(e) => {
            gate.metrics.handshakes_failed.inc();
            tracing::debug!(%peer, "no request came: {e}");
            return;
        }
    };
    let connection = Arc::clone(&ready.connection);
    ready.stream.keep(Alive { connection: Arc::clone(&connection), _place: place });
    let finished = if ready.is_h2 {
        // In a box: HTTP/2 state is larger, and connections that have it are few.
        Box::pin(h2(ready, service, &gate, &drained)).await
    } else {
        h1(ready, service, &gate, &drained).await
    };
    if let Err(e) = finished {
        tracing::debug!(%peer, "connection ended: {e}");
    }
}

/// Runs `$conn` until it is over, asks it to finish when the node drains or nobody known uses it, and drops it when the roster
/// cuts it.
macro_rules! until_end {
    ($conn:ident, $connection:ident, $gate:ident, $drained:ident) => {{
        let first = tokio::select! {
            done = $conn.as_mut() => Some(done),
            () = $connection.ended() => Some(Ok(())),
            () = $drained.asked() => None,
            () = stranger(&$connection, $gate.limits.strangers) => None,
        };
        match first {
            Some(done) => done,
            None => {
                $conn.as_mut().graceful_shutdown();
                tokio::select! {
                    done = $conn.as_mut() => done,
                    () = $connection.ended() => Ok(()),
                    // Who takes no answer (HTTP/2 has a window for that) would otherwise stay for ever.
                    () = stranger(&$connection, $gate.limits.strangers) => Ok(()),
                }
            }
        }
    }};
}

/// Resolves when the time is over and nobody was admitted. The timer is gone once somebody was.
async fn stranger(connection: &Connection, time: Duration) {
    Box::pin(sleep(time)).await;
    if connection.is_admitted() {
        std::future::pending::<()>().await;
    }
}

async fn h1<S: Serve>(ready: Ready, service: Arc<S>, gate: &Gate, drained: &Drained) -> hyper::Result<()> {
    let Ready { stream, connection, pace, .. } = ready;
    let sharing = Sharing::One;
    let handler = Handler { service, connection: Arc::clone(&connection), sharing, metrics: gate.metrics.clone() };
    let conn = h1_builder(gate.limits, HeaderClock { pace, limit: gate.limits.headers })
        .serve_connection(TokioIo::new(stream), handler)
        .with_upgrades();
    let mut conn = std::pin::pin!(conn);
    until_end!(conn, connection, gate, drained)
}

async fn h2<S: Serve>(ready: Ready, service: Arc<S>, gate: &Gate, drained: &Drained) -> hyper::Result<()> {
    let Ready { stream, connection, .. } = ready;
    let sharing = Sharing::Many;
    let handler = Handler { service, connection: Arc::clone(&connection), sharing, metrics: gate.metrics.clone() };
    let conn = h2_builder(gate.limits).serve_connection(TokioIo::new(stream), handler);
    let mut conn = std::pin::pin!(conn);
    until_end!(conn, connection, gate, drained)
}

fn h1_builder(limits: Limits, clock: HeaderClock) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(clock)
        .header_read_timeout(limits.headers)
        .max_header_size(limits.header_bytes)
        // The end of a client's bytes is the end of the client: one that was killed looks the same as one that half-closed,
        // and a pop must not go on waiting for it.
        .half_close(false);
    builder
}

fn h2_builder(limits: Limits) -> http2::Builder<TokioExecutor> {
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
    builder
}

struct Handler<S> {
    service: Arc<S>,
    connection: Arc<Connection>,
    sharing: Sharing,
    metrics: Metrics,
}

impl<S: Serve> Service<Request<Incoming>> for Handler<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    /// In a box: the largest handler must not make every idle connection as large.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let ordinal = self.connection.count_request();
        let exchange = Exchange::new(Arc::clone(&self.connection), ordinal, self.sharing);
        request.extensions_mut().insert(exchange.clone());
        let (service, connection) = (Arc::clone(&self.service), Arc::clone(&self.connection));
        let metrics = self.metrics.clone();
        Box::pin(async move {
            let answer = AssertUnwindSafe(service.serve(request.map(Body::Incoming), connection)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| {
                metrics.panics.inc();
                panicked()
            });
            if let Some(settlement) = answer.extensions().get::<Settlement>() {
                settlement.is_of(exchange);
            }
            Ok(answer)
        })
    }
}

/// PTP section 13.2: a panic is HTTP 500 with a text. The panic hook has logged it.
fn panicked() -> Response<Body> {
    let mut answer = Response::new(Body::from("internal error"));
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer
}
