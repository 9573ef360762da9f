//! WebSockets of partners: to a service that is exported, straight or through both nodes; they end with the route (design
//! section 4).

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    time::timeout,
};

use super::OK;
use crate::harness::{A, B, Bank, Client, Node, Partner, tls, until};

/// The reconcile of a test machine under load; a second is the aim.
const SOON: Duration = Duration::from_secs(60);

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A service that switches whoever asks, then echoes bytes.
async fn echoing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                // Whoever only looks whether somebody listens says nothing.
                if !matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    return;
                }
                stream.write_all(SWITCHED.as_bytes()).await.unwrap();
                while let Ok(some @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..some]).await.unwrap();
                }
            });
        }
    });
    address
}

/// Registers the echo at the node.
async fn chat(node: &Node) {
    let service = json!({
        "instance_id": "one", "name": "chat", "kind": "complex", "address": echoing().await.to_string(), "timestamp": 300_000,
        "content": {"services": [{"urn": "/chat", "kind": "Restful", "proto": "http", "codec": "json"}]},
    });
    assert_eq!(node.post("/v1/interconn/registry/register", &[], &service).await.code(), OK);
}

/// The head of an answer.
async fn head(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        said.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(said).unwrap()
}

async fn echoes(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    socket.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    socket.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

async fn ends(socket: &mut (impl AsyncRead + Unpin)) {
    let ended = timeout(SOON, socket.read(&mut [0])).await.expect("it stays open though its route is disabled");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_when_its_partners_route_is_disabled() {
    let (own, partner) = (Bank::new(A), Bank::new(B));
    let volume = tempfile::tempdir().unwrap();
    let publish = |disabled: bool| {
        let more = json!({"exports": ["/chat"], "disabled": disabled});
        own.publish(volume.path(), &[Partner { bank: &partner, address: None, more }]);
    };
    publish(false);
    let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    chat(&node).await;
    let mut socket = tls(node.data, Client::Pair(&partner.leaf), &["http/1.1"]).await;
    socket.write_all(ASK.as_bytes()).await.unwrap();
    let said = head(&mut socket).await;
    assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
    echoes(&mut socket).await;
    publish(true);
    ends(&mut socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_websocket_reaches_a_partners_service_and_ends_with_the_route() {
    let (bank_a, bank_b) = (Bank::new(A), Bank::new(B));
    let (of_a, of_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publish_b = |more| bank_b.publish(of_b.path(), &[Partner { bank: &bank_a, address: None, more }]);
    publish_b(json!({}));
    let b = Node::with(&[("MESH_CONFIG_DIR", of_b.path().to_str().unwrap())]).await;
    let address = Some(b.data);
    let publish_a = |more| bank_a.publish(of_a.path(), &[Partner { bank: &bank_b, address, more }]);
    publish_a(json!({}));
    let a = Node::with(&[("MESH_CONFIG_DIR", of_a.path().to_str().unwrap())]).await;
    chat(&b).await;
    let ask = ASK.replace("connection:", &format!("x-ptp-target-node-id: {B}\r\nconnection:"));
    let opened = async || {
        let mut socket = TcpSocket::new_v4().unwrap().connect(a.data).await.unwrap();
        socket.write_all(ask.as_bytes()).await.unwrap();
        let said = head(&mut socket).await;
        (socket, said)
    };
    let (mut socket, said) = opened().await;
    let mut why = [0; 64];
    let some = socket.read(&mut why).await.unwrap();
    let why = String::from_utf8_lossy(&why[..some]);
    assert!(said.starts_with("HTTP/1.1 403 ") && why.contains("E0000000614"), "B exports nothing: {said}{why}");
    let exports = json!({"exports": ["/chat"]});
    for disabled_is_b in [false, true] {
        publish_a(json!({}));
        publish_b(exports.clone());
        until("the service to be reached", SOON, async || opened().await.1.starts_with("HTTP/1.1 101 ")).await;
        let (mut socket, _) = opened().await;
        echoes(&mut socket).await;
        if disabled_is_b {
            publish_b(json!({"exports": ["/chat"], "disabled": true}));
        } else {
            publish_a(json!({"disabled": true}));
        }
        ends(&mut socket).await;
    }
}
