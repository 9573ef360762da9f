//! The original's example applications, each as rules instead of a script (G-12, Grid section 2).

use serde_json::{Value, json};

use super::Stage;
use crate::harness::Socket;

fn call(id: &Value, function: &str, arguments: &Value) -> Value {
    json!({"m": "conn.call", "p": {"c": id, "f": function, "a": arguments}, "i": 1})
}

async fn publishes(backend: &mut Socket, channel: &str, text: &str, reached: u64) {
    let publish = json!({"m": "mesh.publish", "p": {"c": channel, "d": text}, "i": 1});
    assert_eq!(backend.asks(&publish).await["r"], json!({"s": reached, "f": 0}), "{channel}");
}

fn commands(allow: &[&str]) -> Value {
    json!({"pointer": "/op", "channelPointer": "/channel", "subscribe": ["subscribe"], "unsubscribe": ["unsubscribe"], "allow": allow})
}

/// Says something that is answered at once, so that what was said before has been looked at.
async fn is_heard(user: &mut Socket) {
    user.says("ping").await;
    assert_eq!(user.hears().await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_room() {
    a_chat_room_at(&Stage::new(&chat_room()).await).await;
}

pub(super) fn chat_room() -> Value {
    let rules = json!([{"match": {"jsonPointer": "/op", "equals": "sendmessage"}, "topic": "chat"}]);
    let chat = json!({"name": "chat", "path": "/chat", "rules": rules, "clientCommands": commands(&["room:*"])});
    json!({"listeners": [chat]})
}

pub(super) async fn a_chat_room_at(stage: &Stage) {
    let mut backend = stage.consumer(&["chat"]).await;
    let (mut ann, mut bob) = (stage.user("/chat").await, stage.user("/chat").await);
    for user in [&mut ann, &mut bob] {
        user.says(r#"{"op":"subscribe","channel":"room:1002"}"#).await;
        is_heard(user).await;
    }
    ann.says(r#"{"op":"no such thing"}"#).await;
    ann.says(r#"{"op":"sendmessage","room":"room:1002","text":"hello"}"#).await;
    let event = backend.hears_json().await;
    let said: Value = serde_json::from_str(event["p"]["d"]["frame"]["data"].as_str().unwrap()).unwrap();
    assert_eq!(said["text"], "hello", "what no rule takes goes nowhere");
    publishes(&mut backend, said["room"].as_str().unwrap(), "hello", 2).await;
    assert_eq!((ann.hears().await, bob.hears().await), ("hello".to_owned(), "hello".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_centre_with_a_login() {
    let rules = json!([
        {"match": {"jsonPointer": "/op", "equals": "login"}, "topic": "login", "beforeHold": true},
        {"topic": "messages"},
    ]);
    let hold = json!({"key": "user_id", "timeoutSeconds": 600});
    let centre = json!({"name": "centre", "holdUntil": hold, "rules": rules, "events": {"close": "gone"}});
    let stage = Stage::new(&json!({"listeners": [centre]})).await;
    let (mut login, mut backend) = (stage.consumer(&["login"]).await, stage.consumer(&["messages", "gone"]).await);
    let mut user = stage.user("/").await;
    user.says("too early").await;
    user.says(r#"{"op":"login","token":"t"}"#).await;
    let id = login.hears_json().await["p"]["c"].clone();
    assert_eq!(login.asks(&call(&id, "subscribe", &json!(["user:1001"]))).await["r"], json!({"s": true}));
    assert_eq!(login.asks(&call(&id, "set_context_value", &json!(["user_id", 1001]))).await["r"], json!({"s": true}));
    let event = backend.hears_json().await;
    let d = &event["p"]["d"];
    assert_eq!((&d["frame"]["data"], &d["context"]), (&json!("too early"), &json!({"user_id": 1001})));
    publishes(&mut backend, "user:1001", "you have mail", 1).await;
    assert_eq!(user.hears().await, "you have mail");
    user.0.close(None).await.unwrap();
    assert_eq!(backend.hears_json().await["p"]["d"]["event"], "close");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_with_public_and_private_channels() {
    let exchange = json!({"name": "ex", "path": "/stream", "clientCommands": commands(&["ticker:*", "ex:{uid}@*"]),
        "events": {"handshake": "who"}, "rules": [{"topic": "orders"}]});
    let stage = Stage::new(&json!({"listeners": [exchange]})).await;
    let mut backend = stage.consumer(&["who"]).await;
    let mut users = Vec::new();
    for uid in [1001, 1002] {
        let mut user = Socket::with(stage.clients, "/stream", &[("x-uid", &uid.to_string())]).await.unwrap();
        let event = backend.hears_json().await;
        assert_eq!(event["p"]["d"]["headers"]["x-uid"], uid.to_string());
        user.says(r#"{"op":"subscribe","channel":["ticker:btc","ex:1001@balance"]}"#).await;
        assert_eq!(user.hears_json().await["E"]["c"], 501, "all or none, and nobody's yet");
        let set = call(&event["p"]["c"], "set_context_value", &json!(["uid", uid]));
        assert_eq!(backend.asks(&set).await["r"], json!({"s": true}));
        user.says(r#"{"op":"subscribe","channel":"ticker:btc"}"#).await;
        user.says(&json!({"op": "subscribe", "channel": format!("ex:{uid}@balance")}).to_string()).await;
        is_heard(&mut user).await;
        users.push(user);
    }
    users[1].says(r#"{"op":"subscribe","channel":"ex:1001@balance"}"#).await;
    assert_eq!(users[1].hears_json().await["E"]["c"], 501, "somebody else's");
    publishes(&mut backend, "ticker:btc", "64000", 2).await;
    publishes(&mut backend, "ex:1001@balance", "17", 1).await;
    publishes(&mut backend, "ex:1002@balance", "4", 1).await;
    for (user, balance) in users.iter_mut().zip(["17", "4"]) {
        assert_eq!((user.hears().await.as_str(), user.hears().await.as_str()), ("64000", balance));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bullets_over_a_video() {
    // A text without a slash is a bullet; the viewer's video is its subprotocol's.
    let rules = json!([
        {"match": {"subprotocol": "admin", "frames": ["text"]}, "topic": "orders"},
        {"match": {"regex": "^[^/]{1,30}$", "path": "/video"}, "topic": "bullets"},
        {"match": {"frames": ["binary"]}, "topic": "snapshots"},
    ]);
    let video = json!({"name": "video", "path": "/video", "rules": rules, "textPing": false});
    let stage = Stage::new(&json!({"listeners": [video]})).await;
    let mut backend = stage.consumer(&["orders", "bullets", "snapshots"]).await;
    let mut viewer = stage.user("/video").await;
    let mut wanted = Vec::new();
    for text in ["/quit", "wow", &"x".repeat(31), "ping"] {
        viewer.says(text).await;
    }
    viewer.sends(tokio_tungstenite::tungstenite::Message::binary(b"png".as_slice())).await;
    for (topic, data) in [("bullets", "wow"), ("bullets", "ping"), ("snapshots", "cG5n")] {
        let p = backend.hears_json().await["p"].clone();
        wanted.push((p["t"] == topic, p["d"]["frame"]["data"] == data));
    }
    assert_eq!(wanted, [(true, true); 3], "by type of frame, path and expression");
    let protocols = [("sec-websocket-protocol", "viewer, admin")];
    let url = format!("ws://{}/video", stage.clients);
    let tcp = crate::harness::connect([127, 0, 0, 1].into(), stage.clients).await;
    let mut admin = Socket::over(tcp, &url, &protocols).await.unwrap();
    admin.says("/quit").await;
    assert_eq!(backend.hears_json().await["p"]["t"], "orders");
}
