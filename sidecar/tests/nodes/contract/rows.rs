//! What the rows over HTTP are written with: requests, and what the answers must be.

use serde_json::{Value, json};

use super::wire::Ask;

/// What an answer must be.
pub(super) enum Then {
    /// JSON, whole.
    Json(Value),
    /// JSON with this code, with HTTP 200.
    Code(&'static str),
    /// The same with `msg`, as FATE reads it.
    Msg(&'static str),
    /// Another status, and a content type.
    Status(u16, &'static str),
    /// Kuscia's layout: its bytes, in hexadecimal; the text is left out.
    Kuscia(&'static str),
}

/// A row: what is asked in order, and what the last one hears.
pub(super) type Row = (&'static str, Vec<Ask>, Then);

pub(super) fn json(op: &str, body: &Value) -> Ask {
    raw(op, body.to_string()).header("content-type", "application/json")
}

pub(super) fn raw(op: &str, body: impl Into<bytes::Bytes>) -> Ask {
    Ask::post(format!("/v1/interconn/chan/{op}"), body)
}

pub(super) fn get(op: &str) -> Ask {
    Ask::get(format!("/v1/interconn/chan/{op}"))
}

/// `{"topic":"t1","payload":"aGVsbG8="}`.
pub(super) fn push() -> Ask {
    json("push", &json!({"topic": "t1", "payload": "aGVsbG8="}))
}

pub(super) fn pop() -> Ask {
    json("pop", &json!({"topic": "t1", "timeout": 50}))
}

pub(super) fn form(body: &'static str) -> Ask {
    form_of("push", body)
}

pub(super) fn form_of(op: &str, body: &'static str) -> Ask {
    raw(op, body).header("content-type", "application/x-www-form-urlencoded")
}

pub(super) fn with(ask: Ask, headers: &[(&str, &str)]) -> Ask {
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
}

/// What Kuscia's calls name.
pub(super) const TOPIC: (&str, &str) = ("x-ptp-topic", "t1");
pub(super) const SOURCE: (&str, &str) = ("x-ptp-source-node-id", "alice");
pub(super) const TARGET: (&str, &str) = ("x-ptp-target-node-id", "alice");
pub(super) const PROTO: (&str, &str) = ("accept", "application/proto");

/// A push of `hello` by alice.
pub(super) fn kuscia_push() -> Ask {
    with(raw("push?timeout=5", "hello"), &[TOPIC, SOURCE])
}

/// A pop of what `sender` pushed.
pub(super) fn kuscia_pop(sender: &str) -> Ask {
    with(get("pop?timeout=1"), &[TOPIC, ("x-ptp-target-node-id", sender)])
}

pub(super) fn ok() -> Then {
    Then::Json(json!({"code": "E0000000000", "message": "请求成功"}))
}

pub(super) fn hello() -> Then {
    Then::Json(json!({"payload": "aGVsbG8=", "content": "aGVsbG8=", "code": "E0000000000", "message": "请求成功"}))
}

/// HTTP 400 and a text.
pub(super) const UNBINDABLE: Then = Then::Status(400, "text/plain; charset=utf-8");
pub(super) const NOBODYS: Then = Then::Status(404, "application/json");
pub(super) const BAD: Then = Then::Code("E0000000400");
/// `E0000000000` as the second member, payload `hello` as the first.
pub(super) const KUSCIA_HELLO: Then = Then::Kuscia("0a0568656c6c6f120b4530303030303030303030");
pub(super) const KUSCIA_EMPTY: Then = Then::Kuscia("120b4530303030303030303030");
pub(super) const KUSCIA_TOO_LARGE: Then = Then::Kuscia("120b4530303030303030343133");
pub(super) const KUSCIA_PACKED: Then = Then::Kuscia("120b4530303030303030363136");
pub(super) const KUSCIA_BAD: Then = Then::Kuscia("120b4530303030303030343030");
