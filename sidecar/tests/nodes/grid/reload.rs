//! A new configuration while clients are connected: who may stay stays, and what is new counts for those who come (Grid section 5).

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use crds::snapshot;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::signer::Signer;
use crate::harness::{A, Bank, Client, Node, Socket, connect, free_port, leaf, tls, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Puts a token of a user into the version of the configuration that is in force.
fn token(volume: &Path, user: &str, token: &str) {
    secret(volume, &format!("{user}.token"), token);
}

/// The same with any of the grid's secrets.
fn secret(volume: &Path, file: &str, text: &str) {
    fs::write(volume.join("..data").join(format!("grid-{file}")), text).unwrap();
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

/// A node of a directory, with a grid.
pub(super) struct Managed {
    pub(super) bank: Bank,
    pub(super) volume: tempfile::TempDir,
    pub(super) api: SocketAddr,
    clients: SocketAddr,
}

impl Managed {
    pub(super) fn new() -> Self {
        let loopback = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (bank, volume) = (Bank::new(A), tempfile::tempdir().unwrap());
        Self { bank, volume, api: loopback(), clients: loopback() }
    }

    /// Another version of the configuration, with its secrets.
    pub(super) fn publish(&self, grid: &Value, secrets: &[(&str, &str)]) {
        self.bank.publish_with(self.volume.path(), &[], &json!({ "grid": grid }));
        secrets.iter().for_each(|(file, text)| secret(self.volume.path(), file, text));
        // Certificates are named there, and nothing that is secret.
        let path = self.volume.path().join("..data").join(snapshot::MANIFEST);
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (file, text) in secrets.iter().filter(|(file, _)| file.ends_with(".crt")) {
            let sum: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            manifest["files"][format!("grid-{file}")] = sum.into();
        }
        fs::write(path, manifest.to_string()).unwrap();
    }

    pub(super) async fn start(&self) -> Node {
        let (api, clients) = (self.api.to_string(), self.clients.to_string());
        let config = self.volume.path().to_str().unwrap();
        let variables =
            [("MESH_CONFIG_DIR", config), ("MESH_GRID_LISTEN", &*api), ("MESH_GRID_CLIENT_LISTEN", &*clients)];
        Node::with(&variables).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_renewed_count_for_who_comes_and_who_is_here_stays_but_by_a_token_that_is_gone() {
    let (managed, plain) = (Managed::new(), free_port());
    let (shop, keys) = (json!({"name": "shop"}), [Signer::p256(), Signer::p256()]);
    let jwt = json!({"jwks": {"secretRef": {"name": "keys"}}, "algorithms": ["ES256"]});
    let listeners = json!([
        {"name": "chat", "path": "/chat", "tlsSecretRef": shop},
        {"name": "news", "path": "/news", "port": plain, "auth": {"jwt": jwt}},
    ]);
    let user = json!({"name": "shop", "secretRef": shop, "role": "write"});
    let grid = json!({"listeners": listeners, "backend": {"users": [user]}});
    let pairs = [leaf(&managed.bank.root, A), leaf(&managed.bank.root, A)];
    let publish = |n: usize, token: &str| {
        let jwks = json!({"keys": [keys[n].jwk("k")]}).to_string();
        let (chain, key) = (pairs[n].chain_pem.as_str(), pairs[n].key.expose());
        let secrets = [("chat.crt", chain), ("chat.key", key), ("news.jwks", &*jwks), ("shop.token", token)];
        managed.publish(&grid, &secrets);
    };
    let shows = async |n: usize| {
        let stream = tls(managed.clients, Client::Nothing, &["http/1.1"]).await;
        let seen = stream.get_ref().1.peer_certificates().unwrap();
        seen == mesh_pki::parse_certificates(&pairs[n].chain_pem).unwrap()
    };
    let news = SocketAddr::from((Ipv4Addr::LOCALHOST, plain));
    let reads = async |n: usize| {
        let token = keys[n].token(&json!({"alg": "ES256", "kid": "k"}), &json!({"sub": "ann"}));
        Socket::with(news, "/news", &[("authorization", &format!("Bearer {token}"))]).await
    };
    let calls =
        async |token: &str| Socket::with(managed.api, "/ws/v1", &[("authorization", &format!("Bearer {token}"))]).await;
    publish(0, "first");
    let _node = managed.start().await;
    assert!(shows(0).await);
    let stream = tls(managed.clients, Client::Nothing, &["http/1.1"]).await;
    let mut talker = Socket::over(stream, "ws://shop.example/chat", &[]).await.ok().unwrap();
    let (mut reader, mut backend) = (reads(0).await.unwrap(), calls("first").await.unwrap());

    publish(1, "second");
    assert_eq!(backend.is_closed().await, 1008, "its token is nobody's any more");
    until("the new certificate", PATIENCE, async || shows(1).await).await;
    until("the new key", PATIENCE, async || reads(1).await.is_ok()).await;
    until("the new token", PATIENCE, async || calls("second").await.is_ok()).await;
    assert_eq!((reads(0).await.err(), calls("first").await.err()), (Some(401), Some(401)));
    reader.says("ping").await;
    assert_eq!(reader.hears().await, "pong");
    talker.says("ping").await;
    assert_eq!(talker.hears().await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_may_call_no_more_is_sent_away() {
    let managed = Managed::new();
    let from = |networks: &[&str]| json!({"backend": {"plaintextFrom": networks}});
    managed.publish(&from(&["127.0.0.2/32", "127.0.0.3/32"]), &[]);
    let _node = managed.start().await;
    let comes = async |source: Ipv4Addr| {
        let stream = connect(source, managed.api).await;
        Socket::over(stream, &format!("ws://{}/ws/v1", managed.api), &[]).await
    };
    let (leaves, stays) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let (mut gone, mut here) = (comes(leaves).await.unwrap(), comes(stays).await.unwrap());
    managed.publish(&from(&["127.0.0.3/32"]), &[]);
    assert_eq!(gone.is_closed().await, 1008);
    assert_eq!(comes(leaves).await.err(), Some(401));
    here.says("ping").await;
    assert_eq!(here.hears().await, "pong");
}
