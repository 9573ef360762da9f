//! PTP sections 3, 4 and 13 as a table: request to status and body. Each case starts on an empty node.

use http::Method;
use mesh_core::Caller;
use prost::Message;
use proto::ptp::{PopInbound, PushInbound, TransportOutbound};
use serde_json::{Value, json};

use crate::node::{A, Ask, B, Node};

fn ok() -> Value {
    json!({"code": "E0000000000", "message": "请求成功"})
}

fn hello() -> Value {
    json!({"payload": "aGVsbG8=", "content": "aGVsbG8=", "code": "E0000000000", "message": "请求成功"})
}

fn code(code: &str) -> Value {
    json!({ "code": code })
}

fn push(body: &Value) -> Ask {
    Ask::json("push", body)
}

/// `{"topic":"t1","payload":"aGVsbG8="}`.
fn push_hello() -> Ask {
    push(&json!({"topic": "t1", "payload": "aGVsbG8="}))
}

fn pop(timeout: u32) -> Ask {
    Ask::json("pop", &json!({"topic": "t1", "timeout": timeout}))
}

/// The cases: what is asked in order, and what the last one hears; of a refusal only the code is compared.
fn cases() -> Vec<(&'static str, Vec<Ask>, u16, Value)> {
    let peek = || Ask::json("peek", &json!({"topic": "t1"}));
    let release = |topic: &str| Ask::json("release", &json!({"topic": topic}));
    let form = |body: &'static str| {
        Ask::raw("push", body)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-ptp-session-id", "s1")
    };
    vec![
        ("push", vec![push_hello()], 200, ok()),
        ("push, pop", vec![push_hello(), pop(50)], 200, hello()),
        ("an empty pop has no payload", vec![pop(50)], 200, ok()),
        (
            "an empty message has an empty one",
            vec![push(&json!({"topic": "t1", "payload": ""})), pop(50)],
            200,
            json!({"payload": "", "content": "", "code": "E0000000000", "message": "请求成功"}),
        ),
        ("a popped message is gone", vec![push_hello(), pop(50), pop(50)], 200, ok()),
        ("a peeked one stays", vec![push_hello(), peek(), peek(), pop(50)], 200, hello()),
        (
            "bytes as numbers",
            vec![push(&json!({"topic": "t1", "payload": [104, 101, 108, 108, 111]})), pop(50)],
            200,
            hello(),
        ),
        (
            "a timeout as text",
            vec![push_hello(), Ask::json("pop", &json!({"topic": "t1", "timeout": "50"}))],
            200,
            hello(),
        ),
        (
            "metadata comes back",
            vec![push(&json!({"topic": "t1", "payload": "", "metadata": {"k": "v"}})), pop(50)],
            200,
            json!({"metadata": {"k": "v"}, "payload": "", "content": "", "code": "E0000000000", "message": "请求成功"}),
        ),
        (
            "unknown members are ignored",
            vec![push(&json!({"topic": "t1", "payload": "aGVsbG8=", "x": [{}]})), pop(50)],
            200,
            hello(),
        ),
        ("GET with a lower-case query", vec![push_hello(), Ask::get("pop?topic=t1&timeout=50")], 200, hello()),
        ("GET with an upper-initial query", vec![push_hello(), Ask::get("peek?Topic=t1")], 200, hello()),
        ("a GET push", vec![Ask::get("push?topic=t1&payload=aGVsbG8%3D"), pop(50)], 200, hello()),
        ("a form", vec![form("topic=t1&payload=aGVsbG8%3D"), pop(50)], 200, hello()),
        ("curl -d", vec![form(r#"{"topic":"t1","payload":"aGVsbG8="}"#), pop(50)], 200, hello()),
        (
            "the header's topic wins over the body's",
            vec![push_hello().header("x-ptp-topic", "t2"), Ask::get("pop?topic=t2&timeout=50")],
            200,
            hello(),
        ),
        (
            "old names of headers mean the same",
            vec![push_hello().header("x-ptp-session-id", "").header("mesh-session-id", "s1"), pop(50)],
            200,
            hello(),
        ),
        (
            "no session id is the empty session",
            vec![push_hello().header("x-ptp-session-id", ""), pop(50).header("x-ptp-session-id", "")],
            200,
            hello(),
        ),
        ("the empty session is one of its own", vec![push_hello().header("x-ptp-session-id", ""), pop(50)], 200, ok()),
        ("own ids are local", vec![push_hello().to(A), pop(50).to(&A.to_lowercase())], 200, hello()),
        (
            "FATE is told by its header",
            vec![pop(50).header("x-ptp-tech-provider-code", "fate")],
            200,
            code("E0000000601"),
        ),
        (
            "FATE is told by its members",
            vec![Ask::json("pop", &json!({"topic": "t1", "timeout": 50, "msgFlag": 1}))],
            200,
            code("E0000000601"),
        ),
        ("a session released", vec![push_hello(), release(""), pop(50)], 200, code("E0000000608")),
        ("a topic released", vec![push_hello(), release("t1"), pop(50)], 200, ok()),
        ("a release again", vec![release(""), release("")], 200, ok()),
        (
            "the empty session is never refused",
            vec![release("").header("x-ptp-session-id", ""), pop(50).header("x-ptp-session-id", "")],
            200,
            ok(),
        ),
        ("no payload", vec![push(&json!({"topic": "t1"}))], 200, code("E0000000400")),
        ("a null payload", vec![push(&json!({"topic": "t1", "payload": null}))], 200, code("E0000000400")),
        ("bad base64", vec![push(&json!({"topic": "t1", "payload": "aGVsbG8"}))], 200, code("E0000000400")),
        ("no JSON", vec![Ask::raw("push", "{").header("content-type", "application/json")], 200, code("E0000000400")),
        ("an unknown target", vec![push_hello().to("LX9999999999999")], 200, code("E0000000618")),
        (
            "a node id decides alone",
            vec![push_hello().to("LX9999999999999").header("x-ptp-target-inst-id", &crate::node::inst(A))],
            200,
            code("E0000000618"),
        ),
        ("a disabled route", vec![push_hello().to(B)], 200, code("E0000000606")),
        ("invoke without a uri", vec![Ask::json("invoke", &json!({"payload": "e30="}))], 200, code("E0000000404")),
        (
            "invoke of what does not exist",
            vec![
                Ask::json("invoke", &json!({"payload": "e30="}))
                    .header("x-ptp-uri", "https://ptp.cn/v1/interconn/chan/browse"),
            ],
            200,
            code("E0000000404"),
        ),
        (
            "invoke with a broken inner body",
            vec![Ask::json("invoke", &json!({"payload": "e30"})).header("x-ptp-uri", "/v1/interconn/chan/pop")],
            200,
            code("E0000000400"),
        ),
        (
            "invoke whose inner body is no call",
            vec![Ask::json("invoke", &json!({"payload": "eyI="})).header("x-ptp-uri", "/v1/interconn/chan/pop")],
            200,
            code("E0000000600"),
        ),
        (
            "an inner message may name its uri, session and topic",
            vec![
                push_hello(),
                Ask::json(
                    "transport",
                    &json!({
                        "payload": "e30=",
                        "metadata": {
                            "x-ptp-uri": "/v1/interconn/chan/pop",
                            "x-ptp-session-id": "s1",
                            "X-PTP-Topic": "t1",
                            "mesh-timeout": "50",
                        },
                    }),
                )
                .header("x-ptp-session-id", "other"),
            ],
            200,
            hello(),
        ),
        (
            "a session in metadata is bounded like one in headers",
            vec![Ask::json("invoke", &json!({"payload": "e30=", "metadata": {"x-ptp-session-id": "s".repeat(1025)}}))],
            200,
            code("E0000000400"),
        ),
        (
            "transport is the same as invoke",
            vec![
                push_hello(),
                Ask::json("transport", &json!({"payload": "eyJ0b3BpYyI6InQxIn0="}))
                    .header("x-ptp-uri", "/v1/interconn/chan/pop")
                    .header("x-ptp-timeout", "50"),
            ],
            200,
            hello(),
        ),
    ]
}

#[tokio::test]
async fn requests_are_answered_as_the_contract_says() {
    for (name, asks, status, expected) in cases() {
        let node = Node::with_routes(A, &[json!({"peer": {"nodeId": B}, "disabled": true})], &json!({}));
        let mut heard = None;
        for ask in asks {
            heard = Some(node.ask(ask).await);
        }
        let heard = heard.unwrap();
        assert_eq!(
            (heard.status, &heard.headers["content-type"]),
            (status, &"application/json".parse().unwrap()),
            "{name}"
        );
        let mut body = heard.json();
        if expected.get("message").is_none() {
            body = code(body["code"].as_str().unwrap());
        }
        assert_eq!(body, expected, "{name}");
    }
}

#[tokio::test]
async fn protobuf_is_answered_with_protobuf() {
    let node = Node::new(A, &[], &json!({}));
    let ask = |op: &str, body: Vec<u8>| {
        Ask::raw(op, body)
            .header("content-type", "application/x-protobuf; charset=utf-8")
            .header("x-ptp-session-id", "s1")
    };
    let message = PushInbound { topic: "t".into(), payload: vec![7; 100_000].into(), ..Default::default() };
    let pushed = node.ask(ask("push", message.encode_to_vec())).await;
    let popped = node.ask(ask("pop", PopInbound { topic: "t".into(), timeout: 50 }.encode_to_vec())).await;
    for (heard, payload) in [(pushed, vec![]), (popped, vec![7; 100_000])] {
        assert_eq!((heard.status, &heard.headers["content-type"]), (200, &"application/x-protobuf".parse().unwrap()));
        let expected = TransportOutbound {
            payload: payload.into(),
            code: "E0000000000".into(),
            message: "请求成功".into(),
            ..Default::default()
        };
        assert_eq!(TransportOutbound::decode(heard.body).unwrap(), expected);
    }
    let broken = node.ask(ask("pop", vec![0xff])).await;
    assert_eq!(TransportOutbound::decode(broken.body).unwrap().code, "E0000000400");
}

#[tokio::test]
async fn other_methods_and_other_types_are_refused_by_http() {
    let node = Node::new(A, &[], &json!({}));
    for method in [Method::PUT, Method::DELETE, Method::TRACE, Method::HEAD] {
        let heard = node.ask(push_hello().method(method)).await;
        assert_eq!((heard.status, heard.headers["allow"].to_str().unwrap()), (405, "GET, POST"));
    }
    for media in ["application/xml", "application/msgpack", "application/yaml", "multipart/form-data", "text/plain"] {
        let heard = node.ask(Ask::raw("pop", "<x/>").header("content-type", media)).await;
        assert_eq!(heard.status, 400, "{media}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_without_being_read() {
    let node = Node::new(A, &[], &json!({"maxBodyBytes": "100"}));
    let body = json!({"topic": "t1", "payload": "A".repeat(400)});
    let heard = node.ask(push(&body)).await;
    assert_eq!((heard.status, heard.code()), (200, "E0000000413".into()));
    assert_eq!(heard.headers["connection"], "close");
    assert!(heard.json()["message"].as_str().unwrap().contains("100 bytes"), "the limit stands in the text");
}

#[tokio::test]
async fn who_may_call_what() {
    let node = Node::new(A, &[B], &json!({}));
    let partner = || Caller::Partner(node.route(B));
    assert_eq!(node.ask_as(Caller::Stranger, push_hello()).await.code(), "E0000000403");
    assert_eq!(node.ask_as(Caller::Member, push_hello()).await.code(), "E0000000000");
    for op in ["push", "pop", "peek", "release"] {
        assert_eq!(node.ask_as(partner(), Ask::json(op, &json!({}))).await.code(), "E0000000614", "{op}");
    }
    let invoke =
        Ask::json("invoke", &json!({"payload": "eyJ0b3BpYyI6InQxIn0="})).header("x-ptp-uri", "/v1/interconn/chan/peek");
    assert_eq!(node.ask_as(partner(), invoke.clone()).await.code(), "E0000000000");
    let foreign = invoke.clone().header("x-ptp-source-node-id", A);
    assert_eq!(node.ask_as(partner(), foreign).await.code(), "E0000000403");
    let placeholder = invoke.clone().header("x-ptp-source-node-id", "LX0000000000000");
    assert_eq!(node.ask_as(partner(), placeholder).await.code(), "E0000000000");
    let no_session = invoke.header("x-ptp-session-id", "");
    assert_eq!(node.ask_as(partner(), no_session).await.code(), "E0000000614");
}

#[tokio::test]
async fn refusals_and_queues_are_counted_without_a_label_of_topics() {
    let node = Node::new(A, &[], &json!({}));
    node.ask(push_hello()).await;
    node.ask(push(&json!({"topic": "t1"}))).await;
    let metrics = node.metrics();
    for line in [
        "mesh_transport_pushes_total 1",
        "mesh_transport_messages 1",
        "mesh_transport_bytes 256",
        "mesh_transport_sessions 1",
        "mesh_transport_refusals_total{code=\"E0000000400\"} 1",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("t1") && !metrics.contains("s1"));
}
