//! Requests of backends that are bad, odd or large (Grid section 11).

use std::net::Ipv4Addr;

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::Stage;
use crate::harness::from;

/// What is no request or has a parameter that is none, and its code.
const REFUSED: &[(&str, u64)] = &[
    ("{", 101),
    ("", 101),
    ("[]", 101),
    ("7", 101),
    (r#"{"p":{}}"#, 101),
    (r#"{"m":7}"#, 101),
    (r#"{"m":" "}"#, 100),
    (r#"{"m":"mesh.shout","p":{}}"#, 100),
    (r#"{"m":"mesh.send","p":7}"#, 101),
    (r#"{"m":"mesh.send","p":{"d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":"","d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":" 7","d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":"+7","d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":-7,"d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":0,"d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":"18446744073709551616","d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":true,"d":"x"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":9007199254740993,"d":"x"}}"#, 401),
    (r#"{"m":"mesh.send","p":{"c":"7"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":"7","d":"x","t":"audio"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":"7","d":"%","t":"binary"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":"7","d":{},"t":"binary"}}"#, 101),
    (r#"{"m":"mesh.send","p":{"c":"7","d":"AQ","t":"binary"}}"#, 401),
    (r#"{"m":"mesh.publish","p":{"c":"a b","d":"x"}}"#, 101),
    (r#"{"m":"mesh.publish","p":{"c":"a\u0007","d":"x"}}"#, 101),
    (r#"{"m":"mesh.publish","p":{"c":"","d":"x"}}"#, 101),
    (r#"{"m":"conn.call","p":{"c":"7","a":[]}}"#, 101),
    (r#"{"m":"conn.call","p":{"c":"7","f":7,"a":[]}}"#, 101),
    (r#"{"m":"conn.call","p":{"c":"7","f":"subscribe","a":{}}}"#, 101),
    (r#"{"m":"conn.call","p":{"c":"7","f":"fly","a":[]}}"#, 301),
    (r#"{"m":"queue.ack","p":{"k":7}}"#, 504),
    (r#"{"m":"server.ping","i":1,"id":2}"#, 101),
    (r#"{"m":"server.ping","i":{}}"#, 101),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_request_has_its_code_and_harms_nobody() {
    each_bad_request_has_its_code_and_harms_nobody_at(&Stage::new(&json!({})).await).await;
}

pub(super) async fn each_bad_request_has_its_code_and_harms_nobody_at(stage: &Stage) {
    let mut backend = stage.backend().await;
    for (request, code) in REFUSED {
        backend.says(request).await;
        let answer = backend.hears_json().await;
        assert_eq!(answer["E"]["c"], json!(code), "{request}: {answer}");
        assert!(answer["E"]["m"].as_str().is_some_and(|text| !text.is_empty()) && answer.get("r").is_none());
        // A good one begins the count of bad ones anew.
        assert_eq!(backend.asks(&json!({"m": "server.ping", "p": [], "i": 1})).await["r"], json!({"s": true}));
    }
    backend.sends(Message::binary(b"{}".as_slice())).await;
    assert_eq!(backend.hears_json().await["E"]["c"], 101, "a request is a text");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_requests_come_back_digit_by_digit() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.backend().await;
    for id in ["12345", "18446744073709551615", "123456789012345678901234567890", "1.50", "-0", "\"a\"", "true", "null"]
    {
        for key in ["i", "id"] {
            backend.says(&format!(r#"{{"m":"server.ping","{key}":{id}}}"#)).await;
            assert_eq!(backend.hears().await, format!(r#"{{"E":null,"r":{{"s":true}},"i":{id}}}"#));
        }
    }
    backend.says(r#"{"m":"server.ping","i":7,"id":7}"#).await;
    assert_eq!(backend.hears().await, r#"{"E":null,"r":{"s":true},"i":7}"#);
    backend.says(r#"{"m":"server.ping"}"#).await;
    assert_eq!(backend.hears().await, r#"{"E":null,"r":{"s":true},"i":null}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_bad_requests_in_a_row_end_a_connection_and_nine_do_not() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.backend().await;
    for round in 0..2 {
        for _ in 0..9 {
            backend.says("{").await;
            let mut answer = backend.hears_json().await;
            answer["E"]["m"].take();
            assert_eq!(answer, json!({"E": {"c": 101, "m": null}, "i": null}), "round {round}");
        }
        backend.says("ping").await;
        assert_eq!(backend.hears().await, "pong");
    }
    for _ in 0..10 {
        backend.says("{").await;
    }
    assert_eq!(backend.is_closed().await, 1008);
    let stage = Stage::new(&json!({"backend": {"protocolErrors": 2}})).await;
    let mut backend = stage.backend().await;
    for request in ["{", "ping", "{", r#"{"m":"no such method"}"#] {
        backend.says(request).await;
    }
    assert_eq!(backend.is_closed().await, 1008, "as many as the configuration says");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_answered_in_the_envelope_whatever_its_status() {
    let stage = Stage::new(&json!({})).await;
    let send = async |method: Method, path: &str, form: &str, body: Vec<u8>| {
        let request = Request::builder().method(method).uri(path).header("content-type", form);
        from(Ipv4Addr::LOCALHOST, stage.api, request.body(Full::new(body.into())).unwrap()).await
    };
    let good = br#"{"c":"a","d":"x"}"#.to_vec();
    let large = vec![b' '; (1 << 20) + 1];
    let table = [
        (Method::GET, "/v1/mesh/send", "application/json", Vec::new(), 405, 101),
        (Method::PUT, "/v1/mesh/publish", "application/json", good.clone(), 405, 101),
        (Method::POST, "/v1/mesh/shout", "application/json", good.clone(), 404, 100),
        (Method::POST, "/", "application/json", good.clone(), 404, 100),
        (Method::POST, "/v1/mesh/publish", "application/json", large, 413, 101),
        (Method::POST, "/v1/mesh/publish", "application/json", Vec::new(), 200, 101),
        (Method::POST, "/v1/mesh/publish", "application/json", b"[1".to_vec(), 200, 101),
        (Method::POST, "/v1/mesh/publish", "application/json", b"7".to_vec(), 200, 101),
        (Method::POST, "/v1/mesh/publish", "application/json", vec![b'"', 0xff, b'"'], 200, 101),
        (Method::GET, "/ws/v1", "text/plain", Vec::new(), 426, 101),
    ];
    for (method, path, form, body, status, code) in table {
        let answer = send(method.clone(), path, form, body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["E"]["c"]), (status, &json!(code)), "{method} {path}");
    }
    assert_eq!(send(Method::GET, "/v1/mesh/send", "a/b", Vec::new()).await.headers["allow"], "POST");
    let odd = send(Method::POST, "/v1/mesh/publish", "text/plain", good).await;
    assert_eq!(odd.text(), r#"{"E":null,"r":{"s":0,"f":0}}"#, "any content type, if the body is JSON");
    let with_id = stage.post("/v1/mesh/publish", r#"{"c":"a","d":"x","i":10000000000000000001}"#).await;
    assert_eq!(with_id.text(), r#"{"E":null,"r":{"s":0,"f":0},"i":10000000000000000001}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_mirrors_what_the_body_says_where_that_is_configured() {
    let stage = Stage::new(&json!({"backend": {"httpStatus": "Mirror"}})).await;
    let gone = stage.post("/v1/mesh/send", r#"{"c":"7","d":"x"}"#).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["E"]["k"]), (410, &json!("gone")));
    assert_eq!(stage.post("/v1/mesh/send", "{}").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_their_form_and_are_bounded() {
    messages_keep_their_form_and_are_bounded_at(&Stage::new(&json!({})).await).await;
}

pub(super) async fn messages_keep_their_form_and_are_bounded_at(stage: &Stage) {
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    let send =
        |data: &str, form: &str| format!(r#"{{"m":"mesh.send","p":{{"c":{id},"d":{data},"t":"{form}"}},"i":1}}"#);
    for (data, text) in [
        (r#""hä""#, "hä"),
        (r#"{ "n": 10000000000000000001, "x": 1.50 }"#, r#"{"n":10000000000000000001,"x":1.50}"#),
        ("[1, 2]", "[1,2]"),
        ("7", "7"),
    ] {
        backend.says(&send(data, "text")).await;
        assert_eq!(
            (backend.hears_json().await["r"].clone(), user.hears().await),
            (json!({"s": true}), text.to_owned())
        );
    }
    for data in ["\"+/8=\"", "\"+/8\"", "\"-_8\"", "\"-_8=\""] {
        backend.says(&send(data, "binary")).await;
        assert_eq!(backend.hears_json().await["r"], json!({"s": true}), "{data}");
        assert_eq!(user.next().await, Message::binary(vec![0xfb, 0xff]));
    }
    let largest = "x".repeat(64 << 10);
    backend.says(&send(&json!(largest).to_string(), "text")).await;
    assert_eq!(backend.hears_json().await["r"], json!({"s": true}));
    assert_eq!(user.hears().await, largest);
    backend.says(&send(&json!(format!("{largest}x")).to_string(), "text")).await;
    let refused = backend.hears_json().await;
    assert_eq!((&refused["E"]["c"], &refused["E"]["k"]), (&json!(401), &json!("too_large")));
    user.says(&format!("{largest}x")).await;
    assert_eq!(user.is_closed().await, 1009);
    let large = json!({"m": "mesh.send", "p": {"c": "7", "d": "x".repeat(1 << 20)}});
    backend.says(&large.to_string()).await;
    assert_eq!(backend.hears_json().await["E"]["c"], 101);
    assert_eq!(backend.is_closed().await, 1009, "an API message over its bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_and_contexts_are_bounded() {
    channels_and_contexts_are_bounded_at(&Stage::new(&json!({})).await).await;
}

pub(super) async fn channels_and_contexts_are_bounded_at(stage: &Stage) {
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    let call = |function: &str, arguments: Value| json!({"m": "conn.call", "p": {"c": id, "f": function, "a": arguments}, "i": 1});
    let names = |range: std::ops::Range<usize>| range.map(|n| json!(format!("c{n}"))).collect::<Value>();
    let longest = "c".repeat(255);
    let table = [
        (call("subscribe", names(0..127)), json!(null)),
        (call("subscribe", names(100..130)), json!(301)),
        (call("subscribe", json!(["c1", "c1", longest])), json!(null)),
        (call("subscribe", json!(["c1"])), json!(null)),
        (call("subscribe", json!(["one more"])), json!(101)),
        (call("subscribe", json!(["one-more"])), json!(301)),
        (call("subscribe", json!([format!("{longest}c")])), json!(101)),
        (call("unsubscribe", json!(["unknown", "c1"])), json!(null)),
        (call("set_context_value", json!(["big", "x".repeat(17 << 10)])), json!(301)),
        (call("set_context_value", json!(["__mine", 1])), json!(101)),
        (call("set_context", json!([{"a": 1, "b": 2}])), json!(null)),
        (call("merge_context", json!([{"b": 3}])), json!(null)),
    ];
    for (request, code) in table {
        let answer = backend.asks(&request).await;
        assert_eq!(answer["E"]["c"], code, "{}: {answer}", &request.to_string()[..60]);
    }
    let context = backend.asks(&call("get_context", json!([]))).await;
    assert_eq!(context["r"], json!({"s": true, "context": {"a": 1, "b": 3}}));
    backend.asks(&call("set_context", json!([{"c": 4}]))).await;
    let context = backend.asks(&call("get_context", json!([]))).await;
    assert_eq!(context["r"]["context"], json!({"c": 4}), "set_context replaces");
    let published = json!({"m": "mesh.publish", "p": {"c": ["c2", "c3", "c2"], "d": "once"}});
    assert_eq!(backend.asks(&published).await["r"], json!({"s": 1, "f": 0}));
    assert_eq!(user.hears().await, "once");
    let info = backend.asks(&call("info", json!([]))).await;
    assert_eq!((&info["r"]["c"], info["r"]["channels"].as_array().unwrap().len()), (&json!(id), 127));
    assert_eq!(backend.asks(&call("close", json!([4001, "bye"]))).await["r"], json!({"s": true}));
    assert_eq!(user.is_closed().await, 4001);
}
