//! Exact requests and answers over HTTP (PTP sections 3 to 5, 7 to 9 and 13.2). Each row runs in a session of its own over
//! HTTP/1.1 and h2c; of a refusal the code is compared, of everything else the whole body. The rows stand in `bodies.rs`,
//! `dialects.rs`, `headers.rs` and `paths.rs`.

use serde_json::json;

use super::{
    bodies::bodies,
    dialects::{dialects, kuscia},
    headers::headers,
    paths::{documents, paths},
    rows::{
        KUSCIA_BAD, KUSCIA_EMPTY, KUSCIA_HELLO, PROTO, SOURCE, TARGET, TOPIC, Then, get, hello, json, kuscia_pop, ok,
        pop, push, raw, with,
    },
    stage::Stage,
    wire::{Ask, Heard, Transport, is_session},
};
use crate::harness::{B, Client, base64, over_tls};

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_http_are_answered_as_the_contract_says() {
    requests_over_http_are_answered_as_the_contract_says_at(&Stage::set().await).await;
}

pub(super) async fn requests_over_http_are_answered_as_the_contract_says_at(stage: &Stage) {
    let over = async |transport| {
        let mut wire = stage.wire(transport).await;
        let rows = [bodies(), dialects(), kuscia(), headers(), paths(), documents()].into_iter().flatten();
        for (at, (name, asks, then)) in rows.enumerate() {
            let session = format!("{transport:?}-{at}");
            let mut last = None;
            for ask in asks {
                last = Some(wire.send(stage.node.data, in_session(ask, &session)).await);
            }
            check(&format!("{transport:?}, {name}"), &last.unwrap(), &then);
        }
    };
    tokio::join!(over(Transport::Http1), over(Transport::H2c));
}

/// Gives a request a session of its own row; one that names its session means it, and is kept apart all the same.
fn in_session(mut ask: Ask, session: &str) -> Ask {
    let mut named = ask.headers.iter_mut().filter(|(name, _)| is_session(name)).peekable();
    if named.peek().is_none() {
        return ask.header("x-ptp-session-id", session);
    }
    // In front, so that one session's name still begins with another's where a row has it so.
    named.for_each(|(_, named)| named.insert_str(0, &format!("{session} ")));
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
        Then::Msg(code) => {
            let said = heard.json();
            assert_eq!((head, said["code"].as_str()), ((200, "application/json"), Some(*code)), "{name}");
            assert_eq!((&said["msg"], said["msg"].is_string()), (&said["message"], true), "{name}");
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
    the_empty_session_is_one_of_its_own_and_is_never_over_at(&Stage::set().await).await;
}

pub(super) async fn the_empty_session_is_one_of_its_own_and_is_never_over_at(stage: &Stage) {
    for transport in [Transport::Http1, Transport::H2c] {
        let mut wire = stage.wire(transport).await;
        let mut ask = async |ask: Ask| wire.send(stage.node.data, ask).await;
        check("push", &ask(push()).await, &ok());
        check("of a session", &ask(pop().header("x-ptp-session-id", "named")).await, &ok());
        check("pop", &ask(pop()).await, &hello());
        check("push, no topic either", &ask(json("push", &json!({"payload": "aGVsbG8="}))).await, &ok());
        check("pop, no topic either", &ask(json("pop", &json!({"timeout": 50}))).await, &hello());
        check("release", &ask(json("release", &json!({"topic": ""}))).await, &ok());
        check("pop", &ask(pop()).await, &ok());
        check("5.4-8 not without a session", &ask(raw("release", "")).await, &ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kuscias_calls_name_their_session() {
    kuscias_calls_name_their_session_at(&Stage::set().await).await;
}

pub(super) async fn kuscias_calls_name_their_session_at(stage: &Stage) {
    for transport in [Transport::Http1, Transport::H2c] {
        let mut wire = stage.wire(transport).await;
        for (op, ask) in [
            ("push", with(raw("push?timeout=5", "hello"), &[TOPIC, SOURCE])),
            ("invoke", with(raw("invoke", "hello"), &[TOPIC, SOURCE])),
            ("pop", with(get("pop?timeout=1"), &[TOPIC, TARGET])),
            ("peek", with(get("peek"), &[TOPIC, TARGET])),
            ("release", with(raw("release", ""), &[TOPIC, PROTO])),
        ] {
            check(op, &wire.send(stage.node.data, ask).await, &KUSCIA_BAD);
        }
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
        assert_eq!(heard.header("content-type"), "text/plain; charset=utf-8");
    }
    let stats = http::Request::get("/stats").body(http_body_util::Full::default()).unwrap();
    let nobody = over_tls(stage.node.data, Client::Nothing, stats).await;
    assert_eq!((nobody.status.as_u16(), nobody.text().as_str()), (200, "E0000000000"), "whoever asks");
    assert_eq!(nobody.headers["content-type"], "text/plain; charset=utf-8");
}

/// PTP sections 4.3 and 5: what a partner pushes is its own, whatever it leaves open and in whichever dialect.
#[tokio::test(flavor = "multi_thread")]
async fn kuscias_readers_find_a_partners_pushes_by_its_verified_id() {
    const SESSION: (&str, &str) = ("x-ptp-session-id", "theirs");
    let stage = Stage::set().await;
    let (mut partner, mut own) = (stage.wire(Transport::TlsH2).await, stage.wire(Transport::Http1).await);
    let raw = |op: &str| with(raw(&format!("{op}?timeout=5"), "hello"), &[TOPIC, SESSION]);
    let inner = json!({"payload": base64(r#"{"topic":"t1","payload":"aGVsbG8="}"#)});
    let published = with(json("invoke", &inner), &[SESSION, ("x-ptp-uri", "/v1/interconn/chan/push")]);
    for (ask, then) in [(raw("invoke"), KUSCIA_EMPTY), (raw("transport"), KUSCIA_EMPTY), (published, ok())] {
        let name = ask.path.clone();
        check(&name, &partner.send(stage.node.data, ask).await, &then);
        check(&name, &own.send(stage.node.data, with(kuscia_pop(B), &[SESSION])).await, &KUSCIA_HELLO);
    }
    let foreign = partner.send(stage.node.data, with(raw("invoke"), &[SOURCE])).await;
    check("another source", &foreign, &Then::Kuscia("120b4530303030303030343033"));
}
