//! A new configuration while clients are connected: who may stay stays, and what is new counts for those who come (Grid section 5).

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{A, Bank, Node, Socket, connect, free_port, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Puts a token of a user into the version of the configuration that is in force.
fn token(volume: &Path, user: &str, token: &str) {
    fs::write(volume.join("..data").join(format!("grid-{user}.token")), token).unwrap();
}

async fn takes(address: SocketAddr, path: &str) -> bool {
    Socket::with(address, path, &[]).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_stay_as_long_as_their_listener_and_backends_as_long_as_they_may() {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (api, clients, more) = (loopback(free_port()), loopback(free_port()), free_port());
    let (bank, volume) = (Bank::new(A), tempfile::tempdir().unwrap());
    let user = json!({"name": "shop", "secretRef": {"name": "shop"}, "role": "write"});
    let grid = |listeners: Value, users: Value| json!({"grid": {"listeners": listeners, "backend": {"users": users}}});
    let (chat, news) = (json!({"name": "chat", "path": "/chat"}), json!({"name": "news", "path": "/news"}));
    bank.publish_with(volume.path(), &[], &grid(json!([chat, news]), json!([])));
    let variables = [
        ("MESH_CONFIG_DIR", volume.path().to_str().unwrap().to_owned()),
        ("MESH_GRID_LISTEN", api.to_string()),
        ("MESH_GRID_CLIENT_LISTEN", clients.to_string()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let node = Node::with(&variables).await;
    let (mut talker, mut reader) = (Socket::to(clients, "/chat").await, Socket::to(clients, "/news").await);
    let mut backend = Socket::to(api, "/ws/v1").await;
    assert_eq!(
        backend.asks(&json!({"m": "queue.pop", "p": {"t": ["default"]}, "i": 1})).await["r"],
        json!({"s": true})
    );

    // Another listener, at a port of its own; another user; and one listener less.
    let late = json!({"name": "late", "path": "/", "port": more});
    bank.publish_with(volume.path(), &[], &json!({}));
    bank.publish_with(volume.path(), &[], &grid(json!([chat, late]), json!([user])));
    token(volume.path(), "shop", "secret");
    assert_eq!(reader.is_closed().await, 1001, "its listener was taken away");
    until("the new listener", PATIENCE, async || {
        tokio::net::TcpSocket::new_v4().is_ok()
            && std::net::TcpStream::connect_timeout(&loopback(more), PATIENCE).is_ok()
    })
    .await;
    assert!(takes(loopback(more), "/").await && takes(clients, "/chat").await && !takes(clients, "/news").await);
    talker.says("still here").await;
    assert_eq!(backend.hears_json().await["p"]["d"]["frame"]["data"], "still here");
    let headers = [("authorization", "Bearer secret")];
    let mut shop = Socket::with(api, "/ws/v1", &headers).await.unwrap();
    let publish = json!({"m": "mesh.publish", "p": {"c": "a", "d": "x"}, "i": 1});
    assert_eq!(shop.asks(&publish).await["r"], json!({"s": 0, "f": 0}));

    // The user may only read; then it is nobody.
    let mut reading = user.clone();
    reading["role"] = json!("read");
    bank.publish_with(volume.path(), &[], &grid(json!([chat, late]), json!([reading])));
    token(volume.path(), "shop", "secret");
    until("the role to change", PATIENCE, async || shop.asks(&publish).await["E"]["c"] == 501).await;
    bank.publish_with(volume.path(), &[], &grid(json!([chat]), json!([])));
    assert_eq!(shop.is_closed().await, 1008);

    // What cannot be used leaves all as it is.
    let broken = json!({"name": "chat", "path": "/chat", "clientCommands":
        {"pointer": "/op", "channelPointer": "/ch", "subscribe": ["s"], "allow": ["room:{"]}});
    bank.publish_with(volume.path(), &[], &grid(json!([broken]), json!([])));
    until("the fault to be told", PATIENCE, async || node.log().contains("grid listener chat")).await;
    talker.says("and here").await;
    assert_eq!(backend.hears_json().await["p"]["d"]["frame"]["data"], "and here");

    // Off, and on again.
    bank.publish_with(volume.path(), &[], &json!({}));
    assert_eq!((talker.is_closed().await, backend.is_closed().await), (1001, 1001));
    bank.publish_with(volume.path(), &[], &grid(json!([chat]), json!([])));
    until("the grid to be back", PATIENCE, async || {
        std::net::TcpStream::connect_timeout(&api, PATIENCE).is_ok()
            && std::net::TcpStream::connect_timeout(&clients, PATIENCE).is_ok()
    })
    .await;
    drop(connect(Ipv4Addr::LOCALHOST, api).await);
    assert!(takes(clients, "/chat").await);
}
