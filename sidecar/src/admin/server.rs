//! The listener of the admin port, on a thread and a runtime of its own.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::Drained;
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service as _;

use super::{
    Admin, Phase, answers,
    places::{Ended, Place, Places},
};

/// Probes, a scraper or two and a person: more at once is a mistake or an attack.
const CONNECTIONS: usize = 64;

/// The kubelet, a scraper, a person: each needs one or two at once.
const OF_ONE_ADDRESS: usize = 16;

/// A client that does not even send its headers is let go.
const HEADERS: Duration = Duration::from_secs(5);

/// No connection lasts longer. A client that asks and does not read the answers would otherwise keep its place until
/// others need it. Scrapers and probes connect again.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What whoever comes finds: little while the process waits for something, and all once there is all.
pub(crate) struct Door {
    starting: Router,
    whole: OnceLock<Router>,
}

impl Door {
    /// Nothing is there yet.
    pub(crate) fn starting(phase: Arc<Phase>) -> Arc<Self> {
        Arc::new(Self { starting: answers::starting(phase), whole: OnceLock::new() })
    }

    /// From now on all is shown.
    pub(crate) fn open(&self, admin: Admin) {
        self.whole.get_or_init(|| answers::routes(Arc::new(admin)));
    }

    fn routes(&self) -> Router {
        self.whole.get().unwrap_or(&self.starting).clone()
    }

    #[cfg(test)]
    fn to(whole: Router) -> Arc<Self> {
        Arc::new(Self { starting: Router::new(), whole: whole.into() })
    }
}

/// Serves on a thread of its own until `ended`; the probes answer for as long as the drain takes.
pub(crate) fn serve(listener: TcpListener, door: Arc<Door>, ended: Drained) -> io::Result<std::thread::JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("admin".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = ended.asked() => {}
                result = accept(listener, door) => {
                    if let Err(error) = result {
                        tracing::error!("the admin port ended: {error}");
                    }
                }
            }
        });
        runtime.shutdown_background();
    })
}

async fn accept(listener: TcpListener, door: Arc<Door>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Places::new(CONNECTIONS, OF_ONE_ADDRESS);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (door, place) = (Arc::clone(&door), places.enter(peer.ip()));
                tokio::spawn(serve_connection(stream, peer, door, place, LONGEST_CONNECTION));
            }
            // Out of descriptors, or a client that left before it was greeted: neither ends the port.
            Err(error) => {
                tracing::warn!("a connection to the admin port was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    door: Arc<Door>,
    (place, ended): (Place, Ended),
    longest: Duration,
) {
    let place = Arc::new(place);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let (mut routes, place) = (door.routes(), Arc::clone(&place));
        async move {
            place.is_served(true);
            let answer = routes.call(request).await;
            place.is_served(false);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let served = async {
        match timeout(longest, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%peer, "an admin connection broke: {error}"),
            Err(_) => tracing::debug!(%peer, "an admin connection was ended: it was open for too long"),
        }
    };
    tokio::select! {
        () = served => {}
        _ = ended => tracing::debug!(%peer, "an admin connection ended for a newer one"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a client of this very test, to its own listener")]
    async fn a_client_that_reads_no_answer_does_not_keep_its_slot() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let routes = Router::new().route("/metrics", get(|| async { "x".repeat(64 << 20) }));
        client.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let place = Places::new(1, 1).enter(peer.ip());
        let served = serve_connection(stream, peer, Door::to(routes), place, Duration::from_millis(200));
        assert!(timeout(Duration::from_secs(60), served).await.is_ok());
        drop(client);
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "clients of this very test, to its own listener")]
    async fn a_probe_is_answered_while_silent_connections_hold_every_place() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, Door::to(Router::new().route("/livez", get(|| async { "ok" })))));
        let mut silent = Vec::new();
        for _ in 0..OF_ONE_ADDRESS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        probe.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("ok"), "{said}");
    }
}
