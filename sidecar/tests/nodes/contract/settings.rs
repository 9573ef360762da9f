//! What settings change on the wire, and what holds without any.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::OK;
use crate::harness::{Node, Raw, free_port, from, post};

async fn peek(node: &Node) -> Value {
    node.post("/v1/interconn/chan/peek", &[("x-ptp-session-id", "s")], &json!({"topic": "t"})).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peek_removes_where_it_is_told_to_consume() {
    let node = Node::with_transport("peek: Consume", &[]).await;
    assert_eq!(node.push(None, "t", "one").await, OK);
    assert_eq!(node.push(None, "t", "two").await, OK);
    assert_eq!(peek(&node).await["payload"], "b25l");
    assert_eq!(peek(&node).await["payload"], "dHdv");
    let empty = peek(&node).await;
    assert_eq!((empty["code"].as_str(), empty.get("payload")), (Some(OK), None), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_listener_serves_the_same_queues() {
    let second = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let node = Node::with(&[("PLUGIN_PROXY_TRANSPORT_X", &second.to_string())]).await;
    assert_eq!(node.push(None, "t", "over the first").await, OK);
    let body = json!({"topic": "t", "timeout": 2000}).to_string();
    let request = post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], body);
    let popped = from(Ipv4Addr::LOCALHOST, second, request).await;
    assert_eq!(popped.json()["payload"], "b3ZlciB0aGUgZmlyc3Q=");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_have_a_gibibyte_and_no_byte_more() {
    let node = Node::start().await;
    for (length, expected) in [(1_u64 << 30, "HTTP/1.1 100 Continue"), ((1 << 30) + 1, "HTTP/1.1 200 OK")] {
        let mut client = Raw::to(&node).await;
        let head = format!(
            "POST /v1/interconn/chan/push HTTP/1.1\r\nhost: {}\r\nx-ptp-topic: t\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n",
            node.data
        );
        client.write(head).await;
        let mut said = vec![0; expected.len()];
        client.tcp.read_exact(&mut said).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&said), expected, "{length}");
    }
}
