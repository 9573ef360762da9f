//! A node with a gateway: end users are connected there, and backends call the grid at the sidecar of their own pod.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::json;

use crate::harness::{A, Bank, Node, Socket, free_port, from, post, until};

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
