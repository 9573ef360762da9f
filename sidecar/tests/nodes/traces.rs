//! OpenTelemetry traces (docs/observability.md): one trace through both nodes of a call, nothing secret in it, and a collector
//! that nobody waits for.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    sync::mpsc,
    time::timeout,
};

use collector::{Arrived, Collector};

use crate::{
    grid::Stage,
    harness::{A, B, Client, Node, Socket, base64, from, post, tls, until},
    tunnel,
};

#[path = "../../traces/tests/collector/mod.rs"]
mod collector;

const OK: &str = "E0000000000";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// A busy machine.
const LONG: Duration = Duration::from_secs(60);

/// The variables of a node that sends its traces soon.
fn sends<'v>(endpoint: &'v str, service: &'v str) -> [(&'v str, &'v str); 3] {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_SERVICE_NAME", service), ("OTEL_BSP_SCHEDULE_DELAY", "50")]
}

fn traceparent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

fn of_the_trace(spans: &[Arrived]) -> Vec<&Arrived> {
    spans.iter().filter(|arrived| arrived.trace() == TRACE).collect()
}

/// The span of a service with this name.
fn one<'s>(spans: &[&'s Arrived], service: &str, name: &str) -> &'s Arrived {
    let found = spans.iter().find(|arrived| arrived.service == service && arrived.span.name == name);
    found.unwrap_or_else(|| panic!("no {name} of {service}: {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_on_through_both_nodes_and_says_nothing_that_is_secret() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let (a, b) = (Node::with(&sends(&endpoint, "node-a")).await, Node::with(&sends(&endpoint, "node-b")).await);
    let (root_a, root_b) = (a.become_node(A).await, b.become_node(B).await);
    assert_eq!(a.trust(B, b.data, &root_b).await, OK);
    assert_eq!(b.trust(A, a.data, &root_a).await, OK);
    let parent = traceparent();
    let headers = [
        ("traceparent", parent.as_str()),
        ("x-ptp-session-id", "planted-session"),
        ("x-ptp-token", "planted-token"),
        ("x-ptp-target-node-id", B),
    ];
    let body = json!({"topic": "planted-topic", "payload": base64("planted-payload")});
    assert_eq!(a.post("/v1/interconn/chan/push", &headers, &body).await.code(), OK);
    collector.until(|spans| of_the_trace(spans).len() >= 3).await;
    let spans = of_the_trace(&collector.spans);
    let (at_a, passed_on) = (one(&spans, "node-a", "chan/push"), one(&spans, "node-a", "partner"));
    let at_b = spans.iter().find(|arrived| arrived.service == "node-b").unwrap();
    assert_eq!(at_a.parent(), CALLER);
    assert_eq!((passed_on.parent(), passed_on.said("interconn.partner").as_deref()), (at_a.id(), Some(B)));
    assert_eq!((at_b.parent(), at_b.said("http.response.status_code").as_deref()), (passed_on.id(), Some("200")));
    let all = format!("{:?}", collector.spans);
    for secret in ["planted", &base64("planted-payload"), &a.token(), &b.token()] {
        assert!(!all.contains(secret), "{secret} is in {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_handshakes_at_the_grids_ports_have_spans_and_messages_have_none() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let grid = json!({"grid": {"listeners": [{"name": "chat"}]}});
    let stage = Stage::with(&grid, &sends(&endpoint, "node")).await;
    let parent = traceparent();
    let headers = [("traceparent", parent.as_str())];
    let mut user = Socket::with(stage.clients, "/", &headers).await.unwrap();
    user.says("planted-message").await;
    assert!(Socket::with(stage.clients, "/nowhere", &headers).await.is_err());
    let call = post("/v1/mesh/publish", &headers, json!({"c": ["planted-channel"], "d": "planted"}).to_string());
    assert_eq!(from(Ipv4Addr::LOCALHOST, stage.api, call).await.status, 200);
    assert_eq!(stage.get("/metrics").await.status, 200);
    drop(Socket::with(stage.api, "/ws/v1", &headers).await.unwrap());
    collector.until(|spans| of_the_trace(spans).len() >= 4).await;
    let spans = of_the_trace(&collector.spans);
    let mut told: Vec<_> = spans
        .iter()
        .map(|span| (span.span.name.as_str(), span.said("http.response.status_code").unwrap(), span.parent()))
        .collect();
    told.sort_unstable();
    let wanted = [("grid/client", "101"), ("grid/client", "404"), ("grid/publish", "200"), ("grid/socket", "101")];
    assert_eq!(told, wanted.map(|(name, status)| (name, status.to_owned(), CALLER.to_owned())));
    assert!(collector.spans.len() == 4 && !format!("{:?}", collector.spans).contains("planted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_nodes_at_the_tunnels_ports_have_spans_and_packets_have_none() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let stage = tunnel::Stage::beside(&sends(&endpoint, "node")).await;
    let shown = stage.mesh(&["tunnel", "token", "create", "--legacy"]);
    let joined = stage.joins(shown.split_once('@').unwrap().0).await;
    let (mut socket, address) = stage.opens(&joined.token).await;
    socket.says("E").await;
    let stream = tls(stage.tunnel, Client::Nothing, &[]).await;
    drop(Socket::over(stream, "ws://127.0.0.1/ws", &[("Node-Token", "planted-token")]).await.unwrap());
    collector.until(|spans| spans.iter().filter(|arrived| arrived.span.name.starts_with("tunnel/")).count() >= 3).await;
    let said = |arrived: &Arrived| arrived.said("rpc.method").or_else(|| arrived.said("http.response.status_code"));
    let mut told: Vec<_> = collector.spans.iter().map(|arrived| (arrived.span.name.clone(), said(arrived))).collect();
    told.sort_unstable();
    let wanted = [("tunnel/rpc", "GetToken"), ("tunnel/socket", "101"), ("tunnel/socket", "101")];
    assert_eq!(told, wanted.map(|(name, said)| (name.to_owned(), Some(said.to_owned()))));
    let all = format!("{:?}", collector.spans);
    assert_eq!(all.matches("invalid token").count(), 1, "{all}");
    for secret in [joined.token.as_str(), "planted", address.trim_end_matches("/24")] {
        assert!(!all.contains(secret), "{secret} is in {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_service_is_called_under_the_nodes_span() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let node = Node::with(&sends(&endpoint, "node")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (told, mut hears)) = (listener.local_addr().unwrap().to_string(), mpsc::unbounded_channel());
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = tcp.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).to_ascii_lowercase();
            let parent = head.lines().find_map(|line| line.strip_prefix("traceparent: ").map(str::to_owned));
            let _ = told.send(parent);
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
    });
    let registered = node.post("/v1/interconn/registry/register", &[], &crate::gateway::registration(&address)).await;
    assert_eq!(registered.code(), OK, "{}", registered.text());
    let call = || {
        let call = Request::get("/echo/it").header("x-ptp-source-node-id", "somebody");
        call.header("traceparent", traceparent()).body(Full::<Bytes>::default()).unwrap()
    };
    until("the service to be ready", LONG, async || node.send(call()).await.status == 200).await;
    let named = |name: &'static str| move |arrived: &&Arrived| arrived.span.name == name;
    let is_served = |arrived: &&Arrived| arrived.said("http.response.status_code").as_deref() == Some("200");
    collector.until(|spans| spans.iter().filter(named("registered service")).any(|a| is_served(&a))).await;
    let mut heard = None;
    while heard.is_none() {
        heard = timeout(LONG, hears.recv()).await.unwrap().unwrap();
    }
    let ids: Vec<_> = collector.spans.iter().map(|arrived| format!("00-{TRACE}-{}-01", arrived.id())).collect();
    assert!(ids.contains(heard.as_ref().unwrap()), "{heard:?} is none of {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_told_of_once_and_its_return_too() {
    // Bound and not listening: who dials is refused, and nobody else is given the port.
    let away = TcpSocket::new_v4().unwrap();
    away.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", away.local_addr().unwrap());
    let node = Node::with(&sends(&endpoint, "node")).await;
    // As nothing answers there, each of them is a batch that is lost.
    for n in 0..5 {
        assert_eq!(node.push(None, "t", &n.to_string()).await, OK);
    }
    until("the loss to be told", LONG, async || node.log().contains("does not take traces")).await;
    let mut collector = Collector::on(away.listen(16).unwrap());
    until("the collector to be found", LONG, async || {
        assert_eq!(node.push(None, "t", "again").await, OK);
        node.log().contains("takes traces again")
    })
    .await;
    collector.until(|spans| spans.iter().any(|arrived| arrived.span.name == "chan/push")).await;
    let log = node.log();
    assert_eq!(log.matches("does not take traces").count(), 1, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_traces_is_sent_before_the_end() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let hour = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let mut node = Node::with(&hour).await;
    assert_eq!(node.push(None, "t", "1").await, OK);
    node.signal("TERM");
    assert!(node.ended(LONG).await.success(), "{}", node.log());
    collector.until(|spans| spans.iter().any(|arrived| arrived.span.name == "chan/push")).await;
    assert_eq!(collector.spans[0].service, "mesh");
}

#[test]
fn an_endpoint_or_a_sampler_that_is_none_ends_the_start_and_is_named() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut mesh = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        let port = crate::harness::free_port().to_string();
        mesh.args(["start", "--server"]).env("MESH_HOME", home.path()).env("PLUGIN_PROXY_TRANSPORT_Y", port);
        mesh.env("MESH_ADMIN_LISTEN", format!("127.0.0.1:{}", crate::harness::free_port()));
        mesh.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").env("OTEL_TRACES_SAMPLER", "traceidratio");
        let output = mesh.env(variable, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{variable}: {said}");
        assert!(said.contains(variable) && said.contains(value), "{variable}: {said}");
    }
}
