//! TLS at the grid's ports: what end users see of a listener, and certificates as credentials of backends (Grid section 8, G-21).

use std::time::SystemTime;

use http::Request;
use http_body_util::Full;
use mesh_pki::{Algorithm, Identity, Root};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::Stage;
use crate::harness::{A, B, Bank, Client, Node, Socket, connect, free_port, leaf, over_tls, post, tls};

fn authority() -> Root {
    let identity = Identity { node_id: A.into(), name: "shop".into() };
    let day = std::time::Duration::from_secs(24 * 3600);
    Root::generate(&identity, Algorithm::EcdsaP256, day, SystemTime::now()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_of_a_port_show_their_own_certificate_and_take_no_plain_text() {
    let (secrets, pair, plain) = (tempfile::tempdir().unwrap(), leaf(&authority(), A), free_port());
    std::fs::create_dir(secrets.path().join("shop")).unwrap();
    std::fs::write(secrets.path().join("shop/tls.crt"), &pair.chain_pem).unwrap();
    std::fs::write(secrets.path().join("shop/tls.key"), pair.key.expose()).unwrap();
    let secret = json!({"name": "shop"});
    let listeners = json!([
        {"name": "chat", "path": "/chat", "tlsSecretRef": secret},
        {"name": "news", "path": "/news", "tlsSecretRef": secret},
        {"name": "plain", "path": "/plain", "port": plain},
    ]);
    let stage = Stage::with(&json!({"grid": {"listeners": listeners}, "secretsDirectory": secrets.path()}), &[]).await;
    let mut backend = stage.consumer(&["default"]).await;
    for path in ["/chat", "/news"] {
        let stream = tls(stage.clients, Client::Nothing, &["http/1.1"]).await;
        let seen = stream.get_ref().1.peer_certificates().unwrap();
        assert_eq!(seen, mesh_pki::parse_certificates(&pair.chain_pem).unwrap(), "the Secret's, not the node's");
        let mut user = Socket::over(stream, &format!("ws://shop.example{path}"), &[]).await.ok().unwrap();
        user.says(path).await;
        let event = backend.hears_json().await;
        assert_eq!(event["p"]["d"]["frame"]["data"], path);
        let send = json!({"m": "mesh.send", "p": {"c": event["p"]["c"], "d": "x".repeat(50_000)}, "i": 1});
        assert_eq!(backend.asks(&send).await["r"], json!({"s": true}));
        assert_eq!(user.hears().await.len(), 50_000);
    }
    let stream = tls(stage.clients, Client::Nothing, &[]).await;
    assert_eq!(Socket::over(stream, "ws://shop.example/plain", &[]).await.err(), Some(404), "another port's");
    // HTTP/2 is not spoken: a WebSocket begins with HTTP/1.1.
    let stream = tls(stage.clients, Client::Nothing, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    // Plain text is cut, and harms nobody.
    let mut tcp = connect([127, 0, 0, 1].into(), stage.clients).await;
    tcp.write_all(b"GET /chat HTTP/1.1\r\nhost: grid\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut rest).await;
    assert!(!rest.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&rest));
    let mut user = Socket::to(([127, 0, 0, 1], plain).into(), "/plain").await;
    user.says("ping").await;
    assert_eq!(user.hears().await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_with_a_certificate_of_its_own_node_may_call_and_a_partners_may_not() {
    let loopback = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let (bank, other, volume) = (Bank::new(A), Bank::new(B), tempfile::tempdir().unwrap());
    let (data, api, clients) = (loopback(free_port()), loopback(free_port()), loopback(free_port()));
    let partner = crate::harness::Partner { bank: &other, address: None, more: json!({}) };
    bank.publish_for_gateway(volume.path(), &[partner], &json!({"grid": {}}), data);
    let variables = [
        ("MESH_CONFIG_DIR", volume.path().to_str().unwrap().to_owned()),
        ("MESH_GRID_LISTEN", api.to_string()),
        ("MESH_GRID_CLIENT_LISTEN", clients.to_string()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _node = Node::on(data.port(), &variables).await;
    let publish = || post("/v1/mesh/publish", &[], r#"{"c":"a","d":"x"}"#);
    let stranger = leaf(&authority(), A);
    let table = [
        ("a member", Client::Pair(&bank.member), 200),
        ("a partner", Client::Pair(&other.leaf), 401),
        ("a partner's member", Client::Pair(&other.member), 401),
        ("a stranger", Client::Pair(&stranger), 401),
    ];
    for (who, client, status) in table {
        let answer = over_tls(api, client, publish()).await;
        assert_eq!(answer.status, status, "{who}: {}", answer.text());
        assert!(answer.json().get("E").is_some(), "{who}");
        let metrics = Request::get("/metrics").body(Full::default()).unwrap();
        assert_eq!(over_tls(api, client, metrics).await.status, status, "{who}");
        let socket = Socket::over(tls(api, client, &["http/1.1"]).await, "ws://node/ws/v1", &[]).await;
        let Ok(mut socket) = socket else { continue };
        assert_eq!(status, 200, "{who}");
        let pop = json!({"m": "queue.pop", "p": {"t": ["default"]}, "i": 1});
        assert_eq!(socket.asks(&pop).await, json!({"E": null, "r": {"s": true}, "i": 1}), "{who}");
    }
}
