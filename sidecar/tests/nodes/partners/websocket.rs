//! A partner's WebSocket to a service that is exported to it ends with its route (design section 4).

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::OK;
use crate::harness::{A, B, Bank, Client, Node, Partner, tls};

/// The reconcile of a test machine under load; a second is the aim.
const SOON: Duration = Duration::from_secs(20);

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
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
    let service = json!({
        "instance_id": "one", "name": "chat", "kind": "complex", "address": echoing().await.to_string(), "timestamp": 300_000,
        "content": {"services": [{"urn": "/chat", "kind": "Restful", "proto": "http", "codec": "json"}]},
    });
    assert_eq!(node.post("/v1/interconn/registry/register", &[], &service).await.code(), OK);

    let mut socket = tls(node.data, Client::Pair(&partner.leaf), &["http/1.1"]).await;
    socket.write_all(ASK.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        said.push(socket.read_u8().await.unwrap());
    }
    assert!(said.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&said));
    socket.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    socket.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");

    publish(true);
    let ended = timeout(SOON, socket.read(&mut back)).await.expect("it stays open though its route is disabled");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}
