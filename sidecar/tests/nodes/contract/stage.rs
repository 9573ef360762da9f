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

use super::wire::{Ask, Heard, Transport, Wire, frame, use_at};
use crate::{
    backplane::{PATIENCE, server::Server},
    harness::{A, B, Bank, Node, Partner, free_port, until},
};

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
    among: Option<Among>,
    pub(super) partner: Bank,
    _volume: tempfile::TempDir,
}

/// The gateway that has whatever session is used, and what joins it to those that are called.
struct Among {
    owner: Node,
    _server: Server,
}

/// What of the node is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    /// The only process that there is.
    Itself,
    /// A sidecar, where applications call.
    Sidecar,
    /// One of three gateways, and another one where partners call; the third has the sessions.
    OneOfThree,
}

impl Stage {
    pub(super) async fn set() -> Self {
        Self::made(Called::Itself, &[], &json!({})).await
    }

    /// The same with more variables of the node.
    pub(super) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::made(Called::Itself, variables, &json!({})).await
    }

    /// The same with more settings of its queues.
    pub(super) async fn with_transport(more: &Value) -> Self {
        Self::made(Called::Itself, &[], more).await
    }

    /// The same node with a gateway: its applications call a sidecar beside it.
    pub(super) async fn beside_a_gateway() -> Self {
        Self::made(Called::Sidecar, &[], &json!({})).await
    }

    /// The same node with three gateways over a NATS, and these settings of its queues. Applications call one of them and partners
    /// another one; each session was used at the third before, which owns it therefore.
    pub(super) async fn among_gateways(more: &Value) -> Self {
        Self::made(Called::OneOfThree, &[], more).await
    }

    /// Every process of the node.
    fn all(&self) -> impl Iterator<Item = &Node> {
        [Some(&self.node), self.gateway.as_ref(), self.among.as_ref().map(|among| &among.owner)].into_iter().flatten()
    }

    /// The sum of a number over all of them.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for node in self.all() {
            sum += node.metric(name).await;
        }
        sum
    }

    /// Has the session used where it is to be, before it is called: for calls that do not name it among their headers.
    pub(super) async fn use_first(&self, session: &str) {
        if let Some(among) = &self.among {
            use_at(among.owner.data, &[("x-ptp-session-id".to_owned(), session.to_owned())]).await;
        }
    }

    /// Who was called has passed on whatever it was called for, and has no session itself.
    pub(super) async fn has_passed_all_on(&self) {
        for node in [&self.node, self.queues()] {
            assert!(node.metric("mesh_transport_forwarded_calls_total").await > 0.0);
            let own = node.private("/queues/list").await.text();
            assert_eq!(node.metric("mesh_transport_sessions").await, 0.0, "they were to be another's: {own}");
        }
    }

    /// Where partners call.
    fn queues(&self) -> &Node {
        self.gateway.as_ref().unwrap_or(&self.node)
    }

    /// How many `pops`, `pushes` or `bodies` wait.
    pub(super) async fn waiting(&self, what: &str) -> f64 {
        self.metric(&format!("mesh_transport_waiting_{what}")).await
    }

    async fn made(called: Called, variables: &[(&str, &str)], more: &Value) -> Self {
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
        let mut transport = json!({"maxBodyBytes": "64Ki", "sessionBytes": "100Ki", "totalBytes": "8Mi"});
        transport.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let volume = tempfile::tempdir().unwrap();
        let mut more = json!({"transport": transport});
        let directory = [("MESH_CONFIG_DIR", volume.path().to_str().unwrap())];
        let (node, gateway, among) = match called {
            Called::Itself => {
                own.publish_with(volume.path(), &partners, &more);
                (Node::with(&[&directory, variables].concat()).await, None, None)
            }
            Called::Sidecar => {
                let port = free_port();
                own.publish_for_gateway(volume.path(), &partners, &more, SocketAddr::from(([127, 0, 0, 1], port)));
                let gateway = Node::on(port, &directory).await;
                (Node::sidecar(volume.path()).await, Some(gateway), None)
            }
            Called::OneOfThree => {
                let server = Server::start("").unwrap();
                more["backplane"] = json!({"nats": {"url": server.url()}});
                own.publish_with(volume.path(), &partners, &more);
                let [node, gateway, owner] = three(&directory).await;
                (node, Some(gateway), Some(Among { owner, _server: server }))
            }
        };
        Self { node, gateway, among, partner, _volume: volume }
    }

    pub(super) async fn wire(&self, transport: Transport) -> Wire {
        let to = if transport == Transport::TlsH2 { self.queues() } else { &self.node };
        let wire = Wire::open(transport, to.data, &self.partner.leaf).await;
        match &self.among {
            Some(among) => wire.behind(among.owner.data),
            None => wire,
        }
    }

    /// One request of an application on a connection of its own.
    pub(super) async fn ask(&self, ask: Ask) -> Heard {
        self.wire(Transport::Http1).await.send(self.node.data, ask).await
    }
}

/// Gateways that see each other.
async fn three(variables: &[(&str, &str)]) -> [Node; 3] {
    let all = [Node::with(variables).await, Node::with(variables).await, Node::with(variables).await];
    for node in &all {
        let sees = async || node.metric("mesh_backplane_other_gateways").await == 2.0;
        until("the others to be seen", PATIENCE, sees).await;
    }
    all
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
