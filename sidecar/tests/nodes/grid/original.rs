//! What clients of the original rely on beside the examples of its page (Grid section 2), replayed without a change.

use crds::{Listener, TopicDefaults};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Stage,
    wire::{BINARY, CLOSE, PING, PONG, TEXT, Wire, close, frame},
};

/// Every kind of frame into one topic, as an application of the original's may have it.
fn listener() -> Value {
    let rules = json!([{"match": {"frames": ["text", "binary", "close", "ping", "pong"]}, "topic": "chat"}]);
    json!({"name": "chat", "path": "/chat", "rules": rules, "events": {"handshake": "chat", "close": "chat"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_have_the_originals_names_and_the_extra_keys_of_its_applications() {
    let stage = Stage::new(&json!({"nodeNumber": 1, "listeners": [listener()]})).await;
    let mut backend = stage.consumer(&["chat"]).await;
    let mut user = Wire::to(stage.clients, "/chat", "X-App: shop\r\n").await;
    for (first, payload) in [
        (TEXT, &b"whole"[..]),
        (0x01, b"begins"),
        (PING, b"between"),
        (0x80, b"ends"),
        (BINARY, &[0xfb, 0xff]),
        (PONG, b"unasked"),
        (CLOSE, &close(1000, "")),
    ] {
        user.writes(&frame(first, payload)).await;
    }
    let begins = |event: &Value| event["p"]["d"]["event"].as_str().unwrap().to_owned();
    let came = backend.hears().await;
    assert!(came.ends_with(r#","id":null}"#), "{came}");
    let came: Value = serde_json::from_str(&came).unwrap();
    assert_eq!((begins(&came).as_str(), &came["p"]["d"]["headers"]["x-app"]), ("handshake", &json!("shop")));
    assert_eq!((&came["p"]["n"], &came["p"]["t"], &came["e"]), (&json!(1), &json!("chat"), &json!("queue.pop")));
    for (kind, data, finish) in [
        ("text", json!("whole"), true),
        ("text", json!("begins"), false),
        ("ping", json!("YmV0d2Vlbg=="), true),
        ("continuation", json!("ends"), true),
        ("binary", json!("+/8="), true),
        ("pong", json!("dW5hc2tlZA=="), true),
        ("close", json!("A+g="), true),
    ] {
        let event = backend.hears_json().await;
        let frame = json!({"type": kind, "data": data, "finish": finish});
        assert_eq!((begins(&event).as_str(), &event["p"]["d"]["frame"]), ("message", &frame));
        assert_eq!(event["p"]["c"], came["p"]["c"]);
    }
    let went = backend.hears_json().await;
    assert_eq!((begins(&went).as_str(), &went["p"]["d"]["code"]), ("close", &json!(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_the_original_needs_no_change() {
    let stage = Stage::new(&json!({"listeners": [{"name": "all", "path": "/chat"}]})).await;
    let mut backend = stage.backend().await;
    // Its own ping, and that of its older form, whose parameters stand in an array.
    backend.says("ping").await;
    assert_eq!(backend.hears().await, "pong");
    backend.sends(Message::Ping(b"beat".to_vec().into())).await;
    let done = |id: u64| format!(r#"{{"E":null,"r":{{"s":true}},"i":{id}}}"#);
    for (request, answer) in [
        (r#"{"m":"server.ping","p":[],"i":1}"#, done(1)),
        (r#"{"m":"queue.pop","p":[{"t":["default","orders"]}],"id":2}"#, done(2)),
        (r#"{"m":"queue.unpop","p":[],"i":3}"#, done(3)),
        (r#"{"m":"queue.pop","p":{"t":["default","orders"]},"i":4}"#, done(4)),
    ] {
        backend.says(request).await;
        assert_eq!(backend.hears().await, answer, "{request}");
    }
    backend.says(r#"{"m":"queue.pop","p":{"t":["orders"]},"i":5}"#).await;
    assert_eq!(backend.hears_json().await["E"]["c"], 202, "it has to cancel all first");
    // A client says who wants to know what; it cannot subscribe by itself.
    let mut user = stage.user("/chat").await;
    user.says(r#"{"op":"subscribe","channel":"room:1002"}"#).await;
    let id = backend.hears_json().await["p"]["c"].as_str().unwrap().to_owned();
    let publish = |channel: &str| json!({"m": "mesh.publish", "p": {"c": channel, "d": channel}, "i": 6});
    assert_eq!(backend.asks(&publish("room:1002")).await["r"], json!({"s": 0, "f": 0}));
    // Channels are made by use, and are any text without blanks.
    let channels = ["user:1001", "room:1002", "ex:1001@balance"];
    let subscribe = json!({"m": "conn.call", "p": {"c": id, "f": "subscribe", "a": channels}, "i": 7});
    assert_eq!(backend.asks(&subscribe).await["r"], json!({"s": true}));
    for channel in channels {
        assert_eq!(backend.asks(&publish(channel)).await["r"], json!({"s": 1, "f": 0}));
        assert_eq!(user.hears().await, channel);
    }
    // The id says when it was made, and by whom: 41 bits of time since its epoch, 10 of a worker.
    let id: u64 = id.parse().unwrap();
    let event = {
        user.says("once more").await;
        backend.hears_json().await
    };
    let ts = event["p"]["d"]["ts"].as_u64().unwrap();
    let made = (id >> 22) + 1_288_834_974_657;
    assert!(made.abs_diff(ts) < 3_600_000, "{made} {ts}: it may be some minutes ahead, so that none comes twice");
    assert_eq!((id >> 12 & 1023, &event["p"]["n"]), (0, &json!(0)));
}

#[test]
fn bounds_and_times_are_the_originals_where_nothing_is_configured() {
    let topics = TopicDefaults::default();
    assert_eq!((topics.messages, topics.count), (2000, 100));
    let listener: Listener = serde_json::from_value(json!({"name": "a"})).unwrap();
    let limits = &listener.limits;
    let seconds = [limits.read_timeout, limits.write_timeout, limits.ping_interval, limits.pong_timeout];
    assert_eq!(serde_json::to_value(seconds).unwrap(), json!(["1m", "10s", "25s", "8s"]));
    assert!(listener.text_ping);
}
