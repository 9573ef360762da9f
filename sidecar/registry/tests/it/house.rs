//! A node with a registry and a listener in front of its proxy, and services to put behind it.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use mesh_core::{Body, CallContext, Caller, Drain, Live, Parts, Snapshot, store::Store};
use mesh_network::{Circulation, NameCheck, Partners, Settings};
use mesh_pki::{Algorithm, Identity, LeafRequest, Root};
use mesh_registry::{Proxy, Reach, Registrant, Registration, Registry};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout},
};

/// No test here needs longer; one that does hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Node {
    pub(crate) registry: Arc<Registry>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) live: Arc<Live>,
    pub(crate) drain: Drain,
    pub(crate) home: tempfile::TempDir,
}

/// A node's id, its institution's, and its certificates.
pub(crate) struct Institution {
    pub(crate) node: &'static str,
    inst: &'static str,
    root: String,
    leaf: String,
    key: String,
    signer: Root,
}

impl Institution {
    pub(crate) fn new(node: &'static str, inst: &'static str) -> Self {
        let identity = Identity { node_id: node.into(), name: "X".into() };
        let (now, day) = (std::time::SystemTime::now(), Duration::from_secs(86_400));
        let root = Root::generate(&identity, Algorithm::EcdsaP256, day, now).unwrap();
        let request = LeafRequest {
            identity,
            algorithm: Algorithm::EcdsaP256,
            lifetime: day,
            extra_dns: Vec::new(),
            extra_ips: Vec::new(),
        };
        let pair = root.issue(&request, now).unwrap();
        let pem = root.certificate_pem().to_owned();
        Self { node, inst, root: pem, leaf: pair.chain_pem, key: pair.key.expose().to_owned(), signer: root }
    }

    /// A TLS acceptor whose certificate this institution signed, for these names, and that offers these protocols.
    pub(crate) fn acceptor(&self, dns: &[&str], ips: &[&str], alpn: &[&[u8]]) -> tokio_rustls::TlsAcceptor {
        let request = LeafRequest {
            identity: Identity { node_id: "SERVICE".into(), name: "S".into() },
            algorithm: Algorithm::EcdsaP256,
            lifetime: Duration::from_secs(86_400),
            extra_dns: dns.iter().map(ToString::to_string).collect(),
            extra_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        let pair = self.signer.issue(&request, std::time::SystemTime::now()).unwrap();
        let chain = mesh_pki::parse_certificates(&pair.chain_pem).unwrap();
        let key = mesh_pki::parse_key(pair.key.expose()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }

    /// What this institution's programs call `other`'s port with: this protocol, and its own certificate.
    pub(crate) fn connector(&self, other: &Self, alpn: &[u8]) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(mesh_pki::parse_certificates(&other.root).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let pair = (mesh_pki::parse_certificates(&self.leaf).unwrap(), mesh_pki::parse_key(&self.key).unwrap());
        let mut config = config.with_root_certificates(roots).with_client_auth_cert(pair.0, pair.1).unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    /// Its node with one partner, reached at `addresses`, that may call `exports`.
    pub(crate) fn with_partner(&self, partner: &Self, addresses: &[String], exports: &[&str]) -> Parts {
        let addresses: Vec<Value> = addresses.iter().map(|address| json!({"address": address})).collect();
        let route = json!({"name": "to-b", "peer": {"nodeId": partner.node, "instId": partner.inst},
            "roots": [partner.root], "exports": exports, "addresses": addresses});
        Parts {
            hash: String::new(),
            origin: mesh_core::Origin::Standalone,
            role: mesh_core::Role::Gateway,
            node: serde_json::from_value(json!({"nodeId": self.node, "instId": self.inst})).unwrap(),
            routes: vec![serde_json::from_value(route).unwrap()],
            registrations: Vec::new(),
            roots_pem: self.root.clone(),
            leaf_pem: self.leaf.clone(),
            key_pem: self.key.clone(),
            members_pem: String::new(),
            client_pairs: Default::default(),
            grid: Default::default(),
            room_keys: Default::default(),
        }
    }
}

/// Institution A, whose node most tests are about.
pub(crate) fn bank_a() -> Institution {
    Institution::new("LX0000010000280", "JG0100002800000000")
}

/// Its partner.
pub(crate) fn bank_b() -> Institution {
    Institution::new("LX0000010000270", "JG0100002700000000")
}

/// Parts of A's node: partner B, which has no address, behind route `to-b` with these exports.
pub(crate) fn parts(exports: &[&str]) -> Parts {
    bank_a().with_partner(&bank_b(), &[], exports)
}

pub(crate) fn node() -> Node {
    node_of(parts(&["/serving"]), tempfile::tempdir().unwrap())
}

pub(crate) fn node_of(parts: Parts, home: tempfile::TempDir) -> Node {
    let live = Arc::new(Live::new(Snapshot::assemble(parts).unwrap()));
    let store = Arc::new(Store::open(home.path()).unwrap());
    let mut metered = Default::default();
    let drain = Drain::new();
    let settings = Settings {
        instance: live.load().node.node_id.to_string(),
        circulation: Circulation::Stopped,
        names: NameCheck::Required,
        own: Default::default(),
    };
    let partners = Partners::new(live.clone(), settings, &mut metered, &drain.handle());
    let reach = Reach { egress: partners.egress(), ..Reach::default() };
    let registry = Registry::new(live.clone(), store, reach, &mut metered).unwrap();
    let proxy = Arc::new(Proxy::new(registry.clone(), partners, live.clone(), drain.handle()));
    Node { registry, proxy, live, drain, home }
}

impl Node {
    /// Registers one instance of service `serving` at `address`.
    pub(crate) async fn register(&self, instance: &str, address: &str, service: Value) {
        let registrant = Registrant { caller: &Caller::Local, peer: None };
        self.registry.put(registration(instance, address, service), &registrant).await.unwrap();
    }

    /// Waits until there are so many calls at the one instance; a call that failed is never among them.
    pub(crate) async fn until_under_way(&self, calls: usize) {
        let end = Instant::now() + LIMIT;
        loop {
            let known = self.registry.status();
            if known[0].under_way == calls {
                return;
            }
            assert!(Instant::now() < end, "not {calls} calls but {known:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The partner of [`parts`], as admission would find it.
    pub(crate) fn partner(&self) -> Caller {
        Caller::Partner(self.live.snapshot().routes()[0].clone())
    }

    /// A listener whose connections all belong to `caller`.
    pub(crate) async fn listen(&self, caller: Caller) -> SocketAddr {
        let proxy = self.proxy.clone();
        serve(move |request: Request<Incoming>| {
            let (proxy, caller) = (proxy.clone(), caller.clone());
            async move {
                let context = CallContext::from_headers(request.headers()).unwrap();
                let answer = proxy.forward(request.map(Body::from), &context, &caller).await;
                answer.unwrap_or_else(|| {
                    let mut answer = Response::new(Body::from("nothing is registered there"));
                    *answer.status_mut() = StatusCode::NOT_FOUND;
                    answer
                })
            }
        })
        .await
    }
}

/// `service` gets urn `/serving`, unless it says otherwise.
pub(crate) fn registration(instance: &str, address: &str, service: Value) -> Registration {
    let mut offered = json!({"urn": "/serving", "proto": "http"});
    let Value::Object(given) = service else { panic!("a service is an object") };
    offered.as_object_mut().unwrap().extend(given);
    serde_json::from_value(json!({
        "instance_id": instance, "name": "tensorserving", "kind": "complex", "address": address,
        "timestamp": 300_000, "attachments": {}, "content": {"services": [offered]},
    }))
    .unwrap()
}

/// Serves HTTP/1.1 and h2c, upgrades included.
pub(crate) async fn serve<S, F>(service: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    raw_service(move |stream| {
        let service = service.clone();
        async move {
            let service = service_fn(move |request| {
                let answer = service(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await
                .ok();
        }
    })
    .await
}

/// As [`serve`], over TLS.
pub(crate) async fn serve_tls<S, F>(acceptor: tokio_rustls::TlsAcceptor, service: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    raw_service(move |stream| {
        let (service, acceptor) = (service.clone(), acceptor.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let answer = service(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await.ok();
        }
    })
    .await
}

/// A service that does what `script` does with each connection.
pub(crate) async fn raw_service<S, F>(script: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    address
}

/// A service that reads a head and answers these bytes, then closes.
pub(crate) async fn canned(answer: &'static [u8]) -> SocketAddr {
    raw_service(move |mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(answer).await.ok();
        stream.shutdown().await.ok();
    })
    .await
}

/// A service that answers what it was sent: method, target, headers, body.
pub(crate) async fn echo() -> SocketAddr {
    serve(echoed).await
}

pub(crate) async fn echoed(request: Request<Incoming>) -> Response<Body> {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    text += &format!("\n{}", String::from_utf8_lossy(&body));
    Response::new(Body::from(text))
}

/// An address where nobody listens, and nobody else can begin to as long as the tests run.
pub(crate) async fn nobody() -> SocketAddr {
    let (socket, address) = reserved();
    Box::leak(Box::new(socket));
    address
}

/// A place that is taken, and where nobody listens until somebody is told to.
pub(crate) fn reserved() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A listener whose backlog is full: connections are neither accepted nor refused, as long as the answer is held.
pub(crate) async fn black_hole() -> (SocketAddr, impl Sized) {
    let (socket, address) = reserved();
    let listener = socket.listen(1).unwrap();
    let fillers: Vec<_> = (0..8).map(|_| tokio::spawn(connect(address))).collect();
    // The first two are accepted by the system; the others find no room.
    tokio::time::sleep(Duration::from_millis(300)).await;
    (address, (listener, fillers))
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpSocket::new_v4().unwrap().connect(address).await.unwrap()
}

/// Reads up to the empty line that ends a head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A frame of HTTP/2 (RFC 9113 section 4.1), as it came.
pub(crate) struct Http2Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// The four bytes of its stream.
    pub(crate) stream: [u8; 4],
}

/// What a client of HTTP/2 says before its first frame; `None` when the connection ended before.
pub(crate) async fn read_preface(stream: &mut TcpStream) -> Option<()> {
    stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await.ok().map(|_| ())
}

/// The next frame, with its payload behind us; `None` at the end.
pub(crate) async fn read_frame(io: &mut TcpStream) -> Option<Http2Frame> {
    let mut head = [0; 9];
    io.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    io.read_exact(&mut vec![0; u32::from_be_bytes([0, a, b, c]) as usize]).await.ok()?;
    Some(Http2Frame { kind, flags, stream })
}

/// Writes `bytes`, and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the connection was not closed").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// One HTTP/1.1 request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = Request::get(path).header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = send(address, request.body(Full::default()).unwrap()).await;
    let status = answer.status();
    (status, String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned())
}

/// One HTTP/1.1 request with any body.
pub(crate) async fn send<B>(address: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    try_send(address, request).await.unwrap()
}

/// As [`send`], where the connection may break off before the head of the answer.
pub(crate) async fn try_send<B>(address: SocketAddr, request: Request<B>) -> hyper::Result<Response<Incoming>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TokioIo::new(connect(address).await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(async move { connection.with_upgrades().await.ok() });
    let request = request.map(|body| Box::pin(body));
    timeout(LIMIT, sender.send_request(request)).await.expect("no answer")
}
