//! PTP section 8.4, sentence by sentence: what goes to a partner, and what becomes of its answer.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Response};
use mesh_core::{Body, Caller, Code, Retry};
use mesh_network::Kind;
use prost::Message as _;
use proto::ptp::{Inbound, Outbound, PopInbound, PushInbound, TransportOutbound};
use serde_json::{Value, json};

use crate::node::{A, Ask, B, Node, hear, inst, refusal, snapshot};

fn node() -> Node {
    let (a, b) = (Node::new(A, &[B], &json!({})), Node::new(B, &[A], &json!({})));
    a.connect(&b);
    a
}

fn protobuf(op: &str, body: Vec<u8>) -> Ask {
    Ask::raw(op, body).header("content-type", "application/x-protobuf").header("x-ptp-session-id", "s1")
}

fn push_protobuf(size: usize) -> (PushInbound, Ask) {
    let metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let message =
        PushInbound { topic: "t".into(), payload: vec![7; size].into(), metadata: metadata.into_iter().collect() };
    let ask = protobuf("push", message.encode_to_vec());
    (message, ask)
}

/// What the metadata of an `Inbound` must say: the same as the headers do.
fn agrees<'m>(metadata: impl IntoIterator<Item = (&'m String, &'m String)>, headers: &HeaderMap) -> usize {
    let pairs = metadata.into_iter().map(|(name, value)| assert_eq!(headers[name.as_str()], value.as_str(), "{name}"));
    pairs.count()
}

#[tokio::test]
async fn the_inner_body_travels_in_the_callers_encoding_within_an_inbound_with_the_context() {
    let a = node();
    *a.wire.kind.lock() = Kind::Other;
    a.ask(Ask::json("push", &json!({"topic": "t", "payload": "b25l", "metadata": {"k": "v"}})).to(B)).await;
    let mut expected = Vec::new();
    // Beside each other, in frames of its own, and passed on while it arrives.
    for size in [3, 20_000, 100_000] {
        let (message, ask) = push_protobuf(size);
        assert_eq!(TransportOutbound::decode(a.ask(ask.to(B)).await.body).unwrap().code, "E0000000000");
        expected.push(message);
    }
    let sent = a.wire.sent.lock();
    for (path, headers, _) in sent.iter() {
        assert_eq!(path, "/v1/interconn/chan/invoke");
        let pairs = [
            ("x-ptp-uri", "https://ptp.cn/v1/interconn/chan/push"),
            ("x-ptp-source-node-id", A),
            ("x-ptp-source-inst-id", &inst(A)),
            ("x-ptp-target-node-id", B),
            ("x-ptp-session-id", "s1"),
        ];
        for (name, value) in pairs {
            assert_eq!(headers[name], value, "{name}");
        }
    }
    let body: Value = serde_json::from_slice(&sent[0].2).unwrap();
    let metadata: BTreeMap<String, String> = serde_json::from_value(body["metadata"].clone()).unwrap();
    assert!(agrees(&metadata, &sent[0].1) >= 6);
    let inner: Value = serde_json::from_slice(&STANDARD.decode(body["payload"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(inner, json!({"topic": "t", "payload": "b25l", "metadata": {"k": "v"}}));
    for ((_, headers, body), message) in sent[1..].iter().zip(expected) {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let inbound = Inbound::decode(body.clone()).unwrap();
        assert!(agrees(&inbound.metadata, headers) >= 6);
        assert_eq!(PushInbound::decode(inbound.payload).unwrap(), message);
    }
}

#[tokio::test]
async fn a_call_without_a_version_goes_out_with_this_nodes_own() {
    let a = node();
    let mut renamed = snapshot(A, &[json!({"peer": {"nodeId": B}})], &json!({}));
    renamed.node.version = "1.2.0".into();
    a.live.swap(renamed);
    let pop = || Ask::json("pop", &json!({"topic": "t", "timeout": 50})).to(B);
    a.ask(pop()).await;
    a.ask(pop().header("x-ptp-version", "0.9")).await;
    let sent = a.wire.sent.lock();
    assert_eq!(
        (&sent[0].1["x-ptp-version"], &sent[1].1["x-ptp-version"]),
        (&"1.2.0".parse().unwrap(), &"0.9".parse().unwrap())
    );
}

#[tokio::test]
async fn our_kind_reads_the_context_of_a_small_call_from_the_headers_alone() {
    let a = node();
    let (message, ask) = push_protobuf(1000);
    assert_eq!(TransportOutbound::decode(a.ask(ask.to(B)).await.body).unwrap().code, "E0000000000");
    let sent = a.wire.sent.lock();
    let inbound = Inbound::decode(sent[0].2.clone()).unwrap();
    assert!(inbound.metadata.is_empty());
    assert_eq!(PushInbound::decode(inbound.payload).unwrap(), message);
    assert_eq!(sent[0].1["x-ptp-session-id"], "s1");
}

#[tokio::test(start_paused = true)]
async fn a_pop_leaves_the_partner_less_time_than_its_caller_waits() {
    let a = node();
    let pop = PopInbound { topic: "t".into(), timeout: 10_000 }.encode_to_vec();
    a.ask(protobuf("pop", pop).to(B)).await;
    a.ask(Ask::json("pop", &json!({"topic": "t", "timeout": 10_000})).to(B)).await;
    let sent = a.wire.sent.lock();
    // 10 s less a twentieth for the way to the caller, and a twentieth of that for the way between the nodes.
    assert_eq!(
        (&sent[0].1["x-ptp-timeout"], &sent[1].1["x-ptp-timeout"]),
        (&"9025".parse().unwrap(), &"9025".parse().unwrap())
    );
    let inner = PopInbound::decode(Inbound::decode(sent[0].2.clone()).unwrap().payload).unwrap();
    assert_eq!(inner.timeout, 9025);
}

#[tokio::test]
async fn the_receiver_looks_at_the_path_of_the_uri_alone() {
    let b = Node::new(B, &[A], &json!({}));
    let inner = STANDARD.encode(json!({"topic": "t", "payload": "b25l"}).to_string());
    let table = [
        ("https://ptp.cn/v1/interconn/chan/push", "E0000000000"),
        ("http://elsewhere.example:1/v1/interconn/chan/push?x=1", "E0000000000"),
        ("/v1/interconn/chan/push", "E0000000000"),
        ("grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/push", "E0000000000"),
        ("https://ptp.cn/v1/interconn/chan/invoke", "E0000000404"),
        ("https://ptp.cn/v1/interconn/chan/lease", "E0000000404"),
        ("https://ptp.cn/v1/interconn/registry/register", "E0000000404"),
        ("https://ptp.cn/", "E0000000404"),
    ];
    for op in ["invoke", "transport"] {
        for (uri, code) in table {
            let ask = Ask::json(op, &json!({ "payload": inner })).header("x-ptp-uri", uri);
            assert_eq!(b.ask_as(Caller::Partner(b.route(A)), ask).await.code(), code, "{op} {uri}");
        }
    }
    let plain = Ask::json("push", &json!({"topic": "t", "payload": "b25l"}));
    assert_eq!(b.ask_as(Caller::Partner(b.route(A)), plain).await.code(), "E0000000614", "a partner comes by invoke");
}

/// What A's caller hears of an answer, in the encoding that it speaks.
async fn heard(a: &Node, is_json: bool, answer: Response<Body>) -> (u16, String) {
    a.wire.answers.lock().push(answer);
    let ask = if is_json {
        Ask::json("pop", &json!({"topic": "t", "timeout": 500}))
    } else {
        protobuf("pop", PopInbound { topic: "t".into(), timeout: 500 }.encode_to_vec())
    };
    let heard = hear(a.answer(Caller::Local, ask.to(B)).await).await;
    let code = match (heard.status, is_json) {
        (200, true) => heard.code(),
        (200, false) => TransportOutbound::decode(heard.body).unwrap().code,
        _ => String::from_utf8(heard.body.to_vec()).unwrap(),
    };
    (heard.status, code)
}

#[tokio::test]
async fn a_status_other_than_200_is_passed_on_with_its_text_and_403_is_a_code() {
    let a = node();
    for is_json in [true, false] {
        for (status, expected) in
            [(500, (500, "broken")), (502, (502, "broken")), (404, (404, "broken")), (403, (200, "E0000000403"))]
        {
            let answer = Response::builder().status(status).body(Body::from("broken")).unwrap();
            let (status, text) = heard(&a, is_json, answer).await;
            assert_eq!((status, text.as_str()), expected, "{is_json}");
        }
    }
}

#[tokio::test]
async fn the_codes_of_an_answer_are_read_in_both_encodings() {
    let a = node();
    let table = [
        ("E0000000000", "E0000000000"),
        ("0", "E0000000000"),
        ("E0000000609", "E0000000609"),
        ("136", "E0000000520"),
        ("", "E0000000520"),
    ];
    for (code, expected) in table {
        let outbound = Outbound { code: code.into(), ..Outbound::default() };
        let answer = Response::builder().header("content-type", "application/x-protobuf");
        let answer = answer.body(Body::from(outbound.encode_to_vec())).unwrap();
        assert_eq!(heard(&a, false, answer).await, (200, expected.to_owned()), "{code}");
        let answer = Response::builder().header("content-type", "application/json");
        let answer = answer.body(Body::from(json!({ "code": code }).to_string())).unwrap();
        assert_eq!(heard(&a, true, answer).await, (200, expected.to_owned()), "{code}");
    }
    for (is_json, unreadable) in [(true, &b"<html>"[..]), (false, &b"\xff\xff"[..])] {
        let answer = Response::new(Body::from(unreadable.to_vec()));
        assert_eq!(heard(&a, is_json, answer).await, (200, "E0000000600".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_sender_says_by_its_code_what_is_in_the_way() {
    // Nothing leaves for a route that carries nothing.
    let past = json!({"peer": {"nodeId": B}, "expiresAt": "2020-01-01T00:00:00Z"});
    let disabled = json!({"peer": {"nodeId": B}, "disabled": true});
    for (routes, code) in [(vec![past], "E0000000605"), (vec![disabled], "E0000000606"), (vec![], "E0000000618")] {
        let a = Node::with_routes(A, &routes, &json!({}));
        for ask in [Ask::json("push", &json!({"topic": "t", "payload": "b25l"})), push_protobuf(100_000).1] {
            let answer = a.ask(ask.to(B)).await;
            let told = String::from_utf8_lossy(&answer.body).contains(code);
            assert!(told && a.wire.sent.lock().is_empty(), "{code}: {:?}", answer.body);
        }
    }
    // What the network room finds out goes to the caller as it is.
    let table = [
        (Code::UNREACHABLE, Retry::Safe),
        (Code::BAD_ADDRESS, Retry::Useless),
        (Code::CERTIFICATE, Retry::Safe),
        (Code::TIMEOUT, Retry::Unknown),
        (Code::LOOP, Retry::Useless),
    ];
    for (code, retry) in table {
        let a = node();
        *a.wire.kind.lock() = Kind::Other;
        a.wire.refusals.lock().extend(vec![refusal(code, retry); 1000]);
        let ask = Ask::json("push", &json!({"topic": "t", "payload": "b25l"})).header("x-ptp-timeout", "500");
        assert_eq!(a.ask(ask.to(B)).await.code(), code.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_remote_pop_runs_to_its_timeout_and_no_thirty_seconds() {
    let a = node();
    let start = tokio::time::Instant::now();
    let heard = a.ask(Ask::json("pop", &json!({"topic": "t", "timeout": 100_000})).to(B)).await;
    assert_eq!((heard.code().as_str(), heard.json().get("payload")), ("E0000000000", None));
    assert!(
        start.elapsed() > Duration::from_secs(98) && start.elapsed() < Duration::from_secs(100),
        "{:?}",
        start.elapsed()
    );
}
