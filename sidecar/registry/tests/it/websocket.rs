//! A WebSocket is passed through, byte for byte, and ends with the drain.

use std::time::Duration;

use mesh_core::Caller;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    house::{bank_a, bank_b, connect, node, node_of, raw_service, read_head},
    two_nodes::{open, start, two},
};

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
    assert_eq!(node.drain.run(Duration::from_secs(20)).await, 0);
    ends(&mut stream).await;
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

/// Asks A's port for the service at B.
fn to_b(path: &str) -> String {
    let ask = String::from_utf8(ASK.to_vec()).unwrap().replace("/serving", path);
    let ask = ask.replace("host: a", "host: 127.0.0.1");
    ask.replace("connection:", "x-ptp-target-node-id: LX0000010000270\r\nconnection:")
}

/// Bytes go there and back.
async fn echoes(stream: &mut tokio::net::TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

/// It ends, perhaps behind a word of it; a reset is an end too.
async fn ends(stream: &mut tokio::net::TcpStream) {
    let mut left = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut left)).await;
    let _ = end.expect("it ends");
}

#[tokio::test]
async fn a_websocket_passes_through_both_nodes_and_the_drain_of_either_ends_it() {
    for drained_is_b in [false, true] {
        let (here, there, port) = two().await;
        there.register("1", &echoing().await.to_string(), json!({})).await;
        let mut stream = connect(port).await;
        // By its institution's id as well as by its own.
        let by_inst = to_b("/serving").replace("node-id: LX0000010000270", "inst-id: JG0100002700000000");
        let ask = if drained_is_b { by_inst } else { to_b("/serving") };
        stream.write_all(ask.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("sec-websocket-accept: x"), "{head}");
        echoes(&mut stream).await;
        assert_eq!(there.registry.status()[0].under_way, 1);
        let drain = if drained_is_b { &there.drain } else { &here.drain };
        assert_eq!(drain.run(Duration::from_secs(20)).await, 0);
        ends(&mut stream).await;
    }
}

/// `transport.maxCallsPerPartner`: each has a connection of its own to the partner.
#[tokio::test]
async fn a_websocket_to_a_partner_is_a_call_until_it_ends() {
    let (a, b) = (bank_a(), bank_b());
    let there = start(b.with_partner(&a, &[], &["/serving"]));
    let mut parts = a.with_partner(&b, &[open(&there).to_string()], &[]);
    parts.node.transport.max_calls_per_partner = 1;
    let here = start(parts);
    let port = open(&here);
    there.register("1", &echoing().await.to_string(), json!({})).await;
    let mut first = connect(port).await;
    first.write_all(to_b("/serving").as_bytes()).await.unwrap();
    assert!(read_head(&mut first).await.starts_with("HTTP/1.1 101 "));
    echoes(&mut first).await;
    let ask = async || {
        let mut stream = connect(port).await;
        stream.write_all(to_b("/serving").as_bytes()).await.unwrap();
        read_head(&mut stream).await
    };
    let refused = ask().await;
    assert!(!refused.starts_with("HTTP/1.1 101 "), "{refused}");
    drop(first);
    let start = std::time::Instant::now();
    while !ask().await.starts_with("HTTP/1.1 101 ") {
        assert!(start.elapsed() < Duration::from_secs(20), "its place is free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn disabling_the_route_on_either_side_ends_a_websocket_between_the_nodes() {
    for disabled_is_b in [false, true] {
        let (a, b) = (bank_a(), bank_b());
        let there = start(b.with_partner(&a, &[], &["/serving"]));
        let address = open(&there).to_string();
        let here = start(a.with_partner(&b, std::slice::from_ref(&address), &[]));
        there.register("1", &echoing().await.to_string(), json!({})).await;
        let mut stream = connect(open(&here)).await;
        stream.write_all(to_b("/serving").as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
        echoes(&mut stream).await;
        let (node, mut closed) = match disabled_is_b {
            true => (&there, b.with_partner(&a, &[], &["/serving"])),
            false => (&here, a.with_partner(&b, &[address], &[])),
        };
        closed.routes[0].disabled = true;
        node.live.swap(mesh_core::Snapshot::assemble(closed).unwrap());
        ends(&mut stream).await;
    }
}

#[tokio::test]
async fn a_websocket_to_what_the_partner_does_not_export_is_refused_there_and_the_connection_goes_on() {
    let (_here, there, port) = two().await;
    there.register("1", &echoing().await.to_string(), json!({"urn": "/private"})).await;
    let mut stream = connect(port).await;
    for _ in 0..2 {
        stream.write_all(to_b("/private").as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 403 ") && !head.contains("upgrade: "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        assert!(String::from_utf8(body).unwrap().contains("E0000000614"));
    }
}

/// An upgrade to anything else is taken off, and what is left is an ordinary call.
#[tokio::test]
async fn no_other_upgrade_passes_between_the_nodes() {
    let (_here, there, port) = two().await;
    there.register("1", &super::house::echo().await.to_string(), json!({})).await;
    let mut stream = connect(port).await;
    let ask = to_b("/serving").replace("upgrade: websocket", "upgrade: h2c");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    assert!(!String::from_utf8(body).unwrap().contains("upgrade"));
}
