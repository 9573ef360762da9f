//! A node that runs: a listener, a service that says whom it sees, and the way to its partners.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use mesh_core::{Body, Caller, Drain, Live, NodeId, Parts, ProtocolError, Snapshot};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};

use crate::{
    Circulation, NameCheck, Partners, RouteError, Settings,
    listen::{Connection, Gate, Limits, Pieces, Serve, serve},
};

pub(crate) struct Running {
    pub(crate) live: Arc<Live>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) partners: Arc<Partners>,
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) seen: Arc<Seen>,
}

/// The service of a test node; its answers say what it saw.
pub(crate) struct Seen {
    live: Arc<Live>,
    /// What `/stats` says.
    pub(crate) is_of_our_kind: AtomicBool,
    /// Calls of `/wait` that wait now.
    pub(crate) waiting: Arc<AtomicUsize>,
    /// Pieces of bodies that came at `/pieces`.
    pub(crate) pieces: AtomicUsize,
    /// Answers of `/page` and `/held` that were made.
    pub(crate) pages: AtomicUsize,
    /// Lets `/held` answer.
    pub(crate) hold: tokio_util::sync::CancellationToken,
    /// Nothing goes the short way: hyper serves it.
    pub(crate) all_by_hyper: AtomicBool,
}

/// How long the answer of `/page` is.
pub(crate) const PAGE: usize = 60_000;

impl Serve for Seen {
    async fn serve(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let caller = connection.admit(&self.live.snapshot(), &request);
        if request.headers().contains_key("x-known") {
            connection.know();
        }
        let who = match &caller {
            Ok(Caller::Local) => "local".to_owned(),
            Ok(Caller::Partner(route)) => route.node_id.to_string(),
            Ok(other) => format!("{other:?}"),
            Err(_) => "stranger".to_owned(),
        };
        let (code, denied) = match &caller {
            Err(denied) => (denied.code().to_string(), denied.to_string()),
            Ok(_) => ("E0000000000".to_owned(), String::new()),
        };
        let path = request.uri().path().to_owned();
        let version = format!("{:?}", request.version());
        let host = request.uri().authority().map_or_else(
            || request.headers().get("host").map(|h| h.to_str().unwrap().to_owned()).unwrap_or_default(),
            ToString::to_string,
        );
        let mut bytes = 0;
        match path.as_str() {
            "/wait" => {
                let _waits = Waits::count(&self.waiting);
                std::future::pending::<()>().await;
            }
            "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
            "/unread" => {}
            "/page" | "/held" => {
                if path == "/held" {
                    let _waits = Waits::count(&self.waiting);
                    self.hold.cancelled().await;
                }
                self.pages.fetch_add(1, Ordering::SeqCst);
                return Response::new(Body::from(vec![7; PAGE]));
            }
            "/headers" => {
                let told = request.headers().get("x-told").map(|told| told.to_str().unwrap().to_owned());
                return Response::new(Body::from(json!({ "told": told }).to_string()));
            }
            "/stats" => {
                let kind = if self.is_of_our_kind.load(Ordering::SeqCst) { "interconn/1" } else { "other" };
                return Response::builder().header("x-mesh-kind", kind).body(Body::from("E0000000000")).unwrap();
            }
            "/panic" => panic!("a handler panics"),
            "/pieces" => {
                let mut body = request.into_body();
                while let Some(Ok(piece)) = body.frame().await {
                    bytes += piece.data_ref().map_or(0, bytes::Bytes::len);
                    self.pieces.fetch_add(1, Ordering::SeqCst);
                }
            }
            "/echo" => return echo(request).await,
            "/nothing" => return Response::builder().status(204).body(Body::Empty).unwrap(),
            "/close" => return Response::builder().header("connection", "close").body(Body::from("bye")).unwrap(),
            "/large" => return Response::new(Body::from(vec![7; 8 << 20])),
            _ => bytes = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len()),
        }
        let said = json!({"who": who, "code": code, "denied": denied, "path": path, "version": version,
                          "bytes": bytes, "host": host, "requests": connection.requests()});
        Response::new(Body::from(said.to_string()))
    }

    fn short_way(&self, _: &Request<()>) -> Option<Pieces> {
        (!self.all_by_hyper.load(Ordering::SeqCst)).then_some(Pieces::Large)
    }
}

/// Everything that a request says.
async fn echo(request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let whole = body.collect().await.map(http_body_util::Collected::to_bytes);
    let status = if whole.is_ok() { 200 } else { 400 };
    let said = format!("{} {} {:?} {:?} {whole:?}", head.method, head.uri, head.version, head.headers);
    Response::builder().status(status).header("content-type", "text/plain").body(Body::from(said)).unwrap()
}

struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn count(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A socket that listens, for both families where the address is `[::]`.
pub(crate) fn listener(address: SocketAddr) -> TcpListener {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(4096).unwrap()
}

impl Running {
    pub(crate) fn start(parts: Parts) -> Self {
        Self::start_with(parts, Limits::default(), NameCheck::Required)
    }

    pub(crate) fn start_with(parts: Parts, limits: Limits, names: NameCheck) -> Self {
        let live = Arc::new(Live::new(Snapshot::assemble(parts).unwrap()));
        let (drain, mut registry) = (Drain::new(), Registry::default());
        let gate = Gate::new(Arc::clone(&live), limits, mesh_core::Workers::here(), &mut registry).unwrap();
        let listener = listener("[::]:0".parse().unwrap());
        let port = listener.local_addr().unwrap().port();
        let settings = Settings {
            instance: format!("test-{port}"),
            circulation: Circulation::Stopped,
            names,
            own: gate.addresses(),
        };
        let partners = Partners::new(Arc::clone(&live), settings, &mut registry, &drain.handle());
        let (is_of_our_kind, all_by_hyper) = (AtomicBool::new(true), AtomicBool::new(false));
        let seen = Arc::new(Seen {
            live: Arc::clone(&live),
            is_of_our_kind,
            waiting: Arc::default(),
            pieces: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            hold: tokio_util::sync::CancellationToken::new(),
            all_by_hyper,
        });
        tokio::spawn(serve(listener, Arc::clone(&seen), Arc::clone(&gate), drain.handle()));
        Self { live, gate, partners, address: SocketAddr::from(([127, 0, 0, 1], port)), drain, seen }
    }

    /// Another address of this node, which does not count as local.
    pub(crate) fn elsewhere(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 2], self.address.port()))
    }

    pub(crate) fn swap(&self, parts: Parts) {
        self.live.swap(Snapshot::assemble(parts).unwrap());
    }

    /// Calls a partner and answers what it says.
    pub(crate) async fn call(&self, node: &str, path: &str) -> Result<serde_json::Value, RouteError> {
        self.call_within(node, path, Body::Empty, Duration::from_secs(10)).await
    }

    pub(crate) async fn call_within(
        &self,
        node: &str,
        path: &str,
        body: Body,
        limit: Duration,
    ) -> Result<serde_json::Value, RouteError> {
        let snapshot = self.live.snapshot();
        let known = snapshot.route_to(&NodeId::new(node));
        let route = known.ok_or_else(|| RouteError::UnknownNode { node: NodeId::new(node) })?;
        let request = Request::post(path).body(body).unwrap();
        let answer = self.partners.send(route, request, Instant::now() + limit).await?;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Ok(serde_json::from_slice(&body).unwrap())
    }

    pub(crate) fn waiting(&self) -> usize {
        self.seen.waiting.load(Ordering::SeqCst)
    }
}

/// Waits until `true`, for a minute at most.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "it did not happen within a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
