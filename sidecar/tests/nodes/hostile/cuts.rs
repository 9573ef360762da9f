//! Bodies that break off: at every byte, by every protocol, orderly or not. Nothing of them enters a queue.

use std::time::Duration;

use crate::harness::{
    Node, Raw,
    h2::{self, DATA, END_STREAM, H2},
    until,
};

const OK: &str = "E0000000000";
const JSON: &str = r#"{"topic":"t","payload":"aGVsbG8=","metadata":{"k":"v"}}"#;

/// What is in the queues, counted by the node.
async fn messages(node: &Node) -> u64 {
    node.private("/queues").await.json()["messages"].as_u64().unwrap()
}

async fn nothing_entered(node: &Node, what: &str) {
    assert_eq!(messages(node).await, 0, "{what}");
    assert_eq!(node.push(None, "after", "x").await, OK, "{what}");
    assert_eq!(node.pop_now("after").await.as_deref(), Some("x"), "{what}");
    until("the pop commits", Duration::from_secs(60), async || messages(node).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cut_at_any_byte_pushes_nothing() {
    let node = Node::start().await;
    let head = "POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\ncontent-type: application/json\r\n";
    let chunks = format!("{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", 9, &JSON[..9], JSON.len() - 9, &JSON[9..]);
    let whole = [
        format!("{head}content-length: {}\r\n\r\n{JSON}", JSON.len()),
        format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}"),
    ];
    for request in &whole {
        for cut in 0..request.len() {
            let mut raw = Raw::to(&node).await;
            raw.write(&request[..cut]).await;
            if cut % 2 == 0 { drop(raw) } else { raw.reset() }
        }
    }
    nothing_entered(&node, "HTTP/1.1").await;
    for request in &whole {
        let mut raw = Raw::to(&node).await;
        raw.write(request).await;
        assert_eq!(raw.answer().await.unwrap().code().as_deref(), Some(OK), "uncut it is a push");
    }
}

/// A path, headers, and the body that is cut.
type Cut<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>);

/// A push as gRPC frames it.
fn message() -> Vec<u8> {
    let push = b"\x0a\x01t\x12\x05hello";
    [&[0, 0, 0, 0, u8::try_from(push.len()).unwrap()][..], push].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_cut_at_any_byte_pushes_nothing() {
    let node = Node::start().await;
    let json = JSON.len().to_string();
    let cases: [Cut<'_>; 3] = [
        (
            "/org.ppc.ptp.PrivateTransferTransport/push",
            vec![("content-type", "application/grpc"), ("te", "trailers")],
            message(),
        ),
        ("/v1/interconn/chan/push", vec![("content-type", "application/json")], JSON.into()),
        ("/v1/interconn/chan/push", vec![("content-type", "application/json"), ("content-length", &json)], JSON.into()),
    ];
    for (path, headers, body) in &cases {
        for cut in 0..body.len() {
            let (mut h2, piece) = (H2::to(&node, 1 << 16).await, &body[..cut]);
            let head = h2::request(1, path, headers);
            match cut % 3 {
                // Said to be whole, and is not: for bare JSON of a length that nobody announced this is a body like any other.
                0 => {
                    h2.write(&[head, h2::frame(DATA, END_STREAM, 1, piece)].concat()).await;
                    h2.next_of(1).await;
                }
                1 => {
                    h2.write(&[head, h2::frame(DATA, 0, 1, piece)].concat()).await;
                    h2.cancel(1).await;
                }
                _ => {
                    h2.write(&[head, h2::frame(DATA, 0, 1, piece)].concat()).await;
                }
            }
        }
    }
    nothing_entered(&node, "HTTP/2").await;
    for (path, headers, body) in &cases {
        let mut h2 = H2::to(&node, 1 << 16).await;
        h2.ask(1, path, headers, body).await;
        let said = h2.wait_for(DATA, 1).await.unwrap().payload;
        assert!(String::from_utf8_lossy(&said).contains(OK), "uncut it is a push");
    }
}

/// As many as a small botnet has; each holds one connection.
const SLOW: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_hold_up_nobody_and_cost_no_more_than_they_sent() {
    let node = Node::start().await;
    assert_eq!(node.push(None, "warm", "x").await, OK);
    let before = node.rss();
    let mut heads = Vec::new();
    let mut bodies = Vec::new();
    for _ in 0..SLOW {
        let mut head = Raw::to(&node).await;
        head.write("POST /v1/interconn/chan/push HTTP/1.1\r\nhost: loc").await;
        heads.push(head);
        let mut body = Raw::to(&node).await;
        body.write("POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{").await;
        bodies.push(body);
    }
    for round in 0..10 {
        for body in &mut bodies {
            body.write(" ").await;
        }
        assert_eq!(node.push(None, "t", "served").await, OK, "round {round}");
        assert_eq!(node.pop("t").await.as_deref(), Some("served"), "round {round}");
    }
    let each = (node.rss() - before) / (2 * SLOW as u64);
    assert!(each <= 128, "{each} KiB for each slow sender, who announced a megabyte");
    for head in &mut heads {
        head.rest().await;
    }
    drop(bodies);
    nothing_is_under_way(&node).await;
}

async fn nothing_is_under_way(node: &Node) {
    until("the slow ones are gone", Duration::from_secs(10), async || {
        node.metric("mesh_network_connections").await <= 2.0
    })
    .await;
}
