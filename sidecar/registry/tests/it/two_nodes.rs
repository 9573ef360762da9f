//! A service that is registered at B, called from A's side over mutual TLS (PTP sections 8.4 and 10.4).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::{Body, CallContext, Parts, Snapshot};
use mesh_network::listen::{Connection, Gate, Limits, Pieces, Serve, serve};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::house::{Node, bank_a, bank_b, connect, echo, get, node_of, read_head};

/// Port 7304 of a node, as far as registered paths go.
struct Front {
    proxy: Arc<mesh_registry::Proxy>,
    live: Arc<mesh_core::Live>,
}

impl Serve for Front {
    async fn serve(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let context = CallContext::from_headers(request.headers()).unwrap();
        let caller = connection.caller(&self.live.load(), &request);
        self.proxy.forward(request, &context, &caller).await.unwrap_or_else(|| {
            let mut answer = Response::new(Body::from("nothing is registered there"));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        })
    }

    fn short_way(&self, _: &Request<()>) -> Option<Pieces> {
        Some(Pieces::AsTheyCome)
    }
}

pub(crate) fn start(parts: Parts) -> Node {
    node_of(parts, tempfile::tempdir().unwrap())
}

/// Opens the node's port; partners come by TLS, applications by plain text.
pub(crate) fn open(node: &Node) -> std::net::SocketAddr {
    let gate =
        Gate::new(node.live.clone(), Limits::default(), mesh_core::Workers::here(), &mut Default::default()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let address = listener.local_addr().unwrap();
    let front = Arc::new(Front { proxy: node.proxy.clone(), live: node.live.clone() });
    tokio::spawn(serve(listener, front, gate, node.drain.handle()));
    address
}

/// A, whose applications call, and B, which exports `/serving` to A; with the address of A's port.
pub(crate) async fn two() -> (Node, Node, std::net::SocketAddr) {
    let (a, b) = (bank_a(), bank_b());
    let there = start(b.with_partner(&a, &[], &["/serving", "/serving.Service"]));
    let address = open(&there).to_string();
    let here = start(a.with_partner(&b, &[address], &[]));
    let port = open(&here);
    (here, there, port)
}

pub(crate) const TO_B: (&str, &str) = ("x-ptp-target-node-id", "LX0000010000270");

#[tokio::test]
async fn a_service_at_the_partner_is_called_by_its_path_and_the_partners_id() {
    let (_here, there, port) = two().await;
    there.register("1", &echo().await.to_string(), json!({})).await;
    let claim = ("mesh-from-node-id", "LX0000019999999");
    let (status, text) = get(port, "/serving/models?x=1", &[TO_B, claim, ("x-mine", "kept")]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.starts_with("GET /serving/models?x=1\n") && text.contains("x-mine: kept\n"), "{text}");
    // Who calls is what B's handshake proved, whatever the application said of itself.
    assert!(text.contains("x-ptp-source-node-id: LX0000010000280\n") && !text.contains("9999"), "{text}");
}

/// A caller that waits to be told to send, with headers that are for the next hop alone (RFC 9110 sections 7.6.1 and 10.1.1).
#[tokio::test]
async fn a_caller_is_told_to_go_on_and_its_hop_by_hop_headers_do_not_reach_the_partners_service() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (_here, there, port) = two().await;
    there.register("1", &echo().await.to_string(), json!({})).await;
    let mut stream = connect(port).await;
    let (name, id) = TO_B;
    let ask = format!(
        "POST /serving HTTP/1.1\r\nhost: 127.0.0.1\r\n{name}: {id}\r\nexpect: 100-continue\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\nconnection: keep-alive, x-drop\r\nx-drop: 1\r\nx-mine: kept\r\ncontent-length: 5\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let seen = String::from_utf8(body).unwrap();
    assert!(seen.contains("x-mine: kept\n"), "{seen}");
    for dropped in ["x-drop", "keep-alive", "proxy-connection"] {
        assert!(!seen.contains(dropped), "{dropped}: {seen}");
    }
}

#[tokio::test]
async fn a_call_that_came_through_a_node_is_nobodys_local_call() {
    let (here, there, port) = two().await;
    // B registers A's plain-text port as a service, and A calls it: A must not take its own call back as local.
    there.register("1", &port.to_string(), json!({})).await;
    here.register("1", &echo().await.to_string(), json!({})).await;
    let (status, text) = get(port, "/serving", &[TO_B]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("E0000000403"), "{text}");
}

#[tokio::test]
async fn a_target_wins_over_the_same_urn_registered_here() {
    let (here, there, port) = two().await;
    let named = |name: &'static str| super::house::serve(move |_| async move { Response::new(Body::from(name)) });
    here.register("1", &named("here").await.to_string(), json!({})).await;
    there.register("1", &named("there").await.to_string(), json!({})).await;
    assert_eq!(get(port, "/serving", &[TO_B]).await, (StatusCode::OK, "there".into()));
    assert_eq!(get(port, "/serving", &[]).await, (StatusCode::OK, "here".into()));
    assert_eq!(get(port, "/serving", &[("x-ptp-target-inst-id", "JG0100002700000000")]).await.1, "there");
}

#[tokio::test]
async fn what_the_partner_does_not_export_is_refused_there() {
    let (_here, there, port) = two().await;
    there.register("1", &echo().await.to_string(), json!({"urn": "/private"})).await;
    let (status, text) = get(port, "/private", &[TO_B]).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    assert!(text.contains("E0000000614"), "{text}");
    assert_eq!(get(port, "/serving", &[TO_B]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn ten_megabytes_pass_between_the_nodes_in_both_directions() {
    let (_here, there, port) = two().await;
    let mirror = super::house::serve(|request: Request<hyper::body::Incoming>| async move {
        Response::new(Body::from(request.into_body()))
    });
    there.register("1", &mirror.await.to_string(), json!({})).await;
    let sent: Bytes = vec![7; 10_000_000].into();
    let request = Request::post("/serving").header("host", "127.0.0.1").header(TO_B.0, TO_B.1);
    let answer = super::house::send(port, request.body(http_body_util::Full::new(sent.clone())).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let back = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert!(back == sent);
}

#[tokio::test]
async fn grpc_passes_between_the_nodes_with_its_trailers() {
    let (_here, there, port) = two().await;
    let urn = json!({"urn": "/serving.Service", "proto": "grpc"});
    there.register("1", &super::grpc::grpc_service().await.to_string(), urn).await;
    let answer = super::grpc::call_with(port, "/serving.Service/Method", &[TO_B]).await;
    assert_eq!(answer.headers()["x-seen"], "HTTP/2.0 true");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_disabled_route_is_refused_on_either_side() {
    let (a, b) = (bank_a(), bank_b());
    let there = start(b.with_partner(&a, &[], &["/serving"]));
    let address = open(&there).to_string();
    let here = start(a.with_partner(&b, std::slice::from_ref(&address), &[]));
    let port = open(&here);
    there.register("1", &echo().await.to_string(), json!({})).await;
    assert_eq!(get(port, "/serving", &[TO_B]).await.0, StatusCode::OK);
    let mut closed = b.with_partner(&a, &[], &["/serving"]);
    closed.routes[0].disabled = true;
    there.live.swap(Snapshot::assemble(closed).unwrap());
    let (status, text) = get(port, "/serving", &[TO_B]).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    assert!(text.contains("E0000000403") && text.contains("closed"), "{text}");
    let mut closed = a.with_partner(&b, &[address], &[]);
    closed.routes[0].disabled = true;
    here.live.swap(Snapshot::assemble(closed).unwrap());
    let (status, text) = get(port, "/serving", &[TO_B]).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    assert!(text.contains("E0000000606"), "{text}");
}

/// A 403 of the partner's node becomes a code; one of the service behind it is the service's to say.
#[tokio::test]
async fn a_services_own_403_passes_whole_however_it_begins() {
    let (_here, there, port) = two().await;
    const BARRED: &str = "对方节点已禁用网络";
    for says in ["", "no", "对方", "对方节点已禁用网络 today"] {
        let service = super::house::serve(move |_| async move {
            let mut answer = Response::new(Body::from(says));
            *answer.status_mut() = StatusCode::FORBIDDEN;
            answer
        });
        there.register("1", &service.await.to_string(), json!({})).await;
        assert_eq!(get(port, "/serving", &[TO_B]).await, (StatusCode::FORBIDDEN, says.to_owned()));
        assert_ne!(says, BARRED);
    }
}

/// Nobody waits for words that do not come.
#[tokio::test]
async fn a_403_that_says_nothing_further_is_passed_on_as_it_is() {
    let (_here, there, port) = two().await;
    for begun in ["", "对方"] {
        let service = super::house::serve(move |_| async move {
            let first = (!begun.is_empty()).then(|| Ok::<_, std::io::Error>(Frame::data(Bytes::from(begun))));
            let body = futures::stream::iter(first).chain(futures::stream::pending());
            let mut answer = Response::new(Body::boxed(StreamBody::new(body)));
            *answer.status_mut() = StatusCode::FORBIDDEN;
            answer
        });
        there.register("1", &service.await.to_string(), json!({})).await;
        let mut stream = connect(port).await;
        let ask = format!("GET /serving HTTP/1.1\r\nhost: 127.0.0.1\r\n{}: {}\r\n\r\n", TO_B.0, TO_B.1);
        stream.write_all(ask.as_bytes()).await.unwrap();
        let head = tokio::time::timeout(Duration::from_secs(20), read_head(&mut stream)).await.expect("a head");
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    }
}
