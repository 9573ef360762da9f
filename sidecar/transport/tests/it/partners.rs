//! PTP sections 2 (last paragraph), 8 and 12.4: hops to partners, what they may see, and what comes back.

use std::time::Duration;

use http::Response;
use mesh_core::{Body, Caller, Code, Retry};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::node::{A, Ask, B, C, Node, refusal};

/// Two nodes with a wire each way.
fn pair() -> (Node, Node) {
    let (a, b) = (Node::new(A, &[B, C], &json!({})), Node::new(B, &[A, C], &json!({})));
    a.connect(&b);
    b.connect(&a);
    (a, b)
}

fn push(session: &str, payload: &str) -> Ask {
    Ask::json("push", &json!({"topic": "t", "payload": payload, "metadata": {"k": "v"}}))
        .header("x-ptp-session-id", session)
}

fn pop(session: &str, timeout: u64) -> Ask {
    Ask::json("pop", &json!({"topic": "t", "timeout": timeout})).header("x-ptp-session-id", session)
}

fn payload(body: &Value) -> &str {
    body["payload"].as_str().unwrap_or("none")
}

#[tokio::test]
async fn a_push_to_a_partner_is_popped_there() {
    let (a, b) = pair();
    assert_eq!(a.ask(push("s", "b25l").to(B)).await.code(), "E0000000000");
    let popped = b.ask(pop("s", 50)).await.json();
    assert_eq!((payload(&popped), &popped["metadata"]), ("b25l", &json!({"k": "v"})));
    let sent = a.wire.sent.lock();
    let (path, headers, _) = &sent[0];
    assert_eq!(path, "/v1/interconn/chan/invoke");
    let expected = [
        ("x-ptp-uri", "https://ptp.cn/v1/interconn/chan/push"),
        ("x-ptp-source-node-id", A),
        ("x-ptp-target-node-id", B),
        ("x-ptp-session-id", "s"),
        ("x-ptp-topic", "t"),
        ("content-type", "application/json"),
    ];
    for (name, value) in expected {
        assert_eq!(headers[name], value, "{name}");
    }
    assert!(headers.contains_key("x-ptp-message-id") && headers.contains_key("x-ptp-timeout"));
}

/// PTP section 9.5, decision D8: what applications released is over for partners too.
#[tokio::test]
async fn a_partner_in_a_session_that_was_released_hears_so() {
    let (a, b) = pair();
    assert_eq!(a.ask(push("s", "b25l").to(B)).await.code(), "E0000000000");
    let release = Ask::json("release", &json!({"topic": ""})).header("x-ptp-session-id", "s");
    assert_eq!(b.ask(release).await.code(), "E0000000000");
    for ask in [push("s", "b25l"), pop("s", 50)] {
        assert_eq!(a.ask(ask.to(B)).await.code(), "E0000000608");
    }
}

#[tokio::test]
async fn all_operations_travel_in_both_encodings() {
    use prost::Message;
    use proto::ptp::{PopInbound, PushInbound, ReleaseInbound, TransportOutbound};
    let (a, b) = pair();
    let ask = |op: &str, body: Vec<u8>| {
        Ask::raw(op, body).header("content-type", "application/x-protobuf").header("x-ptp-session-id", "s").to(B)
    };
    let read = |heard: crate::node::Heard| TransportOutbound::decode(heard.body).unwrap();
    for size in [3, 100_000] {
        let metadata = [("k".to_owned(), "v".to_owned())].into();
        let message = PushInbound { topic: "t".into(), payload: vec![7; size].into(), metadata };
        assert_eq!(read(a.ask(ask("push", message.encode_to_vec())).await).code, "E0000000000");
        let popped = read(a.ask(ask("pop", PopInbound { topic: "t".into(), timeout: 500 }.encode_to_vec())).await);
        assert_eq!((popped.payload, popped.metadata), (message.payload, message.metadata));
    }
    a.ask(push("s", "b25l").to(B)).await;
    let peek = Ask::json("peek", &json!({"topic": "t"})).header("x-ptp-session-id", "s").to(B);
    assert_eq!(payload(&a.ask(peek).await.json()), "b25l");
    let released = ask("release", ReleaseInbound { topic: "t".into(), timeout: 0 }.encode_to_vec());
    assert_eq!(read(a.ask(released).await).code, "E0000000000");
    assert_eq!(b.channels.levels().messages, 0);
}

#[tokio::test]
async fn a_partner_sees_its_own_messages_and_what_was_pushed_to_it() {
    let (a, b) = pair();
    let c = Node::new(C, &[A, B], &json!({}));
    c.connect(&b);
    let third = |heard: crate::node::Heard| payload(&heard.json()).to_owned();
    // A local application of B pushes; the session involves nobody yet.
    b.ask(push("s", "bG9jYWw=")).await;
    assert_eq!(third(a.ask(pop("s", 100).to(B)).await), "none", "and nothing is revealed");
    // C pushes into it: that involves C, not A.
    c.ask(push("s", "Yw==").to(B)).await;
    assert_eq!(third(a.ask(pop("s", 100).to(B)).await), "none");
    assert_eq!(third(c.ask(pop("s", 100).to(B)).await), "bG9jYWw=");
    // A release of A's frees nothing of theirs.
    a.ask(Ask::json("release", &json!({"topic": ""})).header("x-ptp-session-id", "s").to(B)).await;
    b.until_messages(1).await;
    assert_eq!(third(b.ask(pop("s", 100)).await), "Yw==");
    let no_session = Ask::json("pop", &json!({"topic": "t", "timeout": 50})).header("x-ptp-session-id", "").to(B);
    assert_eq!(a.ask(no_session).await.code(), "E0000000614");
}

#[tokio::test]
async fn a_push_to_a_partner_lets_it_pop_from_that_session_here() {
    let (a, b) = pair();
    // SDKs of old push to themselves and let the other side pop (PTP section 2).
    a.ask(push("s", "b25l")).await;
    let mut waiting = Box::pin(b.ask(pop("s", 60_000).to(A)));
    assert!(futures::poll!(&mut waiting).is_pending());
    a.ask(push("s", "dHdv").to(B)).await;
    let popped = timeout(Duration::from_secs(50), waiting).await.expect("involvement wakes the waiter").json();
    assert_eq!(payload(&popped), "b25l");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_surely_did_not_arrive_is_sent_again_with_the_same_id() {
    let (a, b) = pair();
    *a.wire.refusals.lock() = vec![refusal(Code::UNREACHABLE, Retry::Safe); 3];
    assert_eq!(a.ask(push("s", "b25l").to(B)).await.code(), "E0000000000");
    assert_eq!(b.channels.levels().messages, 1);
    *a.wire.refusals.lock() = vec![refusal(Code::UNREACHABLE, Retry::Safe); 1000];
    let started = Instant::now();
    let refused = a.ask(push("s", "b25l").to(B).header("x-ptp-timeout", "3000")).await;
    assert_eq!(refused.code(), "E0000000607");
    assert!(started.elapsed() >= Duration::from_secs(1) && started.elapsed() <= Duration::from_secs(3));
    *a.wire.refusals.lock() = vec![refusal(Code::UNREACHABLE, Retry::Safe)];
    assert_eq!(a.ask(pop("s", 500).to(B)).await.code(), "E0000000607", "a pop is not sent again");
}

#[tokio::test]
async fn a_pop_whose_caller_goes_away_leaves_the_message_there() {
    let (a, b) = pair();
    let waiting = timeout(Duration::from_millis(50), a.ask(pop("s", 60_000).to(B))).await;
    assert!(waiting.is_err());
    a.ask(push("s", "b25l").to(B)).await;
    assert_eq!(b.channels.levels().messages, 1);
    assert_eq!(payload(&b.ask(pop("s", 50)).await.json()), "b25l");
}

#[tokio::test]
async fn a_partners_answers_are_passed_on_as_the_contract_says() {
    let (a, _b) = pair();
    let table = [
        (200, r#"{"code":"E0000000609","message":"licence \"x\""}"#, 200, "E0000000609"),
        (200, r#"{"code":"0","msg":"ok"}"#, 200, "E0000000000"),
        (200, r#"{"code":"136"}"#, 200, "E0000000520"),
        (200, "{}", 200, "E0000000520"),
        (200, "<html>", 200, "E0000000600"),
        (403, "对方节点已禁用网络", 200, "E0000000403"),
    ];
    for (status, body, expected, code) in table {
        let answer = Response::builder().status(status).header("content-type", "application/json");
        a.wire.answers.lock().push(answer.body(Body::from(body)).unwrap());
        let heard = a.ask(pop("s", 500).to(B)).await;
        assert_eq!((heard.status, heard.code()), (expected, code.to_owned()), "{body}");
        assert!(!heard.json()["message"].as_str().unwrap().contains('"'));
    }
    a.wire.answers.lock().push(Response::builder().status(502).body(Body::from("bad gateway")).unwrap());
    let heard = a.ask(pop("s", 500).to(B)).await;
    assert_eq!((heard.status, &heard.body[..]), (502, &b"bad gateway"[..]));
}

#[tokio::test]
async fn a_partner_cannot_use_this_node_to_reach_a_third_one() {
    let (a, _b) = pair();
    let ask =
        Ask::json("invoke", &json!({"payload": "eyJ0b3BpYyI6InQifQ=="})).header("x-ptp-uri", "/v1/interconn/chan/peek");
    assert_eq!(a.ask_as(Caller::Partner(a.route(B)), ask.to(C)).await.code(), "E0000000614");
}
