//! What stands beside the payload of a message is bounded, whoever brings it.

use std::collections::BTreeMap;

use http::Response;
use mesh_core::Body;
use prost::Message as _;
use proto::ptp::{PushInbound, TransportOutbound};
use serde_json::json;

use crate::node::{A, Ask, B, Node};

const OK: &str = "E0000000000";

/// It would be written by a connection's thread whenever the message is read.
#[tokio::test]
async fn metadata_without_end_is_refused() {
    let a = Node::new(A, &[B], &json!({}));
    let metadata: BTreeMap<String, String> = (0..50_000).map(|n| (format!("{n:08}"), String::new())).collect();
    let json = json!({"topic": "t", "payload": "", "metadata": metadata});
    let protobuf = PushInbound { topic: "t".into(), payload: "".into(), metadata: metadata.clone() }.encode_to_vec();
    for ask in [
        Ask::json("push", &json),
        Ask::raw("push", protobuf).header("content-type", "application/x-protobuf").header("x-ptp-session-id", "s1"),
    ] {
        let heard = a.ask(ask).await;
        assert!(String::from_utf8_lossy(&heard.body).contains("E0000000400"), "{heard:?}");
    }
    let answer = TransportOutbound { metadata, payload: "one".into(), code: OK.into(), message: String::new() };
    let mut response = Response::new(Body::from(answer.encode_to_vec()));
    response.headers_mut().insert("content-type", "application/x-protobuf".parse().unwrap());
    a.wire.answers.lock().push(response);
    let pop = Ask::json("pop", &json!({"topic": "t", "timeout": 60_000})).to(B);
    assert_eq!((a.ask(pop).await.code().as_str(), a.channels.levels().messages), ("E0000000600", 0));
}
