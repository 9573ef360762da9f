//! The dialects (PTP section 5): which one a request speaks, line by line of section 5.4, told by the answer; and what each
//! of them needs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    rows::{
        BAD, KUSCIA_BAD, KUSCIA_EMPTY, KUSCIA_HELLO, KUSCIA_PACKED, KUSCIA_TOO_LARGE, PROTO, Row, SOURCE, TARGET,
        TOPIC, Then, UNBINDABLE, form, form_of, get, hello, json, kuscia_pop, kuscia_push, ok, pop, push, raw, with,
    },
    stage::MAX_BODY,
    wire::Ask,
};
use crate::harness::{A, B};

pub(super) fn dialects() -> Vec<Row> {
    let osx = |code: &str| {
        Then::Json(
            json!({"code": code, "message": if code == "E0000000601" { "请求超时" } else { "请求成功" }, "msg": if code == "E0000000601" { "请求超时" } else { "请求成功" }}),
        )
    };
    vec![
        ("5.4-2 invoke with a topic and no uri", vec![with(raw("invoke", "hello"), &[TOPIC, SOURCE]), pop()], hello()),
        (
            "5.4-2 is answered in Kuscia's layout",
            vec![with(raw("transport", "hello"), &[TOPIC, SOURCE, ("content-type", "application/json")])],
            KUSCIA_EMPTY,
        ),
        (
            "5.4-3 protobuf with an empty body",
            vec![raw("peek", "").header("content-type", "application/x-protobuf")],
            Then::Status(200, "application/x-protobuf"),
        ),
        (
            "5.4-4 JSON by Accept",
            vec![
                raw("push", r#" {"topic":"t1","payload":"aGVsbG8="}"#)
                    .header("accept", "text/html, application/json;q=0.9"),
                pop(),
            ],
            hello(),
        ),
        (
            "5.4-2 before 3",
            vec![with(raw("invoke", "hello"), &[TOPIC, SOURCE, ("content-type", "application/x-protobuf")])],
            KUSCIA_EMPTY,
        ),
        (
            "5.4-4 before 5",
            vec![with(
                raw("peek", "{}"),
                &[TOPIC, ("content-type", "application/proto"), ("accept", "application/json")],
            )],
            ok(),
        ),
        (
            "5.4-4 before 6",
            vec![with(json("push?timeout=5000", &json!({"topic": "t1", "payload": ""})), &[TOPIC, SOURCE])],
            ok(),
        ),
        (
            "5.4-4 before 7",
            vec![with(raw("pop", ""), &[TOPIC, ("x-ptp-target-node-id", "LX9"), ("content-type", "application/json")])],
            Then::Code("E0000000618"),
        ),
        ("5.4-4 before 8", vec![with(raw("release", ""), &[("accept", "application/json")])], ok()),
        ("5.4-4 FATE by its provider", vec![pop().header("x-ptp-tech-provider-code", "Fate")], osx("E0000000601")),
        ("5.4-4 FATE by a header", vec![pop().header("fate-message-flag", "1")], osx("E0000000601")),
        (
            "5.4-4 FATE by a member",
            vec![json("pop", &json!({"topic": "t1", "timeout": 50, "msgFlag": 1}))],
            osx("E0000000601"),
        ),
        (
            "5.4-4 FATE by a member that says nothing",
            vec![json("pop", &json!({"topic": "t1", "timeout": 50, "msgFlag": null}))],
            osx("E0000000601"),
        ),
        (
            "5.2 FATE pushes",
            vec![json("push", &json!({"topic": "t1", "payload": "aGVsbG8=", "msgCode": 1}))],
            osx("E0000000000"),
        ),
        (
            "5.2 FATE pops once what was encoded once",
            vec![push(), pop().header("x-ptp-tech-provider-code", "FATE")],
            Then::Json(
                json!({"payload": "aGVsbG8=", "content": "aGVsbG8=", "code": "E0000000000", "message": "请求成功", "msg": "请求成功"}),
            ),
        ),
        (
            "5.2 FATE peeks",
            vec![push(), json("peek", &json!({"topic": "t1"})).header("x-ptp-tech-provider-code", "FATE")],
            Then::Json(
                json!({"payload": "aGVsbG8=", "content": "aGVsbG8=", "code": "E0000000000", "message": "请求成功", "msg": "请求成功"}),
            ),
        ),
        (
            "5.2 FATE releases",
            vec![json("release", &json!({"topic": "t1"})).header("x-ptp-tech-provider-code", "FATE")],
            osx("E0000000000"),
        ),
        (
            "5.2 FATE is refused",
            vec![json("push", &json!({"topic": "t1"})).header("x-ptp-tech-provider-code", "FATE")],
            Then::Msg("E0000000400"),
        ),
        (
            "5.2 FATE invokes",
            vec![osx_invoke("push", r#"{"topic":"t1","payload":"aGVsbG8=","msgFlag":1}"#)],
            osx("E0000000000"),
        ),
        (
            "5.2 FATE invokes a pop",
            vec![push(), osx_invoke("pop", r#"{"topic":"t1"}"#)],
            Then::Json(
                json!({"payload": "aGVsbG8=", "content": "aGVsbG8=", "code": "E0000000000", "message": "请求成功", "msg": "请求成功"}),
            ),
        ),
        (
            "5.2 FATE invokes a pop that expires",
            vec![osx_invoke("pop", r#"{"topic":"t1","timeout":50}"#)],
            osx("E0000000601"),
        ),
        (
            "5.4-5 Kuscia by the type",
            vec![with(raw("push", "hello"), &[TOPIC, SOURCE, ("content-type", "application/proto")]), pop()],
            hello(),
        ),
        ("5.4-5 Kuscia by Accept", vec![kuscia_push(), with(raw("peek", "{}"), &[TOPIC, TARGET, PROTO])], KUSCIA_HELLO),
        ("5.4-6 Kuscia by a query timeout", vec![with(raw("push?timeout=5", "{}"), &[TOPIC, SOURCE])], KUSCIA_EMPTY),
        ("5.4-6 Kuscia by a body that is no object", vec![with(form("hello"), &[TOPIC, SOURCE])], KUSCIA_EMPTY),
        // Milliseconds, then: they have to do for JetStream too.
        ("5.4-6 needs a source", vec![with(raw("push?timeout=5000", "{\"payload\":\"\"}"), &[TOPIC])], ok()),
        (
            "5.4-6 not a JSON object",
            vec![with(raw("push", r#"{"topic":"t2","payload":"aGVsbG8="}"#), &[TOPIC, SOURCE]), pop()],
            hello(),
        ),
        ("5.4-7 Kuscia pops", vec![kuscia_push(), kuscia_pop("alice")], KUSCIA_HELLO),
        ("5.4-7 Kuscia peeks", vec![kuscia_push(), with(raw("peek", ""), &[TOPIC, TARGET])], KUSCIA_HELLO),
        (
            "5.3 of another sender",
            vec![kuscia_push(), with(raw("peek", ""), &[TOPIC, ("x-ptp-target-node-id", "bob")])],
            KUSCIA_EMPTY,
        ),
        (
            "5.4-7 not with a topic in the query",
            vec![with(get("peek?topic=t1"), &[TOPIC, ("x-ptp-target-node-id", A)])],
            ok(),
        ),
        (
            "5.4-7 not with a body",
            vec![push(), with(raw("peek", "{}"), &[TOPIC, ("x-ptp-target-node-id", A)])],
            hello(),
        ),
        ("5.4-7 not without a target", vec![push(), with(get("peek"), &[TOPIC])], hello()),
        ("5.4-8 Kuscia releases", vec![raw("release", "")], KUSCIA_EMPTY),
        ("5.4-8 not by GET", vec![get("release?topic=t1")], ok()),
        ("5.4-9 curl -d", vec![form(r#"{"topic":"t1","payload":"aGVsbG8="}"#), pop()], hello()),
        ("5.4-9 without a type", vec![raw("push", " \n{\"topic\":\"t1\",\"payload\":\"aGVsbG8=\"}"), pop()], hello()),
        ("5.4-10 no body", vec![push(), raw("pop?topic=t1", "").header("x-ptp-timeout", "50")], hello()),
        ("5.4-11 a form of a pop", vec![push(), form_of("pop", "Topic=t1&Timeout=50")], hello()),
        ("5.4-11 a form's timeout that is none", vec![form_of("pop", "topic=t1&timeout=soon")], BAD),
        ("5.4-11 a form", vec![form("topic=t1&payload=aGVsbG8%3D"), pop()], hello()),
        ("5.4-12 text", vec![raw("push", "hello").header("content-type", "text/plain")], UNBINDABLE),
        ("5.4-12 bytes", vec![raw("push", "hello")], Then::Status(400, "text/plain; charset=utf-8")),
        ("3.3 XML", vec![raw("pop", "<x/>").header("content-type", "application/xml")], UNBINDABLE),
        ("3.3 YAML", vec![raw("pop", "x: 1").header("content-type", "application/yaml")], UNBINDABLE),
        ("3.3 msgpack", vec![raw("pop", "x").header("content-type", "application/msgpack")], UNBINDABLE),
        ("3.3 TOML", vec![raw("pop", "x = 1").header("content-type", "application/toml")], UNBINDABLE),
        (
            "3.3 multipart",
            vec![raw("pop", "--x--").header("content-type", "multipart/form-data; boundary=x")],
            UNBINDABLE,
        ),
    ]
}

/// An operation within an invoke of FATE's.
fn osx_invoke(op: &str, inner: &str) -> Ask {
    let ask = raw("invoke", json!({ "payload": STANDARD.encode(inner) }).to_string());
    ask.header("x-ptp-tech-provider-code", "FATE").header("x-ptp-uri", &format!("/v1/interconn/chan/{op}"))
}

/// PTP section 5.3: what Kuscia's calls need, and whom they mean.
pub(super) fn kuscia() -> Vec<Row> {
    const BY_B: (&str, &str) = ("x-ptp-source-node-id", B);
    const NOBODY: (&str, &str) = ("x-ptp-target-node-id", "LX9999999999999");
    let by_type = |op: &str, body: &'static str| raw(op, body).header("content-type", "application/proto");
    // What is refused before anybody reads the body.
    let large = |op: &str| raw(op, vec![7; MAX_BODY + 1]);
    let packed = ("content-encoding", "br");
    let long = "t".repeat(1025);
    vec![
        ("13.2 a push above the limit", vec![with(large("push?timeout=5"), &[TOPIC, SOURCE])], KUSCIA_TOO_LARGE),
        ("13.2 an invoke above the limit", vec![with(large("invoke"), &[TOPIC, SOURCE])], KUSCIA_TOO_LARGE),
        ("13.2 a push that is packed", vec![with(raw("push?timeout=5", "x"), &[TOPIC, SOURCE, packed])], KUSCIA_PACKED),
        ("13.2 a pop that is packed", vec![with(raw("pop?timeout=1", ""), &[TOPIC, TARGET, packed])], KUSCIA_PACKED),
        ("4.1 an endless topic", vec![raw("invoke", "x").header("x-ptp-topic", &long)], KUSCIA_BAD),
        (
            "5.4-5 a later word of Accept",
            vec![with(large("push"), &[("accept", "*/*, application/proto")])],
            KUSCIA_TOO_LARGE,
        ),
        ("5.3 a push without a topic", vec![with(by_type("push", "hello"), &[SOURCE])], KUSCIA_BAD),
        ("5.3 a push without a source", vec![with(by_type("push", "hello"), &[TOPIC])], KUSCIA_BAD),
        ("5.3 an invoke without a source", vec![with(raw("invoke", "hello"), &[TOPIC])], KUSCIA_BAD),
        ("5.3 an empty push", vec![with(raw("push?timeout=1", ""), &[TOPIC, SOURCE])], KUSCIA_BAD),
        ("5.3 an empty transport", vec![with(raw("transport", ""), &[TOPIC, SOURCE])], KUSCIA_BAD),
        ("5.3 a pop without a topic", vec![with(raw("pop?timeout=1", ""), &[TARGET, PROTO])], KUSCIA_BAD),
        ("5.3 a pop without a sender", vec![with(raw("pop?timeout=1", ""), &[TOPIC, PROTO])], KUSCIA_BAD),
        ("5.3 a peek without a topic", vec![with(raw("peek", ""), &[TARGET, PROTO])], KUSCIA_BAD),
        ("5.3 a peek without a sender", vec![with(raw("peek", ""), &[TOPIC, PROTO])], KUSCIA_BAD),
        ("5.3 a timeout that is none", vec![with(get("pop?timeout=soon"), &[TOPIC, TARGET])], KUSCIA_BAD),
        ("5.3 a timeout of a push that is none", vec![with(raw("push?timeout=1s", "x"), &[TOPIC, SOURCE])], KUSCIA_BAD),
        ("5.3 senders compare without regard to case", vec![kuscia_push(), kuscia_pop("ALICE")], KUSCIA_HELLO),
        (
            "5.3 the oldest of the sender",
            vec![
                with(raw("push?timeout=5", "bob's"), &[TOPIC, ("x-ptp-source-node-id", "bob")]),
                kuscia_push(),
                kuscia_pop("alice"),
            ],
            KUSCIA_HELLO,
        ),
        (
            "5.3 the published dialect takes the oldest of all",
            vec![kuscia_push(), with(raw("push?timeout=5", "bob's"), &[TOPIC, ("x-ptp-source-node-id", "bob")]), pop()],
            hello(),
        ),
        (
            "5.3 a partner as the sender: its messages here",
            vec![with(raw("push?timeout=5", "hello"), &[TOPIC, BY_B]), kuscia_pop(B)],
            KUSCIA_HELLO,
        ),
        (
            "5.3 a peek leaves it",
            vec![kuscia_push(), with(get("peek"), &[TOPIC, TARGET]), kuscia_pop("alice")],
            KUSCIA_HELLO,
        ),
        ("5.3 a release is local", vec![with(raw("release", ""), &[NOBODY])], KUSCIA_EMPTY),
        ("5.3 a release of a topic", vec![kuscia_push(), with(raw("release", ""), &[TOPIC]), pop()], ok()),
    ]
}
