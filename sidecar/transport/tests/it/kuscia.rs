//! PTP section 5.3: raw bodies, the sender's filter, answers in their own layout; and all dialects on the same queues.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::ptp::{PopInbound, PushInbound, TransportOutbound};
use serde_json::json;
use tokio::time::Instant;

use crate::node::{A, Ask, B, Heard, Node};

/// The answer that Kuscia's clients read: payload, code, message.
#[derive(Clone, PartialEq, Message)]
struct Outbound {
    #[prost(bytes = "bytes", tag = "1")]
    payload: Bytes,
    #[prost(string, tag = "2")]
    code: String,
    #[prost(string, tag = "3")]
    message: String,
}

fn push(source: &str, body: &'static str) -> Ask {
    Ask::raw("push?timeout=5", body)
        .header("x-ptp-session-id", "s1")
        .header("x-ptp-topic", "t1")
        .header("x-ptp-source-node-id", source)
}

fn pop(sender: &str) -> Ask {
    Ask::raw("pop?timeout=1", "")
        .header("x-ptp-session-id", "s1")
        .header("x-ptp-topic", "t1")
        .header("x-ptp-target-node-id", sender)
}

fn read(heard: Heard) -> Outbound {
    assert_eq!((heard.status, heard.headers["content-type"].to_str().unwrap()), (200, "application/proto"));
    Outbound::decode(heard.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pop_takes_the_oldest_message_of_the_sender_it_names() {
    let node = Node::new(A, &[], &json!({}));
    for (source, body) in [("alice", "1"), ("bob", "2"), ("ALICE", "3")] {
        assert_eq!(read(node.ask(push(source, body)).await).code, "E0000000000");
    }
    let mut popped = Vec::new();
    for sender in ["bob", "Alice", "alice", "bob"] {
        let answer = read(node.ask(pop(sender)).await);
        assert_eq!(answer.code, "E0000000000");
        popped.push(answer.payload);
    }
    assert_eq!(popped, ["2", "1", "3", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_of_another_sender_is_passed_over() {
    let node = Node::new(A, &[], &json!({}));
    let mut bobs = Box::pin(node.ask(pop("bob").header("accept", "application/proto")));
    assert!(futures::poll!(&mut bobs).is_pending());
    node.ask(push("alice", "1")).await;
    assert!(futures::poll!(&mut bobs).is_pending());
    node.ask(push("bob", "2")).await;
    assert_eq!(read(bobs.await).payload, "2");
}

/// PTP section 5.3: seconds from 1 to 300, 120 where none are named; and the margin of decision D7.
#[tokio::test(start_paused = true)]
async fn a_pop_waits_for_the_seconds_of_its_query_within_bounds_and_answers_a_little_earlier() {
    let node = Node::new(A, &[], &json!({}));
    for (query, waits) in
        [("?timeout=1", 950), ("?timeout=0", 950), ("?timeout=-5", 950), ("?timeout=9999", 299_500), ("", 119_500)]
    {
        let ask = Ask { uri: format!("/v1/interconn/chan/pop{query}"), ..pop("alice") };
        let started = Instant::now();
        assert_eq!(read(node.ask(ask).await).code, "E0000000000");
        assert_eq!(started.elapsed(), Duration::from_millis(waits), "{query}");
    }
}

#[tokio::test]
async fn what_a_call_lacks_is_a_bad_request() {
    let node = Node::new(A, &[], &json!({}));
    let table = [
        push("alice", ""),
        push("alice", "1").header("x-ptp-session-id", ""),
        pop("alice").header("x-ptp-session-id", ""),
        pop("").header("content-type", "application/proto"),
        pop("alice").header("x-ptp-topic", "").header("content-type", "application/proto"),
        Ask::raw("invoke", "").header("x-ptp-topic", "t1").header("x-ptp-session-id", "s1"),
    ];
    for ask in table {
        assert_eq!(read(node.ask(ask.clone()).await).code, "E0000000400", "{ask:?}");
    }
}

#[tokio::test]
async fn an_invoke_with_a_raw_body_is_a_push() {
    let node = Node::new(A, &[B], &json!({}));
    for op in ["invoke", "transport"] {
        let ask = Ask { uri: format!("/v1/interconn/chan/{op}"), ..push("alice", "raw") };
        assert_eq!(read(node.ask(ask).await).code, "E0000000000");
        assert_eq!(read(node.ask(pop("alice")).await).payload, "raw");
    }
    let released = node.ask(Ask::raw("release", "").header("x-ptp-session-id", "s1")).await;
    assert_eq!(read(released).code, "E0000000000");
    assert_eq!(read(node.ask(pop("alice")).await).code, "E0000000608");
}

#[tokio::test]
async fn a_push_with_a_remote_target_travels_as_published_protobuf() {
    let (a, b) = (Node::new(A, &[B], &json!({})), Node::new(B, &[A], &json!({})));
    a.connect(&b);
    assert_eq!(read(a.ask(push(A, "raw").to(B)).await).code, "E0000000000");
    assert_eq!(read(b.ask(pop(A)).await).payload, "raw");
    assert_eq!(a.wire.sent.lock()[0].1["content-type"], "application/x-protobuf");
}

#[tokio::test]
async fn what_one_dialect_pushes_every_other_pops() {
    let node = Node::new(A, &[], &json!({}));
    let json = |op: &str| Ask::json(op, &json!({"topic": "t1", "payload": "aGVsbG8=", "timeout": 500}));
    let protobuf = |op: &str, body: Vec<u8>| {
        Ask::raw(op, body).header("content-type", "application/x-protobuf").header("x-ptp-session-id", "s1")
    };
    let message = PushInbound { topic: "t1".into(), payload: Bytes::from_static(b"hello"), ..Default::default() };
    let osx = |ask: Ask| ask.header("x-ptp-tech-provider-code", "FATE");
    // Each names its source, since Kuscia's pop asks for it.
    let pushes = [json("push"), osx(json("push")), protobuf("push", message.encode_to_vec()), push("alice", "hello")];
    for asked in pushes {
        for reader in 0..4 {
            let pushed = node.ask(asked.clone().header("x-ptp-source-node-id", "alice")).await;
            assert_eq!(pushed.status, 200, "{:?}", pushed.body);
            let payload = match reader {
                0 => node.ask(json("pop")).await.json()["payload"].as_str() == Some("aGVsbG8="),
                1 => node.ask(osx(json("pop"))).await.json()["payload"].as_str() == Some("aGVsbG8="),
                2 => {
                    let pop = PopInbound { topic: "t1".into(), timeout: 500 }.encode_to_vec();
                    TransportOutbound::decode(node.ask(protobuf("pop", pop)).await.body).unwrap().payload == "hello"
                }
                _ => read(node.ask(pop("alice")).await).payload == "hello",
            };
            assert!(payload, "{asked:?} by reader {reader}");
        }
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(node.channels.levels().messages, 0);
}
