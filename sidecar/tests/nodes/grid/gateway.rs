//! A node with a gateway: end users are connected there, and backends call the grid at the sidecar of their own pod.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{A, Answer, Bank, Node, Socket, connect, free_port, from, post, try_exchange, until};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_passes_calls_and_websockets_of_its_own_pod_on_to_the_gateway() {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (bank, volume, data) = (Bank::new(A), tempfile::tempdir().unwrap(), loopback(free_port()));
    let (api, clients, here) = (loopback(free_port()), loopback(free_port()), loopback(free_port()));
    bank.publish_for_gateway(volume.path(), &[], &json!({"grid": {}}), data);
    let config = volume.path().to_str().unwrap();
    let (at, client_at, here_at) = (api.to_string(), clients.to_string(), here.to_string());
    let of_gateway =
        [("MESH_CONFIG_DIR", config), ("MESH_GRID_LISTEN", &*at), ("MESH_GRID_CLIENT_LISTEN", &*client_at)];
    let mut gateway = Node::on(data.port(), &of_gateway).await;
    let of_sidecar = [("MESH_CONFIG_DIR", config), ("MESH_ROLE", "sidecar"), ("MESH_GRID_LISTEN", &*here_at)];
    let sidecar = Node::with(&of_sidecar).await;
    let mut backend = Socket::to(here, "/ws/v1").await;
    backend.says("ping").await;
    assert_eq!(backend.hears().await, "pong");
    let pop = json!({"m": "queue.pop", "p": {"t": ["default"]}, "i": 1});
    assert_eq!(backend.asks(&pop).await["r"], json!({"s": true}));
    let mut user = Socket::to(clients, "/").await;
    user.says("hello").await;
    let event = backend.hears_json().await;
    assert_eq!(event["p"]["d"]["frame"]["data"], "hello");
    let send = json!({"c": event["p"]["c"], "d": "welcome"}).to_string();
    let call = async |source| from(source, here, post("/v1/mesh/send", &[], send.clone())).await;
    let sent = call(Ipv4Addr::LOCALHOST).await;
    assert_eq!((sent.status.as_u16(), sent.text().as_str()), (200, r#"{"E":null,"r":{"s":true}}"#));
    assert_eq!(user.hears().await, "welcome");
    assert_eq!(call(Ipv4Addr::new(127, 0, 0, 2)).await.status, 401, "only its own pod's");
    let foreign = Socket::with(here, "/ws/v1", &[("origin", "https://evil.example")]).await;
    assert_eq!(foreign.err(), Some(403));
    assert_eq!(Socket::with(here, "/nowhere", &[]).await.err(), Some(404));
    // A gateway that starts anew is waited for.
    gateway.signal("TERM");
    assert_eq!((user.is_closed().await, backend.is_closed().await), (1012, 1012));
    drop((user, backend));
    gateway.ended(PATIENCE).await;
    let publish = async || from(Ipv4Addr::LOCALHOST, here, post("/v1/mesh/publish", &[], r#"{"c":"a","d":"x"}"#)).await;
    let (answer, ()) = tokio::join!(publish(), gateway.start_again());
    assert!([200, 503].contains(&answer.status.as_u16()), "{}", answer.text());
    until("calls to pass again", PATIENCE, async || publish().await.status == 200).await;
    assert_eq!(sidecar.admin("/readyz").await.status, 200);
}

/// A gateway, and a sidecar at whose port backends call.
struct Pair {
    gateway: Node,
    sidecar: Node,
    here: SocketAddr,
    _volume: tempfile::TempDir,
}

impl Pair {
    async fn new(grid: &Value, tokens: &[(&str, &str)]) -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (bank, volume, data) = (Bank::new(A), tempfile::tempdir().unwrap(), loopback(free_port()));
        let (api, clients, here) = (loopback(free_port()), loopback(free_port()), loopback(free_port()));
        bank.publish_for_gateway(volume.path(), &[], &json!({ "grid": grid }), data);
        for (user, token) in tokens {
            std::fs::write(volume.path().join("..data").join(format!("grid-{user}.token")), token).unwrap();
        }
        let config = volume.path().to_str().unwrap();
        let (at, client_at, here_at) = (api.to_string(), clients.to_string(), here.to_string());
        let of_gateway =
            [("MESH_CONFIG_DIR", config), ("MESH_GRID_LISTEN", &*at), ("MESH_GRID_CLIENT_LISTEN", &*client_at)];
        let gateway = Node::on(data.port(), &of_gateway).await;
        let of_sidecar = [
            ("MESH_CONFIG_DIR", config),
            ("MESH_ROLE", "sidecar"),
            ("MESH_GRID_LISTEN", &*here_at),
            ("MESH_DRAIN_LIMIT", "600s"),
        ];
        let sidecar = Node::with(&of_sidecar).await;
        Self { gateway, sidecar, here, _volume: volume }
    }

    async fn publish(&self, headers: &[(&str, &str)]) -> Answer {
        from(Ipv4Addr::LOCALHOST, self.here, publication(headers)).await
    }
}

fn publication(headers: &[(&str, &str)]) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    post("/v1/mesh/publish", headers, r#"{"c":"a","d":"x"}"#)
}

fn says_when_to_come_again(answer: &Answer) -> bool {
    let again = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
    (answer.status.as_u16(), again) == (503, Some("1")) && answer.json()["E"]["c"] == 502
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_a_backend_shows_its_sidecar_count_at_the_gateway() {
    let users = json!({"backend": {"users": [{"name": "log", "secretRef": {"name": "log"}, "role": "read"}]}});
    let pair = Pair::new(&users, &[("log", "secret")]).await;
    assert_eq!(pair.publish(&[]).await.status, 200, "its pod's own may do everything");
    let reads = pair.publish(&[("authorization", "Bearer secret")]).await;
    assert_eq!((reads.status.as_u16(), &reads.json()["E"]["c"]), (403, &json!(501)));
    assert_eq!(pair.publish(&[("authorization", "Bearer other")]).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stays_away_is_answered_for() {
    let mut pair = Pair::new(&json!({}), &[]).await;
    assert_eq!(pair.publish(&[]).await.status, 200);
    pair.gateway.signal("TERM");
    pair.gateway.ended(PATIENCE).await;
    let answer = pair.publish(&[]).await;
    assert!(says_when_to_come_again(&answer), "{:?} {}", answer.headers, answer.text());
    assert_eq!(Socket::with(pair.here, "/ws/v1", &[]).await.err(), Some(503));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_sidecar_ends_backends_that_come_are_told_when_to_come_again() {
    let mut pair = Pair::new(&json!({}), &[]).await;
    // A call under way, for which the end waits: its body was asked for, and does not come.
    let mut held = connect(Ipv4Addr::LOCALHOST, pair.here).await;
    let head = format!(
        "POST /v1/mesh/publish HTTP/1.1\r\nhost: {}\r\nexpect: 100-continue\r\ncontent-length: 17\r\n\r\n",
        pair.here
    );
    held.write_all(head.as_bytes()).await.unwrap();
    let mut said = vec![0; "HTTP/1.1 100".len()];
    held.read_exact(&mut said).await.unwrap();
    assert_eq!(said, b"HTTP/1.1 100");
    pair.sidecar.signal("TERM");
    let here = pair.here;
    let has_begun = async || {
        let backend = connect(Ipv4Addr::LOCALHOST, here).await;
        let answer = try_exchange(backend, here, publication(&[])).await;
        answer.is_ok_and(|answer| says_when_to_come_again(&answer))
    };
    until("the end to begin", PATIENCE, has_begun).await;
    assert_eq!(Socket::with(here, "/ws/v1", &[]).await.err(), Some(503));
    held.write_all(br#"{"c":"a","d":"x"}"#).await.unwrap();
    let mut rest = Vec::new();
    held.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    assert!(pair.sidecar.ended(PATIENCE).await.success());
}
