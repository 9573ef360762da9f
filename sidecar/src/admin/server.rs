//! The listener of the admin port, on a thread and a runtime of its own.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::Drained;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tower_service::Service as _;

use super::{Admin, answers, places::Places};

/// Probes, a scraper or two and a person: more at once is a mistake or an attack, and waits in the backlog.
const CONNECTIONS: usize = 64;

/// A client that does not even send its headers is let go.
const HEADERS: Duration = Duration::from_secs(10);

/// No connection lasts longer. A client that asks and does not read the answers would otherwise keep its slot for ever, and
/// [`CONNECTIONS`] of them would silence the probes. Scrapers and probes connect again.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves on a thread of its own until `ended`; the probes answer for as long as the drain takes.
pub(crate) fn serve(listener: TcpListener, admin: Admin, ended: Drained) -> io::Result<std::thread::JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let routes = answers::routes(Arc::new(admin));
    std::thread::Builder::new().name("admin".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = ended.asked() => {}
                result = accept(listener, routes) => {
                    if let Err(error) = result {
                        tracing::error!("the admin port ended: {error}");
                    }
                }
            }
        });
        runtime.shutdown_background();
    })
}

async fn accept(listener: TcpListener, routes: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (slots, places) = (Arc::new(Semaphore::new(CONNECTIONS)), Places::default());
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Closed at once, so that the backlog behind it is not held up either.
                let Some(place) = places.take(peer.ip()) else { continue };
                let routes = routes.clone();
                tokio::spawn(async move {
                    serve_connection(stream, peer, routes, LONGEST_CONNECTION).await;
                    drop((slot, place));
                });
            }
            // Out of descriptors, or a client that left before it was greeted: neither ends the port.
            Err(error) => {
                tracing::warn!("a connection to the admin port was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, routes: Router, longest: Duration) {
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        routes.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(longest, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, "an admin connection broke: {error}"),
        Err(_) => tracing::debug!(%peer, "an admin connection was ended: it was open for too long"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a client of this very test, to its own listener")]
    async fn a_client_that_reads_no_answer_does_not_keep_its_slot() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let routes = Router::new().route("/metrics", get(|| async { "x".repeat(64 << 20) }));
        client.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let served = serve_connection(stream, peer, routes, Duration::from_millis(200));
        assert!(timeout(HEADERS / 2, served).await.is_ok());
        drop(client);
    }
}
