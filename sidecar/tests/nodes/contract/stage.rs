//! The node that the tables run against, its partners, and one partner that answers as the session id tells it.

use std::{convert::Infallible, future::pending, net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use mesh_pki::Pair;
use rustls::{ServerConfig, crypto::ring};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::wire::{Ask, Heard, Transport, Wire, frame};
use crate::harness::{A, B, Bank, Node, Partner, free_port};

/// Partners beside B, each in one trouble.
pub(super) const DISABLED: &str = "LX0000010000301";
pub(super) const EXPIRED: &str = "LX0000010000302";
pub(super) const UNREACHABLE: &str = "LX0000010000303";
pub(super) const UNTRUSTED: &str = "LX0000010000304";
pub(super) const MISNAMED: &str = "LX0000010000305";

/// What a body may have, small enough to exceed it in a test; the table says 64 KiB.
pub(super) const MAX_BODY: usize = 64 * 1024;

type Reply = Response<http_body_util::Either<Full<Bytes>, Trailing>>;
type Trailing = StreamBody<futures::stream::Iter<std::array::IntoIter<Result<Frame<Bytes>, Infallible>, 2>>>;

/// The node, and its partner B.
pub(super) struct Stage {
    /// What applications call.
    pub(super) node: Node,
    /// What partners call, where it is not the same.
    gateway: Option<Node>,
    pub(super) partner: Bank,
    _volume: tempfile::TempDir,
}

impl Stage {
    pub(super) async fn set() -> Self {
        Self::made(false, &[]).await
    }

    /// The same with more variables of the node.
    pub(super) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::made(false, variables).await
    }

    /// The same node with a gateway: its applications call a sidecar beside it.
    pub(super) async fn beside_a_gateway() -> Self {
        Self::made(true, &[]).await
    }

    /// Where the queues are.
    fn queues(&self) -> &Node {
        self.gateway.as_ref().unwrap_or(&self.node)
    }

    /// How many `pops`, `pushes` or `bodies` wait.
    pub(super) async fn waiting(&self, what: &str) -> f64 {
        let name = format!("mesh_transport_waiting_{what}");
        let beside = match &self.gateway {
            Some(gateway) => gateway.metric(&name).await,
            None => 0.0,
        };
        self.node.metric(&name).await + beside
    }

    async fn made(has_gateway: bool, variables: &[(&str, &str)]) -> Self {
        let (own, partner, stranger) = (Bank::new(A), Bank::new(B), Bank::new(UNTRUSTED));
        let (disabled, expired, unreachable) = (Bank::new(DISABLED), Bank::new(EXPIRED), Bank::new(UNREACHABLE));
        let puppet = puppet(&partner.leaf).await;
        let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let route = |bank, address, more| Partner { bank, address, more };
        let partners = [
            route(&partner, Some(puppet), json!({"peer": {"nodeId": B, "instId": "JG0100002700000000"}})),
            route(&disabled, None, json!({"disabled": true})),
            route(&expired, None, json!({"expiresAt": "2020-01-01T00:00:00Z"})),
            route(&unreachable, Some(closed), json!({})),
            // What answers there has B's certificate.
            route(&stranger, Some(puppet), json!({})),
            // Under B's root, and what answers there is B.
            route(&partner, Some(puppet), json!({"name": "misnamed", "peer": {"nodeId": MISNAMED}})),
        ];
        let transport = json!({"maxBodyBytes": "64Ki", "sessionBytes": "100Ki", "totalBytes": "8Mi"});
        let volume = tempfile::tempdir().unwrap();
        let more = json!({"transport": transport});
        let directory = [("MESH_CONFIG_DIR", volume.path().to_str().unwrap())];
        if has_gateway {
            let port = free_port();
            own.publish_for_gateway(volume.path(), &partners, &more, SocketAddr::from(([127, 0, 0, 1], port)));
            let gateway = Node::on(port, &directory).await;
            let node = Node::sidecar(volume.path()).await;
            return Self { node, gateway: Some(gateway), partner, _volume: volume };
        }
        own.publish_with(volume.path(), &partners, &more);
        let node = Node::with(&[&directory, variables].concat()).await;
        Self { node, gateway: None, partner, _volume: volume }
    }

    pub(super) async fn wire(&self, transport: Transport) -> Wire {
        let to = if transport == Transport::TlsH2 { self.queues() } else { &self.node };
        Wire::open(transport, to.data, &self.partner.leaf).await
    }

    /// One request of an application on a connection of its own.
    pub(super) async fn ask(&self, ask: Ask) -> Heard {
        self.wire(Transport::Http1).await.send(self.node.data, ask).await
    }
}

/// A node of another kind, with this certificate.
async fn puppet(pair: &Pair) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let chain = mesh_pki::parse_certificates(&pair.chain_pem).unwrap();
    let mut config = config.with_single_cert(chain, mesh_pki::parse_key(pair.key.expose()).unwrap()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us goes away here.
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/stats" {
        return Ok(plain(200, "E0000000000".into()));
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let seen = json!({"path": head.uri.path(), "headers": shown(&head.headers), "body": STANDARD.encode(&body)});
    let session = head.headers.get("x-ptp-session-id").map_or("", |value| value.to_str().unwrap_or(""));
    let told = session.split_once(' ').map_or(session, |(told, _)| told);
    match told {
        "403" => return Ok(plain(403, "对方节点已禁用网络".into())),
        "502" => return Ok(plain(502, "bad gateway".into())),
        _ => {}
    }
    if head.uri.path() == "/mesh-rpc/v1" {
        return Ok(generic(&json!({"code": "E0000000000", "message": "there", "content": seen})));
    }
    if head.uri.path() == "/mesh/invoke" {
        return Ok(plain(200, json!({"code": "E0000000000", "message": "there", "content": seen}).to_string()));
    }
    Ok(match told {
        "silent" => pending().await,
        "html" => plain(200, "<html>".into()),
        "seen" => {
            let payload = STANDARD.encode(seen.to_string());
            plain(200, json!({"code": "E0000000000", "message": "so it is", "payload": payload}).to_string())
        }
        code => plain(200, json!({"code": code, "message": "so it is"}).to_string()),
    })
}

fn plain(status: u16, body: String) -> Reply {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(http_body_util::Either::Left(Full::new(body.into()))).unwrap()
}

fn generic(answer: &Value) -> Reply {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let frames = [Frame::data(frame(answer.to_string().as_bytes()).into()), Frame::trailers(trailers)];
    let body = StreamBody::new(futures::stream::iter(frames.map(Ok)));
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(http_body_util::Either::Right(body)).unwrap()
}

/// All headers; of a repeated one all values, with commas between.
fn shown(headers: &HeaderMap) -> Value {
    let values = |name: &http::HeaderName| {
        headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect::<Vec<_>>()
            .join(",")
    };
    headers.keys().map(|name| (name.to_string(), Value::from(values(name)))).collect::<serde_json::Map<_, _>>().into()
}
