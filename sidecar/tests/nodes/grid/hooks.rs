//! End users whom a server of the user's knows, at a real node (G-22).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Stage, renewed,
    server::{Server, response},
};
use crate::harness::{Socket, free_port};

/// A hook's answer that is good takes longer than a client may take to say what it wants.
const SLOW: Duration = Duration::from_secs(12);

async fn comes(stage: &Stage, path: &str, cookie: &str) -> Result<Socket, u16> {
    Socket::with(stage.clients, path, &[("cookie", cookie)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_says_who_comes_what_they_have_and_for_how_long() {
    let server = Server::start(|_, body| {
        let question: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&question["listener"], &question["remote"]), (&json!("chat"), &json!("127.0.0.1")));
        let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 5;
        match question["headers"]["cookie"][0].as_str().unwrap() {
            "sid=ann" => response("200 OK", "", r#"{"context":{"user_id":1001},"channels":["user:1001"]}"#),
            "sid=short" => response("200 OK", "", &format!(r#"{{"expiresAt":{soon}}}"#)),
            "sid=banned" => response("403 No", "", ""),
            "sid=odd" => response("200 OK", "", "welcome"),
            "sid=large" => response("200 OK", "", &format!("{{{}}}", " ".repeat(1 << 20))),
            "sid=moved" => response("302 Found", "location: http://127.0.0.1/\r\n", ""),
            "sid=broken" => response("500 No", "", ""),
            _ => response("401 No", "", ""),
        }
    })
    .await;
    let hook = json!({"http": {"url": server.url()}});
    let stage = Stage::new(&json!({"listeners": [{"name": "chat", "path": "/chat", "auth": hook}]})).await;
    let table = [("nobody", 401), ("banned", 403), ("odd", 503), ("large", 503), ("moved", 503), ("broken", 503)];
    for (name, status) in table {
        assert_eq!(comes(&stage, "/chat", &format!("sid={name}")).await.err(), Some(status), "{name}");
    }
    let mut backend = stage.consumer(&["default"]).await;
    let mut ann = comes(&stage, "/chat", "sid=ann").await.unwrap();
    ann.says("hello").await;
    assert_eq!(backend.hears_json().await["p"]["d"]["context"], json!({"user_id": 1001}));
    let publish = json!({"m": "mesh.publish", "p": {"c": "user:1001", "d": "hi"}, "i": 1});
    assert_eq!(backend.asks(&publish).await["r"], json!({"s": 1, "f": 0}));
    assert_eq!(ann.hears().await, "hi");
    let mut short = comes(&stage, "/chat", "sid=short").await.unwrap();
    assert_eq!(short.is_closed().await, 3501);
    assert_eq!(server.asked(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_away_or_slow_lets_nobody_in_and_holds_up_nobody_else() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook =
        |port: u16, timeout: &str| json!({"http": {"url": format!("http://127.0.0.1:{port}/"), "timeout": timeout}});
    let stage = Stage::new(&json!({"listeners": [
        {"name": "slow", "path": "/slow", "auth": hook(silent.local_addr().unwrap().port(), "1s")},
        {"name": "patient", "path": "/patient", "auth": hook(silent.local_addr().unwrap().port(), "30s")},
        {"name": "away", "path": "/away", "auth": hook(free_port(), "5s")},
        {"name": "open"},
    ]}))
    .await;
    let waiting =
        tokio::spawn(tokio::time::timeout(Duration::from_secs(60), Socket::with(stage.clients, "/patient", &[])));
    assert_eq!(comes(&stage, "/slow", "a=b").await.err(), Some(503));
    assert_eq!(comes(&stage, "/away", "a=b").await.err(), Some(503));
    let mut open = stage.user("/").await;
    open.says("ping").await;
    assert_eq!(open.hears().await, "pong");
    assert_eq!(stage.metric(r#"refused_total{reason="unavailable"}"#).await, 2.0);
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_may_take_as_long_as_its_timeout_says_though_a_handshake_may_not() {
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", slow.local_addr().unwrap());
    let answers = tokio::spawn(async move {
        let (mut question, _) = slow.accept().await.unwrap();
        tokio::time::sleep(SLOW).await;
        let _ = question.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        // Whoever asks reads the answer before the end.
        let _ = question.read_to_end(&mut Vec::new()).await;
    });
    let hook = json!({"http": {"url": url, "timeout": "30s"}});
    let stage = Stage::new(&json!({"listeners": [{"name": "chat", "auth": hook}]})).await;
    let mut user = stage.user("/").await;
    user.says("ping").await;
    assert_eq!(user.hears().await, "pong");
    answers.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_a_hook_began_goes_on_where_the_hook_says_so_of_a_new_token() {
    let server = Server::start(|_, body| {
        let question: Value = serde_json::from_str(body).unwrap();
        let end = |seconds| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds;
        match (question["token"].as_str(), &question["context"]["user_id"]) {
            (None, _) => response("200 OK", "", &format!(r#"{{"context":{{"user_id":7}},"expiresAt":{}}}"#, end(10))),
            (Some("sid=2"), id) if *id == 7 => {
                response("200 OK", "", &format!(r#"{{"context":{{"level":2}},"expiresAt":{}}}"#, end(3600)))
            }
            _ => response("403 No", "", ""),
        }
    })
    .await;
    let refresh = json!({"pointer": "/op", "equals": "renew", "tokenPointer": "/token"});
    let hook = json!({"http": {"url": server.url(), "refresh": refresh}});
    let stage = Stage::new(&json!({"listeners": [{"name": "chat", "auth": hook}]})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let (mut ends, mut goes_on) = (stage.user("/").await, stage.user("/").await);
    assert_eq!(renewed(&mut goes_on, r#"{"op":"renew","token":"sid=3"}"#).await["E"]["c"], 501);
    let told = renewed(&mut goes_on, r#"{"op":"renew","token":"sid=2"}"#).await;
    assert_eq!(told, json!({"E": null, "r": {"s": true}, "i": null}));
    assert_eq!(ends.is_closed().await, 3501);
    goes_on.says("still here").await;
    let event = backend.hears_json().await;
    let d = &event["p"]["d"];
    assert_eq!((&d["frame"]["data"], &d["context"]), (&json!("still here"), &json!({"user_id": 7, "level": 2})));
}
