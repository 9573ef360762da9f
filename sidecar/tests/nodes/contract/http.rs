//! Exact requests and answers over HTTP (PTP sections 3, 4, 5.4 and 13.2). Each row runs in a session of its own over HTTP/1.1
//! and h2c; of a refusal the code is compared, of everything else the whole body.

use http::Method;
use serde_json::{Value, json};

use super::{
    stage::{MAX_BODY, Stage},
    wire::{Ask, Heard, Transport},
};
use crate::harness::A;

/// What an answer must be.
enum Then {
    /// JSON, whole.
    Json(Value),
    /// JSON with this code, with HTTP 200.
    Code(&'static str),
    /// Another status, and a content type.
    Status(u16, &'static str),
    /// Kuscia's layout: its bytes, in hexadecimal; the text is left out.
    Kuscia(&'static str),
}

/// A row: what is asked in order, and what the last one hears.
type Row = (&'static str, Vec<Ask>, Then);

fn json(op: &str, body: &Value) -> Ask {
    raw(op, body.to_string()).header("content-type", "application/json")
}

fn raw(op: &str, body: impl Into<bytes::Bytes>) -> Ask {
    Ask::post(format!("/v1/interconn/chan/{op}"), body)
}

fn get(op: &str) -> Ask {
    Ask::get(format!("/v1/interconn/chan/{op}"))
}

/// `{"topic":"t1","payload":"aGVsbG8="}`.
fn push() -> Ask {
    json("push", &json!({"topic": "t1", "payload": "aGVsbG8="}))
}

fn pop() -> Ask {
    json("pop", &json!({"topic": "t1", "timeout": 50}))
}

fn form(body: &'static str) -> Ask {
    raw("push", body).header("content-type", "application/x-www-form-urlencoded")
}

fn ok() -> Then {
    Then::Json(json!({"code": "E0000000000", "message": "请求成功"}))
}

fn hello() -> Then {
    Then::Json(json!({"payload": "aGVsbG8=", "content": "aGVsbG8=", "code": "E0000000000", "message": "请求成功"}))
}

const BAD: Then = Then::Code("E0000000400");
/// `E0000000000` as the second member, payload `hello` as the first.
const KUSCIA_HELLO: Then = Then::Kuscia("0a0568656c6c6f120b4530303030303030303030");
const KUSCIA_EMPTY: Then = Then::Kuscia("120b4530303030303030303030");

fn bodies() -> Vec<Row> {
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
        ("9.1 the longest topic", vec![json("push", &json!({"topic": "t".repeat(1025), "payload": ""}))], BAD),
        ("4.1 the longest header", vec![push().header("x-ptp-topic", &"t".repeat(1025))], BAD),
        ("16 a coding of the content", vec![push().header("content-encoding", "gzip")], Then::Code("E0000000616")),
        (
            "13.2 a body above the limit",
            vec![json("push", &json!({"payload": "A".repeat(MAX_BODY)}))],
            Then::Code("E0000000413"),
        ),
    ]
}

/// PTP section 5.4, line by line, told by the answer.
fn dialects() -> Vec<Row> {
    const TOPIC: (&str, &str) = ("x-ptp-topic", "t1");
    const SOURCE: (&str, &str) = ("x-ptp-source-node-id", "alice");
    const TARGET: (&str, &str) = ("x-ptp-target-node-id", "alice");
    let with =
        |ask: Ask, headers: &[(&str, &str)]| headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
    let kuscia_push = || with(raw("push?timeout=5", "hello"), &[TOPIC, SOURCE]);
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
        ("5.4-4 FATE by its provider", vec![pop().header("x-ptp-tech-provider-code", "Fate")], osx("E0000000601")),
        ("5.4-4 FATE by a header", vec![pop().header("fate-message-flag", "1")], osx("E0000000601")),
        (
            "5.4-4 FATE by a member",
            vec![json("pop", &json!({"topic": "t1", "timeout": 50, "msgFlag": 1}))],
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
            "5.4-5 Kuscia by the type",
            vec![with(raw("push", "hello"), &[TOPIC, ("content-type", "application/proto")]), pop()],
            hello(),
        ),
        (
            "5.4-5 Kuscia by Accept",
            vec![kuscia_push(), with(raw("peek", "{}"), &[TOPIC, TARGET, ("accept", "application/proto")])],
            KUSCIA_HELLO,
        ),
        ("5.4-6 Kuscia by a query timeout", vec![with(raw("push?timeout=5", "{}"), &[TOPIC, SOURCE])], KUSCIA_EMPTY),
        ("5.4-6 Kuscia by a body that is no object", vec![with(form("hello"), &[TOPIC, SOURCE])], KUSCIA_EMPTY),
        ("5.4-6 needs a source", vec![with(raw("push?timeout=5", "{\"payload\":\"\"}"), &[TOPIC])], ok()),
        ("5.4-7 Kuscia pops", vec![kuscia_push(), with(get("pop?timeout=1"), &[TOPIC, TARGET])], KUSCIA_HELLO),
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
        ("5.4-8 Kuscia releases", vec![raw("release", "")], KUSCIA_EMPTY),
        ("5.4-8 not by GET", vec![get("release?topic=t1")], ok()),
        ("5.4-9 curl -d", vec![form(r#"{"topic":"t1","payload":"aGVsbG8="}"#), pop()], hello()),
        ("5.4-9 without a type", vec![raw("push", " \n{\"topic\":\"t1\",\"payload\":\"aGVsbG8=\"}"), pop()], hello()),
        ("5.4-10 no body", vec![push(), raw("pop?topic=t1", "").header("x-ptp-timeout", "50")], hello()),
        ("5.4-11 a form", vec![form("topic=t1&payload=aGVsbG8%3D"), pop()], hello()),
        (
            "5.4-12 text",
            vec![raw("push", "hello").header("content-type", "text/plain")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
        ("5.4-12 bytes", vec![raw("push", "hello")], Then::Status(400, "text/plain; charset=utf-8")),
        (
            "3.3 XML",
            vec![raw("pop", "<x/>").header("content-type", "application/xml")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
        (
            "3.3 YAML",
            vec![raw("pop", "x: 1").header("content-type", "application/yaml")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
        (
            "3.3 msgpack",
            vec![raw("pop", "x").header("content-type", "application/msgpack")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
        (
            "3.3 TOML",
            vec![raw("pop", "x = 1").header("content-type", "application/toml")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
        (
            "3.3 multipart",
            vec![raw("pop", "--x--").header("content-type", "multipart/form-data; boundary=x")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
    ]
}

/// PTP sections 4.1 and 4.3.
fn headers() -> Vec<Row> {
    let session = |name: &str| push().header(name, "generations");
    let read = || pop().header("x-ptp-session-id", "generations");
    vec![
        ("4.1 x-ptp-session-id", vec![session("X-PTP-Session-ID"), read()], hello()),
        ("4.1 mesh-session-id", vec![session("mesh-session-id"), read()], hello()),
        ("4.1 underscores", vec![session("x_ptp_session_id"), read()], hello()),
        ("4.1 both families", vec![session("x-ptp-session-id").header("mesh-session-id", "other"), read()], hello()),
        (
            "4.1 both families, the other way round",
            vec![push().header("mesh-session-id", "other").header("x-ptp-session-id", "generations"), read()],
            hello(),
        ),
        (
            "4.1 an unknown header",
            vec![session("x-ptp-session-id").header("x-ptp-unheard-of", "\u{7f51}"), read()],
            hello(),
        ),
    ]
}

/// PTP sections 3.1, 3.2 and 13.2.
fn paths() -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        ("3.1 a path of nobody", vec![Ask::get("/nothing/here")], Then::Status(404, "application/json")),
        ("3.1 mpx", vec![Ask::post("/mpx", "{}")], Then::Status(404, "application/json")),
        ("3.1 node/query", vec![Ask::post("/v1/interconn/node/query", "{}")], Then::Status(404, "application/json")),
        ("3.1 chan/browse", vec![raw("browse", "{}")], Then::Status(404, "application/json")),
        (
            "7 generic, and no gRPC",
            vec![Ask::post("/mesh-rpc/v1", "{}")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
        (
            "7 no JSON",
            vec![Ask::post("/mesh/invoke", "x").header("mesh-urn", "mesh.net.environ")],
            Then::Status(400, "text/plain; charset=utf-8"),
        ),
        (
            "7 no such MPI",
            vec![Ask::post("/mesh/invoke", "").header("mesh-urn", "mesh.no.such")],
            Then::Code("E0000000404"),
        ),
        ("7 no MPI at all", vec![Ask::post("/mesh/invoke", "{}")], Then::Code("E0000000404")),
        (
            "7 a blank body has no arguments",
            vec![Ask::post("/mesh/invoke", "").header("mesh-urn", "mesh.chan.peek")],
            ok(),
        ),
    ];
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE] {
        for path in ["/v1/interconn/chan/push", "/v1/interconn/node/refresh", "/mesh/invoke", "/stats"] {
            let then = Then::Status(405, "text/plain; charset=utf-8");
            rows.push(("3.2 another method", vec![Ask::get(path).method(method.clone())], then));
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_http_are_answered_as_the_contract_says() {
    let stage = Stage::set().await;
    for transport in [Transport::Http1, Transport::H2c] {
        let mut wire = stage.wire(transport).await;
        for (at, (name, asks, then)) in [bodies(), dialects(), headers(), paths()].into_iter().flatten().enumerate() {
            let session = format!("{transport:?}-{at}");
            let mut last = None;
            for ask in asks {
                last = Some(wire.send(stage.node.data, in_session(ask, &session)).await);
            }
            check(&format!("{transport:?}, {name}"), &last.unwrap(), &then);
        }
    }
}

/// Gives a request a session of its own row; one that names its session means it, and is kept apart all the same.
fn in_session(mut ask: Ask, session: &str) -> Ask {
    let is_session = |name: &str| name.to_lowercase().replace('_', "-").ends_with("-session-id");
    let mut named = ask.headers.iter_mut().filter(|(name, _)| is_session(name)).peekable();
    if named.peek().is_none() {
        return ask.header("x-ptp-session-id", session);
    }
    named.for_each(|(_, named)| named.push_str(session));
    ask
}

fn check(name: &str, heard: &Heard, then: &Then) {
    let head = (heard.status, heard.header("content-type"));
    assert!(!matches!(then, Then::Json(_) | Then::Code(_)) || head.1 == "application/json", "{name}: {heard:?}");
    match then {
        Then::Json(body) => assert_eq!((head, &heard.json()), ((200, "application/json"), body), "{name}"),
        Then::Code(code) => {
            assert_eq!((head, heard.json()["code"].as_str()), ((200, "application/json"), Some(*code)), "{name}");
        }
        Then::Status(status, media) => {
            assert_eq!(head, (*status, *media), "{name}: {heard:?}");
            match *status {
                404 => assert_eq!(heard.json()["code"], "E0000000404", "{name}"),
                405 => assert!(heard.header("allow").contains("GET"), "{name}"),
                _ => assert!(!heard.body.is_empty(), "{name}"),
            }
        }
        Then::Kuscia(bytes) => {
            let hex: String = heard.body.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(head, (200, "application/proto"), "{name}");
            assert!(hex.starts_with(bytes), "{name}: {hex}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_session_is_one_of_its_own_and_is_never_over() {
    let stage = Stage::set().await;
    for transport in [Transport::Http1, Transport::H2c] {
        let mut wire = stage.wire(transport).await;
        let mut ask = async |ask: Ask| wire.send(stage.node.data, ask).await;
        check("push", &ask(push()).await, &ok());
        check("of a session", &ask(pop().header("x-ptp-session-id", "named")).await, &ok());
        check("pop", &ask(pop()).await, &hello());
        check("release", &ask(json("release", &json!({"topic": ""}))).await, &ok());
        check("pop", &ask(pop()).await, &ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stats_answer_as_bare_text() {
    let stage = Stage::set().await;
    for transport in [Transport::Http1, Transport::H2c, Transport::TlsH2] {
        let heard = stage.wire(transport).await.send(stage.node.data, Ask::get("/stats")).await;
        assert_eq!(
            (heard.status, &heard.body[..], heard.header("x-mesh-kind")),
            (200, &b"E0000000000"[..], "interconn/1")
        );
    }
}
