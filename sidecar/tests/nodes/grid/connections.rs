//! End users' connections: handshakes, frames, holds, commands, slow clients, and the end (Grid sections 5 and 8).

use std::{net::Ipv4Addr, time::Duration};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::Stage;
use crate::harness::{Socket, connect, post, try_exchange, until};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_refused_by_its_status() {
    let listener = json!({"listeners": [{"name": "a", "path": "/chat", "origins": ["https://shop.example"]}]});
    let stage = Stage::new(&listener).await;
    let head = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: grid\r\nupgrade: websocket\r\nconnection: upgrade\r\n{more}\r\n")
    };
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "sec-websocket-version: 13\r\n";
    let table = [
        (head("/chat", &format!("{key}{version}")), 101),
        (head("/", &format!("{key}{version}")), 404),
        (head("/chat/", &format!("{key}{version}")), 404),
        (head("/chat", version), 400),
        (head("/chat", &format!("sec-websocket-key: c2hvcnQ=\r\n{version}")), 400),
        (head("/chat", &format!("{key}sec-websocket-version: 8\r\n")), 426),
        (head("/chat", &format!("{key}{version}origin: https://evil.example\r\n")), 403),
        (head("/chat", &format!("{key}{version}origin: https://shop.example\r\n")), 101),
        ("GET /chat HTTP/1.1\r\nhost: grid\r\n\r\n".to_owned(), 426),
        ("POST /chat HTTP/1.1\r\nhost: grid\r\n\r\n".to_owned(), 405),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (head, status) in table {
        let mut tcp = connect([127, 0, 0, 1].into(), stage.clients).await;
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        tokio::time::timeout(PATIENCE, tcp.read_exact(&mut line)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&line), format!("HTTP/1.1 {status}"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_pass_as_they_come_with_pings_between_them() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let part = |opcode, bytes: &[u8], fin| Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(opcode), fin));
    user.sends(part(Data::Text, b"a\xc3", false)).await;
    user.sends(Message::Ping(b"now".to_vec().into())).await;
    user.sends(part(Data::Continue, b"\xa4b", true)).await;
    user.sends(Message::binary(vec![0xfb, 0xff])).await;
    let frames = [
        json!({"type": "text", "data": "a", "finish": false}),
        json!({"type": "continuation", "data": "äb", "finish": true}),
        json!({"type": "binary", "data": "+/8=", "finish": true}),
    ];
    for (n, frame) in frames.iter().enumerate() {
        let event = backend.hears_json().await;
        assert_eq!((&event["p"]["d"]["frame"], &event["p"]["d"]["seq"]), (frame, &json!(n + 1)));
    }
    let assembled = Stage::new(&json!({"listeners": [{"name": "a", "assemble": true}]})).await;
    let mut backend = assembled.consumer(&["default"]).await;
    let mut user = assembled.user("/").await;
    user.sends(part(Data::Text, b"a\xc3", false)).await;
    user.sends(part(Data::Continue, b"\xa4b", true)).await;
    let whole = json!({"type": "text", "data": "aäb", "finish": true});
    assert_eq!(backend.hears_json().await["p"]["d"]["frame"], whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_learn_who_comes_and_who_goes() {
    topics_learn_who_comes_and_who_goes_at(&Stage::new(&who_comes()).await).await;
}

pub(super) fn who_comes() -> Value {
    let listener =
        json!({"listeners": [{"name": "a", "path": "/chat", "events": {"handshake": "who", "close": "who"}}]});
    listener
}

pub(super) async fn topics_learn_who_comes_and_who_goes_at(stage: &Stage) {
    let mut backend = stage.consumer(&["who"]).await;
    let mut user = Socket::with(stage.clients, "/chat?room=7", &[("x-app", "shop")]).await.unwrap();
    let came = backend.hears_json().await;
    let d = &came["p"]["d"];
    assert_eq!((&d["event"], &d["headers"]["x-app"], &d["seq"]), (&json!("handshake"), &json!("shop"), &json!(1)));
    assert!(d.to_string().contains("/chat?room=7") && d.get("frame").is_none(), "{d}");
    user.0.close(None).await.unwrap();
    let went = backend.hears_json().await;
    let d = &went["p"]["d"];
    assert_eq!((&d["event"], d.get("frame"), &went["p"]["c"]), (&json!("close"), None, &came["p"]["c"]));
    assert!(d.get("code").is_some() && d.get("reason").is_some(), "{d}");
    let gone = json!({"m": "mesh.send", "p": {"c": came["p"]["c"], "d": "x"}, "i": 1});
    assert_eq!(backend.asks(&gone).await["E"]["k"], "gone", "an id that was just closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_pings_are_answered_on_both_ports_unless_the_listener_says_otherwise() {
    let listeners = json!({"listeners": [{"name": "a"}, {"name": "b", "path": "/b", "textPing": false}]});
    let stage = Stage::new(&listeners).await;
    let mut backend = stage.consumer(&["default"]).await;
    let (mut one, mut two) = (stage.user("/").await, stage.user("/b").await);
    one.says("ping").await;
    assert_eq!(one.hears().await, "pong");
    two.says("ping").await;
    assert_eq!(backend.hears_json().await["p"]["d"]["frame"]["data"], "ping");
    backend.says("ping").await;
    assert_eq!(backend.hears().await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_until_a_backend_lets_them_go_but_the_login() {
    let rules = json!([{"match": {"jsonPointer": "/op", "equals": "login"}, "topic": "login", "beforeHold": true}, {"topic": "chat"}]);
    let listener = json!({"listeners": [
        {"name": "a", "holdUntil": {"key": "user_id", "timeoutSeconds": 600}, "rules": rules},
        {"name": "b", "path": "/soon", "holdUntil": {"key": "user_id", "timeoutSeconds": 1}},
    ]});
    let stage = Stage::new(&listener).await;
    let mut backend = stage.consumer(&["login", "chat"]).await;
    let mut user = stage.user("/").await;
    for text in ["1", "2", r#"{"op":"login"}"#] {
        user.says(text).await;
    }
    let login = backend.hears_json().await;
    assert_eq!(login["p"]["t"], "login", "it passes what waits");
    let set =
        json!({"m": "conn.call", "p": {"c": login["p"]["c"], "f": "set_context_value", "a": ["user_id", 7]}, "i": 1});
    backend.says(&set.to_string()).await;
    let mut heard = vec![backend.hears_json().await, backend.hears_json().await, backend.hears_json().await];
    heard.retain(|one| one.get("e").is_some());
    let texts: Vec<&Value> = heard.iter().map(|event| &event["p"]["d"]["frame"]["data"]).collect();
    assert_eq!(texts, [&json!("1"), &json!("2")], "in order");
    assert_eq!(heard[0]["p"]["d"]["context"], json!({"user_id": 7}));
    let mut nobody = stage.user("/soon").await;
    assert_eq!(nobody.is_closed().await, 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_subscribe_to_what_they_may_and_no_value_widens_that() {
    let commands = json!({"pointer": "/op", "channelPointer": "/ch", "subscribe": ["sub"], "unsubscribe": ["unsub"],
        "allow": ["room:*", "user:{user_id}"]});
    let stage = Stage::new(&json!({"listeners": [{"name": "a", "clientCommands": commands}]})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    let publish = |channel: &str| json!({"m": "mesh.publish", "p": {"c": channel, "d": channel}, "i": 1});
    let sub = |channel: &str| json!({"op": "sub", "ch": channel}).to_string();
    user.says(&sub("room:1")).await;
    for (channel, context) in [("hall", None), ("user:8", Some(json!(7))), ("user:8", Some(json!("*")))] {
        if let Some(value) = context {
            let set =
                json!({"m": "conn.call", "p": {"c": id, "f": "set_context_value", "a": ["user_id", value]}, "i": 1});
            assert_eq!(backend.asks(&set).await["r"], json!({"s": true}));
        }
        user.says(&sub(channel)).await;
        assert_eq!(user.hears_json().await["E"]["c"], 501, "{channel}");
    }
    let set = json!({"m": "conn.call", "p": {"c": id, "f": "set_context_value", "a": ["user_id", 8]}, "i": 1});
    backend.asks(&set).await;
    user.says(&sub("user:8")).await;
    user.says("ping").await;
    assert_eq!(user.hears().await, "pong");
    for (channel, reached) in [("room:1", 1), ("user:8", 1), ("hall", 0)] {
        assert_eq!(backend.asks(&publish(channel)).await["r"]["s"], json!(reached), "{channel}");
    }
    assert_eq!((user.hears().await, user.hears().await), ("room:1".to_owned(), "user:8".to_owned()));
    user.says(&json!({"op": "unsub", "ch": ["room:1", "user:8"]}).to_string()).await;
    user.says("ping").await;
    assert_eq!(user.hears().await, "pong");
    assert_eq!(backend.asks(&publish("room:1")).await["r"], json!({"s": 0, "f": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_too_little_is_closed_and_others_notice_nothing() {
    let listener =
        json!({"name": "a", "events": {"close": "who"}, "limits": {"outQueueBytes": "256Ki", "writeTimeout": "2s"}});
    let stage = Stage::new(&json!({"listeners": [listener]})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut closes = stage.consumer(&["who"]).await;
    let (mut deaf, mut other) = (stage.user("/").await, stage.user("/").await);
    for user in [&mut deaf, &mut other] {
        let id = stage.id_of(user, &mut backend).await;
        let call = json!({"m": "conn.call", "p": {"c": id, "f": "subscribe", "a": ["all"]}, "i": 1});
        assert_eq!(backend.asks(&call).await["r"], json!({"s": true}));
    }
    let publish = json!({"m": "mesh.publish", "p": {"c": "all", "d": "x".repeat(60 << 10)}, "i": 1});
    let mut failed = 0;
    // Far more than what the kernel takes for a client that reads nothing.
    for _ in 0..400 {
        let reached = backend.asks(&publish).await["r"].clone();
        assert_eq!(other.hears().await.len(), 60 << 10);
        failed = reached["f"].as_u64().unwrap();
        if failed > 0 {
            break;
        }
    }
    assert_eq!(failed, 1, "it was never too slow");
    assert_eq!(closes.hears_json().await["p"]["d"]["code"], 3502);
    assert_eq!(backend.asks(&publish).await["r"], json!({"s": 1, "f": 0}));
    assert_eq!(stage.metric(r#"closed_total{code="3502"}"#).await, 1.0);
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_and_answers_no_ping_is_given_up() {
    let limits = json!({"pingInterval": "2s", "pongTimeout": "1s", "readTimeout": "4s"});
    let stage = Stage::new(&json!({"listeners": [{"name": "a", "limits": limits, "events": {"close": "who"}}]})).await;
    let mut closes = stage.consumer(&["who"]).await;
    // It is never read, so that nothing answers the ping.
    let silent = stage.user("/").await;
    assert_eq!(closes.hears_json().await["p"]["d"]["code"], 1001);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_given_up_at_its_read_timeout_also_while_a_pong_is_awaited() {
    let limits = json!({"pingInterval": "2s", "pongTimeout": "1900ms", "readTimeout": "2500ms"});
    let stage = Stage::new(&json!({"listeners": [{"name": "a", "limits": limits, "events": {"close": "who"}}]})).await;
    let mut closes = stage.consumer(&["who"]).await;
    let silent = stage.user("/").await;
    let d = closes.hears_json().await["p"]["d"].clone();
    assert_eq!((&d["code"], &d["reason"]), (&json!(1001), &json!("nothing was sent")));
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_holds_up_the_end_no_longer_than_its_write_timeout() {
    let listener =
        json!({"name": "a", "events": {"close": "who"}, "limits": {"outQueueBytes": "64Mi", "writeTimeout": "8s"}});
    let mut stage = Stage::new(&json!({"listeners": [listener]})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut closes = stage.consumer(&["who"]).await;
    let (mut deaf, mut other) = (stage.user("/").await, stage.user("/").await);
    let id = stage.id_of(&mut deaf, &mut backend).await;
    let send = json!({"m": "mesh.send", "p": {"c": id, "d": "x".repeat(60 << 10)}, "i": 1});
    let info = json!({"m": "conn.call", "p": {"c": id, "f": "info"}, "i": 1});
    // Until the system takes nothing more for it, and something waits here.
    while backend.asks(&info).await["r"]["waitingBytes"].as_u64().unwrap() < 1 << 20 {
        assert_eq!(backend.asks(&send).await["r"], json!({"s": true}));
    }
    stage.node.signal("TERM");
    assert_eq!(other.is_closed().await, 1012);
    let codes = [closes.hears_json().await, closes.hears_json().await].map(|event| event["p"]["d"]["code"].clone());
    assert_eq!(codes, [json!(1012), json!(1012)]);
    assert_eq!((backend.is_closed().await, closes.is_closed().await), (1012, 1012));
    drop((backend, closes));
    assert!(stage.node.ended(PATIENCE).await.success());
    drop((deaf, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_clients_are_told_to_come_again_and_backends_hear_of_it_first() {
    let mut stage = Stage::new(&json!({"listeners": [{"name": "a", "events": {"close": "who"}}]})).await;
    let mut backend = stage.consumer(&["who", "default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    stage.node.signal("TERM");
    assert_eq!(user.is_closed().await, 1012);
    drop(user);
    let event = backend.hears_json().await;
    assert_eq!((&event["p"]["d"]["code"], &event["p"]["c"]), (&json!(1012), &json!(id)));
    assert_eq!(backend.is_closed().await, 1012);
    drop(backend);
    assert!(stage.node.ended(PATIENCE).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_node_ends_backends_that_come_are_told_when_to_come_again() {
    let limits = json!({"outQueueBytes": "64Mi", "writeTimeout": "600s"});
    let listener = json!({"listeners": [{"name": "a", "limits": limits}]});
    let mut stage = Stage::with(&json!({"grid": listener}), &[("MESH_DRAIN_LIMIT", "600s")]).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut deaf = stage.user("/").await;
    let id = stage.id_of(&mut deaf, &mut backend).await;
    let send = json!({"m": "mesh.send", "p": {"c": id, "d": "x".repeat(60 << 10)}, "i": 1});
    let info = json!({"m": "conn.call", "p": {"c": id, "f": "info"}, "i": 1});
    // Until the system takes nothing more for it: the end then waits for it.
    while backend.asks(&info).await["r"]["waitingBytes"].as_u64().unwrap() < 1 << 20 {
        assert_eq!(backend.asks(&send).await["r"], json!({"s": true}));
    }
    stage.node.signal("TERM");
    let publish = async || stage.post("/v1/mesh/publish", r#"{"c":"a","d":"x"}"#).await;
    // A connection that is taken in at this moment, and has asked nothing yet, ends with the others that are idle.
    let has_begun = async || {
        let api = connect(Ipv4Addr::LOCALHOST, stage.api).await;
        let publish = post("/v1/mesh/publish", &[], r#"{"c":"a","d":"x"}"#);
        try_exchange(api, stage.api, publish).await.is_ok_and(|answer| answer.status == 503)
    };
    until("the end to begin", PATIENCE, has_begun).await;
    let late = publish().await;
    assert_eq!((&late.headers["retry-after"], &late.json()["E"]["c"]), (&"1".parse().unwrap(), &json!(502)));
    assert_eq!(stage.post("/v1/mesh/send", r#"{"c":"7","d":"x"}"#).await.status, 503);
    assert_eq!(Socket::with(stage.api, "/ws/v1", &[]).await.err(), Some(503));
    assert_eq!(stage.metric("clients").await, 1.0, "metrics can be read");
    let pop = json!({"m": "queue.pop", "p": {"t": ["new"]}, "i": 2});
    assert_eq!(backend.asks(&pop).await["E"]["c"], 201, "whoever is here already begins nothing new");
    drop(deaf);
    assert_eq!(backend.is_closed().await, 1012);
    drop(backend);
    assert!(stage.node.ended(PATIENCE).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_no_id_comes_again() {
    let mut stage = Stage::new(&json!({})).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut backend = stage.consumer(&["default"]).await;
        let mut user = stage.user("/").await;
        ids.push(stage.id_of(&mut user, &mut backend).await.parse::<u64>().unwrap());
        drop((user, backend));
        stage.node.kill_and_restart().await;
        let here = async || stage.get("/metrics").await.status == 200;
        until("the grid to be back", PATIENCE, here).await;
    }
    assert!(ids[0] < ids[1], "{ids:?}");
}
