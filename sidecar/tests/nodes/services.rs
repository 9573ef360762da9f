//! Services of real programs behind a node: a gRPC service of tonic with each kind of call, services by name, and what the
//! command line says of them.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, process::Output, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use http::{Request, Response};
use proto::ptp::{PeekInbound, PopInbound};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tonic::{
    Code, Status, Streaming,
    codegen::{BoxFuture, http::uri::PathAndQuery},
    server::{ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService},
    transport::Channel,
};
use tonic_prost::ProstCodec;

use crate::{
    backplane::PATIENCE,
    harness::{B, Bank, Node, until},
};

/// The server's: it says the one and is asked the other.
type Codec = ProstCodec<PeekInbound, PopInbound>;
type Answers = Pin<Box<dyn Stream<Item = Result<PeekInbound, Status>> + Send>>;

fn said(text: impl Into<String>) -> PeekInbound {
    PeekInbound { topic: text.into() }
}

fn asked(text: &str, times: i32) -> PopInbound {
    PopInbound { topic: text.into(), timeout: times }
}

/// What each method of the service does.
struct Kinds;

impl UnaryService<PopInbound> for Kinds {
    type Response = PeekInbound;
    type Future = BoxFuture<tonic::Response<PeekInbound>, Status>;

    fn call(&mut self, request: tonic::Request<PopInbound>) -> Self::Future {
        Box::pin(async move {
            if request.get_ref().timeout < 0 {
                let mut status = Status::data_loss("100% 坏");
                status.metadata_mut().insert("x-why", "because".parse().unwrap());
                return Err(status);
            }
            let mut answer = tonic::Response::new(said(&request.get_ref().topic));
            let source = request.metadata().get("x-ptp-source-node-id").unwrap().clone();
            answer.metadata_mut().insert("x-source", source);
            Ok(answer)
        })
    }
}

impl ServerStreamingService<PopInbound> for Kinds {
    type Response = PeekInbound;
    type ResponseStream = Answers;
    type Future = BoxFuture<tonic::Response<Answers>, Status>;

    fn call(&mut self, request: tonic::Request<PopInbound>) -> Self::Future {
        let PopInbound { topic, timeout } = request.into_inner();
        let answers = stream::iter((0..timeout).map(move |n| Ok(said(format!("{topic}{n}")))));
        Box::pin(async move { Ok(tonic::Response::new(answers.boxed())) })
    }
}

impl ClientStreamingService<PopInbound> for Kinds {
    type Response = PeekInbound;
    type Future = BoxFuture<tonic::Response<PeekInbound>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<PopInbound>>) -> Self::Future {
        Box::pin(async move {
            let all: Vec<_> = request.into_inner().map(|one| one.unwrap().topic).collect().await;
            Ok(tonic::Response::new(said(all.concat())))
        })
    }
}

impl StreamingService<PopInbound> for Kinds {
    type Response = PeekInbound;
    type ResponseStream = Answers;
    type Future = BoxFuture<tonic::Response<Answers>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<PopInbound>>) -> Self::Future {
        let echoed = request.into_inner().map(|one| Ok(said(one?.topic)));
        Box::pin(async move { Ok(tonic::Response::new(echoed.boxed())) })
    }
}

/// A server of tonic with `acme.Kinds`; its address.
async fn kinds() -> SocketAddr {
    #[derive(Clone)]
    struct Routed;
    impl tonic::server::NamedService for Routed {
        const NAME: &'static str = "acme.Kinds";
    }
    impl tower_service::Service<Request<tonic::body::Body>> for Routed {
        type Response = Response<tonic::body::Body>;
        type Error = Infallible;
        type Future = BoxFuture<Self::Response, Infallible>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
            Box::pin(async move {
                let mut grpc = Grpc::new(Codec::default());
                Ok(match request.uri().path() {
                    "/acme.Kinds/Unary" => grpc.unary(Kinds, request).await,
                    "/acme.Kinds/Down" => grpc.server_streaming(Kinds, request).await,
                    "/acme.Kinds/Up" => grpc.client_streaming(Kinds, request).await,
                    "/acme.Kinds/Both" => grpc.streaming(Kinds, request).await,
                    _ => Status::unimplemented("no such method").into_http(),
                })
            })
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(Routed).serve_with_incoming(incoming));
    address
}

async fn client(node: &Node) -> tonic::client::Grpc<Channel> {
    let channel = Channel::from_shared(format!("http://{}", node.data)).unwrap().connect().await.unwrap();
    tonic::client::Grpc::new(channel)
}

fn method(name: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(name)
}

/// The client's codec is the server's, the other way round.
fn codec() -> ProstCodec<PopInbound, PeekInbound> {
    ProstCodec::default()
}

/// Where services are registered and where they are called: at a node, or at two gateways of one.
#[derive(Clone, Copy)]
pub(crate) struct Sides<'n> {
    pub(crate) registers: &'n Node,
    pub(crate) calls: &'n Node,
}

impl<'n> Sides<'n> {
    fn both(node: &'n Node) -> Self {
        Self { registers: node, calls: node }
    }

    /// Waits until what is registered here is known there.
    async fn agree(&self) {
        until("what is registered to be known where it is called", PATIENCE, async || {
            known(self.registers).await == known(self.calls).await
        })
        .await;
    }
}

/// What a node has registered, but for what each finds out itself.
async fn known(node: &Node) -> Vec<Value> {
    let page = node.private("/services").await.json();
    let service = |one: &Value| json!([one["urn"], one["address"], one["weight"], one["outrankedBy"]]);
    let row = |row: &Value| {
        let services: Vec<Value> = row["services"].as_array().unwrap().iter().map(service).collect();
        json!([row["name"], services])
    };
    page["services"].as_array().unwrap().iter().map(row).collect()
}

pub(crate) fn mesh(node: &Node, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
    command.args(args).env("MESH_HOME", node.home()).env("MESH_ADMIN_LISTEN", node.admin.to_string());
    command.env("MESH_ADDRESS", node.data.to_string()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_tonic_takes_each_kind_of_call() {
    let node = Node::start().await;
    a_service_of_tonic_takes_each_kind_of_call_at(Sides::both(&node)).await;
}

pub(crate) async fn a_service_of_tonic_takes_each_kind_of_call_at(sides: Sides<'_>) {
    let Sides { registers, calls } = sides;
    let at = kinds().await.to_string();
    assert!(mesh(registers, &["register", "kinds", "/acme.Kinds", "--at", &at, "--proto", "grpc"]).status.success());
    sides.agree().await;
    let mut client = client(calls).await;
    client.ready().await.unwrap();
    let answer = client.unary(tonic::Request::new(asked("hi", 0)), method("/acme.Kinds/Unary"), codec()).await.unwrap();
    let own = calls.mpi("mesh.net.environ", &json!({})).await["node_id"].as_str().unwrap().to_owned();
    assert_eq!((answer.get_ref(), answer.metadata().get("x-source").unwrap().to_str().unwrap()), (&said("hi"), &*own));
    client.ready().await.unwrap();
    let refused = client.unary(tonic::Request::new(asked("hi", -1)), method("/acme.Kinds/Unary"), codec()).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::DataLoss, "100% 坏"));
    assert_eq!(refused.metadata().get("x-why").unwrap(), "because");
    let down = tonic::Request::new(asked("n", 100));
    client.ready().await.unwrap();
    let down = client.server_streaming(down, method("/acme.Kinds/Down"), codec()).await.unwrap().into_inner();
    let down: Vec<_> = down.map(|one| one.unwrap().topic).collect().await;
    assert_eq!((down.len(), down[99].as_str()), (100, "n99"));
    let up = tonic::Request::new(stream::iter(["a", "b", "c"].map(|text| asked(text, 0))));
    client.ready().await.unwrap();
    let up = client.client_streaming(up, method("/acme.Kinds/Up"), codec()).await.unwrap();
    assert_eq!(up.into_inner(), said("abc"));
    let (mut sender, receiver) = futures::channel::mpsc::channel(1);
    let both = tonic::Request::new(receiver);
    client.ready().await.unwrap();
    let mut both = client.streaming(both, method("/acme.Kinds/Both"), codec()).await.unwrap().into_inner();
    for text in ["one", "two"] {
        // The second is sent when the first was answered.
        futures::SinkExt::send(&mut sender, asked(text, 0)).await.unwrap();
        assert_eq!(both.message().await.unwrap(), Some(said(text)));
    }
    drop(sender);
    assert_eq!(both.message().await.unwrap(), None);
    client.ready().await.unwrap();
    let nobody = client.unary(tonic::Request::new(asked("", 0)), method("/acme.Nobody/Unary"), codec()).await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unimplemented);
}

/// A service that answers generic calls by HTTP with its own name.
pub(crate) async fn by_name(content: &'static str) -> SocketAddr {
    let answer = json!({"code": "E0000000000", "message": "ok", "content": content}).to_string();
    let router = axum::Router::new().fallback(move || async move { answer });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn metadata(at: SocketAddr, urn: &str) -> Value {
    json!({"registration": {
        "instance_id": at.to_string(), "name": urn, "kind": "metadata", "address": "", "timestamp": 30_000,
        "content": {"services": [{"urn": urn, "kind": "MPS", "proto": "http", "codec": "json"}]},
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn services_by_name_are_called_and_none_of_the_nodes_own_is_taken_over() {
    let node = Node::start().await;
    services_by_name_are_called_and_none_of_the_nodes_own_is_taken_over_at(Sides::both(&node)).await;
}

pub(crate) async fn services_by_name_are_called_and_none_of_the_nodes_own_is_taken_over_at(sides: Sides<'_>) {
    let Sides { registers, calls } = sides;
    let at = by_name("mine").await;
    let flag = "0000000000000000000000000000000000000";
    // A `${..}` segment is one label, whatever dots it has (PTP section 8.1).
    for name in ["score.acme", "score.${tenant.of.acme}", "environ.net.mesh", "push.chan.mesh"] {
        let urn = format!("{name}.{flag}.lx0000000000000.trustbe.cn");
        registers.mpi("mesh.registry.put", &metadata(at, &urn)).await;
        sides.agree().await;
        let content = calls.mpi(&urn, &json!({"topic": "t", "payload": ""})).await;
        assert_eq!(content == "mine", name.starts_with("score."), "{name}: {content}");
    }
    let body = json!({"method": format!("score.acme.{flag}.lx0000000000000.trustbe.cn"), "content": {"a": 1}});
    assert_eq!(calls.post("/mesh/invoke", &[], &body).await.json()["content"], "mine");
    let unknown = calls.post("/mesh/invoke", &[("mesh-urn", "acme.other")], &json!({})).await;
    assert_eq!(unknown.code(), "E0000000404");
}

/// PTP sections 8.5 and 10.1, flag 4: the name is nobody's alone.
#[tokio::test(flavor = "multi_thread")]
async fn programs_that_register_one_communal_service_share_its_calls() {
    let node = Node::start().await;
    programs_that_register_one_communal_service_share_its_calls_at(Sides::both(&node)).await;
}

pub(crate) async fn programs_that_register_one_communal_service_share_its_calls_at(sides: Sides<'_>) {
    let Sides { registers, calls } = sides;
    let put = async |name: &str, at: SocketAddr, flags: u8| {
        let service = json!({"urn": "acme.shared", "kind": "MPS", "proto": "http", "flags": flags});
        registers
            .mpi(
                "mesh.registry.put",
                &json!({"registration": {"instance_id": at.to_string(), "name": name, "kind": "metadata", "address": "",
                "timestamp": 30_000, "content": {"services": [service]}}}),
            )
            .await;
        sides.agree().await;
    };
    let ask = async || {
        let mut heard = std::collections::BTreeSet::new();
        for _ in 0..6 {
            heard.insert(calls.mpi("acme.shared", &json!({})).await.as_str().unwrap().to_owned());
        }
        heard.into_iter().collect::<Vec<_>>()
    };
    let (a, b, c) = (by_name("a").await, by_name("b").await, by_name("c").await);
    put("program-a", a, 0).await;
    put("program-b", b, 0).await;
    assert_eq!(ask().await, ["a"], "without the flag the name is the first program's");
    put("program-b", b, 4).await;
    put("program-c", c, 4).await;
    assert_eq!(ask().await, ["b", "c"], "those who share it, before who has it for itself");
    let listed: Value = serde_json::from_slice(&mesh(calls, &["service", "ls", "-o", "json"]).stdout).unwrap();
    let outranked: Vec<&Value> =
        listed["services"].as_array().unwrap().iter().map(|row| &row["services"][0]["outrankedBy"]).collect();
    assert_eq!(outranked, [&json!("communal acme.shared"), &Value::Null, &Value::Null]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_registers_lists_and_removes() {
    let node = Node::start().await;
    the_command_line_registers_lists_and_removes_at(Sides::both(&node)).await;
}

pub(crate) async fn the_command_line_registers_lists_and_removes_at(sides: Sides<'_>) {
    let Sides { registers, calls } = sides;
    let at = by_name("there").await.to_string();
    let list = || {
        let listed = mesh(calls, &["service", "ls", "-o", "json"]);
        serde_json::from_slice::<Value>(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {listed:?}"))
    };
    let registered =
        mesh(registers, &["register", "app", "/app", "/other", "--at", &at, "--weight", "0.5", "--for", "10m"]);
    assert!(registered.status.success(), "{registered:?}");
    sides.agree().await;
    assert_eq!(calls.send(Request::get("/app/x").body(Default::default()).unwrap()).await.json()["content"], "there");
    let page = list();
    let row = &page["services"][0];
    assert_eq!((&page["total"], &row["name"], &row["permanent"]), (&json!(1), &json!("app"), &json!(false)));
    let service = &row["services"][1];
    assert_eq!((&service["urn"], &service["address"], &service["weight"]), (&json!("/other"), &json!(at), &json!(500)));
    // Ten minutes, and the grace of five.
    assert!((880_000..=900_000).contains(&row["goesInMs"].as_u64().unwrap()), "{row}");
    let text = mesh(calls, &["service", "ls"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("/other"), "{text:?}");
    assert_eq!(mesh(registers, &["register", "app", "/stats", "--at", &at]).status.code(), Some(1));
    assert_eq!(mesh(registers, &["register", "app", "/a", "--at", "nowhere"]).status.code(), Some(1));
    assert!(mesh(registers, &["register", "app", "--at", &at, "--remove"]).status.success());
    sides.agree().await;
    assert_eq!(list()["total"], 0);
    assert_eq!(calls.send(Request::get("/app/x").body(Default::default()).unwrap()).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_registers_what_the_calls_take_and_whole_documents() {
    let node = Node::start().await;
    let at = by_name("there").await.to_string();
    let well = |args: &[&str]| {
        let done = mesh(&node, args);
        assert!(done.status.success(), "{args:?}: {done:?}");
    };
    well(&["register", "psi", "acme.score", "--kind", "metadata", "--communal", "--retries", "2", "--at", &at]);
    assert_eq!(node.mpi("acme.score", &json!({})).await, "there");
    well(&["register", "worker", "--kind", "server", "--at", &at]);
    let service = |urn: &str| json!({"urn": urn, "kind": "Restful", "proto": "http"});
    let document = |name: &str| {
        json!({"instance_id": name, "name": name, "kind": "complex", "address": at, "timestamp": 60_000,
            "content": {"services": [service(&format!("/{name}"))]}})
    };
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, value: &Value| {
        let path = files.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    };
    let (one, two) = (file("one", &document("one")), file("two", &json!([document("two"), document("three")])));
    well(&["register", "--file", &one]);
    well(&["register", "--file", &two]);
    let answers =
        async |path: &str| node.send(Request::get(path).body(Default::default()).unwrap()).await.status.as_u16();
    assert_eq!((answers("/one").await, answers("/two").await, answers("/three").await), (200, 200, 200));
    well(&["register", "--file", &one, "--remove"]);
    assert_eq!((answers("/one").await, answers("/two").await), (404, 200));
    let broken = file("broken", &json!({"name": "x"}));
    assert_eq!(mesh(&node, &["register", "--file", &broken]).status.code(), Some(1));
    assert_eq!(mesh(&node, &["register", "--file", &two, "--remove"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_the_variable_are_routed_and_listed_as_permanent() {
    let at = by_name("tricked").await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = proxy.local_addr().unwrap();
    let trick = format!(
        "one:complex+x=http://{at}/one;one:complex+y=http://{at}/two,three;two:metadata=http://{at}/acme.score;out:proxy=http://{way}/"
    );
    let node = Node::with(&[("MESH_TRICK", &trick)]).await;
    for path in ["/one", "/two", "/three/x"] {
        let answer = node.send(Request::get(path).body(Default::default()).unwrap()).await;
        assert_eq!(answer.json()["content"], "tricked", "{path}");
    }
    assert_eq!(node.mpi("acme.score", &json!({})).await, "tricked");
    let listed = mesh(&node, &["service", "ls", "-o", "json"]);
    let page: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(page["services"].as_array().unwrap().iter().all(|row| row["permanent"] == true), "{page}");
    // The way out to partners is the proxy's.
    let asked = tokio::spawn(async move {
        let mut asked = vec![0; "CONNECT 127.0.0.1:1 ".len()];
        proxy.accept().await.unwrap().0.read_exact(&mut asked).await.unwrap();
        asked
    });
    let partner = Bank::new(B);
    assert_eq!(node.trust(B, "127.0.0.1:1".parse().unwrap(), partner.root.certificate_pem()).await, "E0000000000");
    let asked = tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the proxy is asked").unwrap();
    assert_eq!(asked, b"CONNECT 127.0.0.1:1 ");
}
