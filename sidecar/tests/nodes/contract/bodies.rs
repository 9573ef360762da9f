//! What a body or a query says (PTP sections 3.2 to 3.4, 8.4 and 9).

use serde_json::{Value, json};

use super::{
    rows::{BAD, Row, Then, get, hello, json, ok, pop, push, raw},
    stage::MAX_BODY,
    wire::Ask,
};

pub(super) fn bodies() -> Vec<Row> {
    let mpi = |op: &str, arguments: &Value| {
        Ask::post("/mesh/invoke", arguments.to_string()).header("mesh-urn", &format!("mesh.chan.{op}"))
    };
    let inner = |metadata: Value| json("transport", &json!({"payload": "e30=", "metadata": metadata}));
    vec![
        ("3.4 push", vec![push()], ok()),
        ("3.4 pop", vec![push(), pop()], hello()),
        ("3.4 an empty pop has no payload", vec![pop()], ok()),
        (
            "3.4 an empty message has an empty one",
            vec![json("push", &json!({"topic": "t1", "payload": ""})), pop()],
            Then::Json(json!({"payload": "", "content": "", "code": "E0000000000", "message": "请求成功"})),
        ),
        ("3.4 GET peek", vec![push(), get("peek?topic=t1"), get("peek?topic=t1")], hello()),
        (
            "9.2 metadata comes back",
            vec![json("push", &json!({"topic": "t1", "payload": "", "metadata": {"k": "v"}})), pop()],
            Then::Json(
                json!({"metadata": {"k": "v"}, "payload": "", "content": "", "code": "E0000000000", "message": "请求成功"}),
            ),
        ),
        (
            "7 metadata of mesh.chan.push comes back",
            vec![mpi("push", &json!({"topic": "t1", "payload": "aGVsbG8=", "metadata": {"k": "v"}})), pop()],
            Then::Json(
                json!({"metadata": {"k": "v"}, "payload": "aGVsbG8=", "content": "aGVsbG8=", "code": "E0000000000", "message": "请求成功"}),
            ),
        ),
        (
            "3.3 bytes as numbers among arguments",
            vec![mpi("push", &json!({"topic": "t1", "payload": [104, 101, 108, 108, 111]})), pop()],
            hello(),
        ),
        ("3.3 a timeout as text among arguments", vec![mpi("pop", &json!({"topic": "t1", "timeout": "50"}))], ok()),
        (
            "9.1 a topic may be empty",
            vec![json("push", &json!({"payload": "aGVsbG8="})), json("pop", &json!({"timeout": 50}))],
            hello(),
        ),
        ("3.1 no payload", vec![json("push", &json!({"topic": "t1"}))], BAD),
        ("3.1 a null payload", vec![json("push", &json!({"topic": "t1", "payload": null}))], BAD),
        (
            "3.3 bytes as numbers",
            vec![json("push", &json!({"topic": "t1", "payload": [104, 101, 108, 108, 111]})), pop()],
            hello(),
        ),
        ("3.3 numbers that are no bytes", vec![json("push", &json!({"topic": "t1", "payload": [256]}))], BAD),
        ("3.3 base64 without its padding", vec![json("push", &json!({"topic": "t1", "payload": "aGVsbG8"}))], BAD),
        ("3.3 base64 of the other alphabet", vec![json("push", &json!({"topic": "t1", "payload": "_-8="}))], BAD),
        ("3.3 a timeout as text", vec![push(), json("pop", &json!({"topic": "t1", "timeout": "50"}))], hello()),
        ("3.3 a timeout that is none", vec![json("pop", &json!({"topic": "t1", "timeout": "soon"}))], BAD),
        (
            "3.3 unknown members are ignored",
            vec![json("push", &json!({"topic": "t1", "payload": "aGVsbG8=", "x": [{}]})), pop()],
            hello(),
        ),
        (
            "3.3 parameters of the type",
            vec![push(), raw("pop", r#"{"topic":"t1"}"#).header("content-type", "application/json; charset=utf-8")],
            hello(),
        ),
        (
            "3.3 parameters behind a blank, and any case",
            vec![push(), raw("pop", r#"{"topic":"t1"}"#).header("content-type", "Application/JSON charset=utf-8")],
            hello(),
        ),
        ("3.3 a list", vec![raw("push", r#"["t1","aGVsbG8="]"#).header("content-type", "application/json")], BAD),
        ("3.3 no JSON", vec![raw("push", "{").header("content-type", "application/json")], BAD),
        (
            "3.3 no protobuf",
            vec![
                raw("push", "\u{7}")
                    .header("content-type", "application/x-protobuf")
                    .header("accept", "application/json"),
            ],
            Then::Status(200, "application/x-protobuf"),
        ),
        ("3.2 a lower-case query", vec![push(), get("pop?topic=t1&timeout=50")], hello()),
        ("3.2 an upper-initial query", vec![push(), get("pop?Topic=t1&Timeout=50")], hello()),
        ("3.2 a POST with a query", vec![push(), raw("pop?topic=t1&timeout=50", "")], hello()),
        (
            "3.2 the body wins over the query",
            vec![push(), json("pop?topic=x&timeout=70000", &json!({"topic": "t1", "timeout": 50}))],
            hello(),
        ),
        ("3.2 a GET push", vec![get("push?topic=t1&payload=aGVsbG8%3D"), pop()], hello()),
        ("3.2 an upper-initial GET push", vec![get("push?Topic=t1&Payload=aGVsbG8%3D"), pop()], hello()),
        ("3.2 a GET with a body", vec![push(), pop().method(http::Method::GET)], hello()),
        ("3.2 a GET release", vec![push(), get("release?topic=t1"), pop()], ok()),
        ("3.2 an empty topic header", vec![push().header("x-ptp-topic", ""), pop()], hello()),
        ("3.2 a timeout header of nothing", vec![pop().header("x-ptp-timeout", "0")], ok()),
        ("3.2 a timeout header of less", vec![push(), pop().header("x-ptp-timeout", "-1")], hello()),
        ("3.2 a query timeout that is none", vec![get("pop?topic=t1&timeout=soon")], BAD),
        (
            "3.2 the header's topic wins",
            vec![push().header("x-ptp-topic", "t2"), get("pop?topic=t2&timeout=50")],
            hello(),
        ),
        ("3.2 a timeout header that is none", vec![pop().header("x-ptp-timeout", "soon")], BAD),
        (
            "8.4 an inner body",
            vec![
                push(),
                json("invoke", &json!({"payload": "eyJ0b3BpYyI6InQxIn0="}))
                    .header("x-ptp-uri", "/v1/interconn/chan/pop"),
            ],
            hello(),
        ),
        (
            "3.3 an unknown member beside an inner body",
            vec![
                push(),
                json("invoke", &json!({"payload": "eyJ0b3BpYyI6InQxIn0=", "x": [1]}))
                    .header("x-ptp-uri", "/v1/interconn/chan/pop"),
            ],
            hello(),
        ),
        (
            "3.1 transport is the same",
            vec![
                push(),
                json("transport", &json!({"payload": "eyJ0b3BpYyI6InQxIn0="}))
                    .header("x-ptp-uri", "https://any.where:1/v1/interconn/chan/pop?x=1"),
            ],
            hello(),
        ),
        (
            "6.1 the inner metadata wins over the call's",
            vec![
                push().header("x-ptp-topic", "inner"),
                inner(json!({"x-ptp-uri": "/v1/interconn/chan/peek", "X-PTP-Topic": "inner"}))
                    .header("x-ptp-uri", "/v1/interconn/chan/push")
                    .header("x-ptp-topic", "outer"),
            ],
            hello(),
        ),
        (
            "8.4 no such inner operation",
            vec![
                json("invoke", &json!({"payload": "e30="}))
                    .header("x-ptp-uri", "https://ptp.cn/v1/interconn/chan/browse"),
            ],
            Then::Code("E0000000404"),
        ),
        ("8.4 no uri", vec![json("invoke", &json!({"payload": "e30="}))], Then::Code("E0000000404")),
        (
            "8.4 an inner body that is none",
            vec![json("invoke", &json!({"payload": "eyI="})).header("x-ptp-uri", "/v1/interconn/chan/pop")],
            Then::Code("E0000000600"),
        ),
        (
            "8.4 an outer body that is none",
            vec![json("invoke", &json!({"payload": "e3"})).header("x-ptp-uri", "/v1/interconn/chan/pop")],
            BAD,
        ),
        (
            "8.4 no inner body",
            vec![json("invoke", &json!({"payload": null})).header("x-ptp-uri", "/v1/interconn/chan/pop")],
            BAD,
        ),
        (
            "9.1 a queue is a pair",
            vec![
                json("push", &json!({"topic": "b.c", "payload": ""})).header("x-ptp-session-id", "a"),
                json("push", &json!({"topic": "b_c", "payload": ""})).header("x-ptp-session-id", "a"),
                json("pop", &json!({"topic": "c", "timeout": 50})).header("x-ptp-session-id", "a_b"),
                json("pop", &json!({"topic": "c", "timeout": 50})).header("x-ptp-session-id", "a.b"),
            ],
            ok(),
        ),
        ("9.5 a release of nothing", vec![json("release", &json!({"topic": "never"}))], ok()),
        ("9.5 a release and its timeout", vec![json("release", &json!({"topic": "t1", "timeout": 86_400_000}))], ok()),
        (
            "9.5 the exact session",
            vec![
                push().header("x-ptp-session-id", "s10"),
                json("release", &json!({"topic": ""})).header("x-ptp-session-id", "s1"),
                pop().header("x-ptp-session-id", "s10"),
            ],
            hello(),
        ),
        ("9.1 the longest topic", vec![json("push", &json!({"topic": "t".repeat(1025), "payload": ""}))], BAD),
        ("4.1 the longest header", vec![push().header("x-ptp-topic", &"t".repeat(1025))], BAD),
        ("16 a coding of the content", vec![push().header("content-encoding", "gzip")], Then::Code("E0000000616")),
        (
            "13.2 a body above the limit, of FATE",
            vec![raw("push", vec![b' '; MAX_BODY + 1]).header("x-ptp-tech-provider-code", "FATE")],
            Then::Msg("E0000000413"),
        ),
        (
            "13.2 a body above the limit",
            vec![json("push", &json!({"payload": "A".repeat(MAX_BODY)}))],
            Then::Code("E0000000413"),
        ),
    ]
}
