//! A WebSocket is passed through, byte for byte, and ends with the drain.

use std::time::Duration;

use mesh_core::Caller;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::house::{bank_a, bank_b, connect, node, node_of, raw_service, read_head};

const ASK: &[u8] = b"GET /serving/ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

/// A service that switches, then echoes bytes.
async fn echoing() -> std::net::SocketAddr {
    raw_service(|mut stream| async move {
        let head = read_head(&mut stream).await.to_ascii_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-key"), "{head}");
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
        stream.write_all(switch).await.unwrap();
        let mut buffer = [0; 64];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..n]).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn bytes_go_both_ways_after_the_switch_and_the_drain_ends_it() {
    let node = node();
    node.register("1", &echoing().await.to_string(), json!({})).await;
    let mut stream = connect(node.listen(Caller::Local).await).await;
    stream.write_all(ASK).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("sec-websocket-accept: x"), "{head}");
    for text in ["one", "two"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut back = [0; 3];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    }
    assert_eq!(node.registry.status()[0].under_way, 1);
    assert_eq!(node.drain.run(Duration::from_secs(2)).await, 0);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(node.registry.status()[0].under_way, 0);
}

/// Who has said all may still be told something.
#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other_open() {
    let late = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(switch).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(format!("you said {said}").as_bytes()).await.unwrap();
    });
    let node = node();
    node.register("1", &late.await.to_string(), json!({})).await;
    let mut stream = connect(node.listen(Caller::Local).await).await;
    stream.write_all(ASK).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    stream.write_all(b"all").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "you said all");
}

#[tokio::test]
async fn a_service_behind_tls_switches_too() {
    let own = bank_a();
    let acceptor = own.acceptor(&["localhost"], &[], &[b"http/1.1"]);
    let service = raw_service(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte).await, Ok(1)) {
                head.push(byte[0]);
            }
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
            stream.write_all(switch).await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read(&mut byte).await;
        }
    });
    let node = node_of(own.with_partner(&bank_b(), &[], &[]), tempfile::tempdir().unwrap());
    let address = format!("https://localhost:{}", service.await.port());
    node.register("1", &address, json!({})).await;
    let mut stream = connect(node.listen(Caller::Local).await).await;
    stream.write_all(ASK).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let mut said = [0; 5];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
}

#[tokio::test]
async fn a_partner_gets_a_websocket_only_where_something_is_exported() {
    let node = node();
    node.register("1", &echoing().await.to_string(), json!({"urn": "/private"})).await;
    let mut stream = connect(node.listen(node.partner()).await).await;
    let ask = String::from_utf8(ASK.to_vec()).unwrap().replace("/serving", "/private");
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 403 "));
}
