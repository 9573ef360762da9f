//! Nodes to test with: a front, its channels, and a wire to other nodes of the same test.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use http_body_util::BodyExt;
use mesh_core::{Body, CallContext, Caller, Code, Fault, Live, NodeId, Parts, Refusal, Retry, Route, Snapshot};
use mesh_network::{Kind, Place, Slip};
use mesh_pki::{Algorithm, Identity, LeafRequest, Root};
use mesh_transport::{Channels, Front, Op, Peers};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

pub(crate) const A: &str = "LX0000010000280";
pub(crate) const B: &str = "LX0000010000270";
pub(crate) const C: &str = "LX0000010000260";

/// A node with its fronts.
pub(crate) struct Node {
    pub(crate) live: Arc<Live>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) front: Arc<Front<Wire>>,
    pub(crate) wire: Arc<Wire>,
    registry: Registry,
}

/// What stands for connections to partners: the other node's front, called as the partner that our certificate proves.
pub(crate) struct Wire {
    ends: Mutex<HashMap<NodeId, End>>,
    /// Refusals to be given out before anything is carried.
    pub(crate) refusals: Mutex<Vec<Refusal>>,
    /// Answers to be given out in place of the partner's.
    pub(crate) answers: Mutex<Vec<Response<Body>>>,
    /// What the partner is.
    pub(crate) kind: Mutex<Kind>,
    /// Answers of the partner that are lost on their way, with how we hear of it.
    pub(crate) losses: Mutex<Vec<Refusal>>,
    /// What somebody in between says in place of the partner's answer, which is lost.
    pub(crate) between: Mutex<Vec<Response<Body>>>,
    /// Rung when something is about to be sent, with its body unread.
    pub(crate) begun: Notify,
    /// What was sent: path, headers, body.
    pub(crate) sent: Mutex<Vec<(String, HeaderMap, Bytes)>>,
}

/// The other side of a wire: its front, called as the partner that it knows us as.
type End = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

impl Default for Wire {
    fn default() -> Self {
        Self {
            ends: Mutex::default(),
            refusals: Mutex::default(),
            answers: Mutex::default(),
            kind: Mutex::new(Kind::Ours),
            losses: Mutex::default(),
            between: Mutex::default(),
            begun: Notify::new(),
            sent: Mutex::default(),
        }
    }
}

impl Peers for Wire {
    async fn send(
        &self,
        route: &Arc<Route>,
        mut request: Request<Body>,
        _deadline: Instant,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(refusal) = self.refusals.lock().pop() {
            return Err(refusal);
        }
        if let Some(slip) = request.extensions_mut().remove::<Slip>() {
            slip.leaves(&Place::new(route.node_id.as_str()), *self.kind.lock(), &mut request);
        }
        self.begun.notify_one();
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            // Our own body broke off: the stream is reset, and the partner drops what it has of it.
            return Err(refusal(Code::UNREACHABLE, Retry::Unknown));
        };
        let body = body.to_bytes();
        self.sent.lock().push((head.uri.path().to_owned(), head.headers.clone(), body.clone()));
        if let Some(answer) = self.answers.lock().pop() {
            return Ok(answer);
        }
        let end = Arc::clone(self.ends.lock().get(&route.node_id).expect("no wire to that partner"));
        let answer = end(Request::from_parts(head, Body::from(body))).await;
        let said = self.between.lock().pop().map(Ok);
        match said.or_else(|| self.losses.lock().pop().map(Err)) {
            None => Ok(answer),
            Some(instead) => {
                // Written to its end, and then lost.
                hear(answer).await;
                instead
            }
        }
    }
}

impl Node {
    /// A node with these partners and these settings of the transport.
    pub(crate) fn new(id: &str, partners: &[&str], transport: &Value) -> Self {
        let routes = partners.iter().map(|partner| json!({"peer": {"nodeId": partner}})).collect::<Vec<_>>();
        Self::with_routes(id, &routes, transport)
    }

    /// A node with these routes; what a route does not say is filled in.
    pub(crate) fn with_routes(id: &str, routes: &[Value], transport: &Value) -> Self {
        let live = Arc::new(Live::new(snapshot(id, routes, transport)));
        let mut registry = Registry::default();
        let channels = Channels::new(Arc::clone(&live), &mut registry);
        Self::of(live, channels, registry)
    }

    /// A node whose messages are kept in `home`, without partners.
    pub(crate) fn on_disk(home: &Path, transport: &Value) -> Self {
        let live = Arc::new(Live::new(snapshot(A, &[], transport)));
        let mut registry = Registry::default();
        let channels = Channels::open(Arc::clone(&live), home, &mut registry).unwrap();
        Self::of(live, channels, registry)
    }

    fn of(live: Arc<Live>, channels: Arc<Channels>, registry: Registry) -> Self {
        let wire = Arc::new(Wire::default());
        let mpis = mesh_core::mpi::Table::default();
        let front = Front::new(Arc::clone(&channels), Arc::clone(&wire), Arc::clone(&live), mpis);
        Self { live, channels, front, wire, registry }
    }

    /// Lays a wire to `other`, which must have a route to this node.
    pub(crate) fn connect(&self, other: &Self) {
        let us = other.route(self.live.load().node.node_id.as_str());
        let front = Arc::clone(&other.front);
        let end: End = Arc::new(move |request| {
            let (front, us) = (Arc::clone(&front), Arc::clone(&us));
            Box::pin(async move { serve(&front, request, Caller::Partner(us)).await })
        });
        self.wire.ends.lock().insert(other.live.load().node.node_id.clone(), end);
    }

    pub(crate) fn route(&self, partner: &str) -> Arc<Route> {
        Arc::clone(self.live.load().route_to(&NodeId::new(partner)).unwrap())
    }

    /// A request of a local application.
    pub(crate) async fn ask(&self, call: Ask) -> Heard {
        self.ask_as(Caller::Local, call).await
    }

    /// A request of anybody.
    pub(crate) async fn ask_as(&self, caller: Caller, call: Ask) -> Heard {
        hear(self.answer(caller, call).await).await
    }

    /// The answer with its body unread.
    pub(crate) async fn answer(&self, caller: Caller, call: Ask) -> Response<Body> {
        serve(&self.front, call.request(), caller).await
    }

    /// Any request of a local application.
    pub(crate) async fn serve(&self, request: Request<Body>) -> Response<Body> {
        serve(&self.front, request, Caller::Local).await
    }

    /// Waits until it has so many messages: what another node tells it takes its way.
    pub(crate) async fn until_messages(&self, messages: u64) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.channels.levels().messages != messages {
            assert!(Instant::now() < end, "{} messages, not {messages}", self.channels.levels().messages);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The metrics as they are scraped.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

async fn serve(front: &Arc<Front<Wire>>, request: Request<Body>, caller: Caller) -> Response<Body> {
    if request.uri().path() == "/v1/interconn/chan/lease" {
        return front.lease(request, caller).await;
    }
    let context = CallContext::from_headers(request.headers()).unwrap();
    if request.uri().path() == "/mesh/invoke" {
        return front.invoke(request, context, caller).await;
    }
    let op = Op::of_path(request.uri().path()).unwrap();
    front.http(op, request, context, caller).await
}

/// A request, with defaults.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Ask {
    /// POST of JSON to an operation, in session `s1`.
    pub(crate) fn json(op: &str, body: &Value) -> Self {
        Self::raw(op, body.to_string()).header("content-type", "application/json").header("x-ptp-session-id", "s1")
    }

    /// POST of anything, without a header.
    pub(crate) fn raw(op: &str, body: impl Into<Bytes>) -> Self {
        let uri = format!("/v1/interconn/chan/{op}");
        Self { method: Method::POST, uri, headers: Vec::new(), body: body.into() }
    }

    /// Sets a header; an empty value takes it away.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn to(self, node: &str) -> Self {
        self.header("x-ptp-target-node-id", node)
    }

    pub(crate) fn request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        for (name, value) in self.headers {
            request = request.header(HeaderName::try_from(name).unwrap(), value);
        }
        request.body(Body::from(self.body)).unwrap()
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Heard {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) async fn hear(response: Response<Body>) -> Heard {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Heard { status: head.status.as_u16(), headers: head.headers, body }
}

pub(crate) fn refusal(code: Code, retry: Retry) -> Refusal {
    Refusal { code, message: "not there".into(), fault: Fault::Peer, retry }
}

/// A snapshot of a node.
pub(crate) fn snapshot(id: &str, routes: &[Value], transport: &Value) -> Snapshot {
    let (roots_pem, leaf_pem, key_pem) = certificates();
    let node = json!({"nodeId": id, "instId": inst(id), "transport": transport});
    let routes = routes.iter().cloned().map(|mut route| {
        let peer = route["peer"]["nodeId"].as_str().unwrap().to_owned();
        route["name"] = peer.to_lowercase().into();
        route["peer"]["instId"] = inst(&peer).into();
        route["roots"] = json!([roots_pem]);
        serde_json::from_value(route).unwrap()
    });
    let routes = routes.collect();
    Snapshot::assemble(Parts {
        hash: String::new(),
        origin: mesh_core::Origin::Standalone,
        role: mesh_core::Role::Gateway,
        node: serde_json::from_value(node).unwrap(),
        routes,
        registrations: Vec::new(),
        roots_pem: roots_pem.clone(),
        leaf_pem: leaf_pem.clone(),
        key_pem: key_pem.clone(),
        members_pem: String::new(),
        client_pairs: HashMap::new(),
        grid: Default::default(),
        room_keys: Default::default(),
    })
    .unwrap()
}

/// The institution of a node: `JG` and the node's digits.
pub(crate) fn inst(node: &str) -> String {
    format!("JG01{}00000000", &node[5..11])
}

/// A root, a leaf and its key; any will do, since nothing here makes a handshake.
fn certificates() -> &'static (String, String, String) {
    static MADE: OnceLock<(String, String, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let identity = Identity { node_id: A.into(), name: "X".into() };
        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        let root = Root::generate(&identity, Algorithm::EcdsaP256, day, now).unwrap();
        let request = LeafRequest {
            identity,
            algorithm: Algorithm::EcdsaP256,
            lifetime: day / 2,
            extra_dns: Vec::new(),
            extra_ips: Vec::new(),
        };
        let leaf = root.issue(&request, now).unwrap();
        (root.certificate_pem().to_owned(), leaf.chain_pem.clone(), leaf.key.expose().to_owned())
    })
}
