//! Who may call the API, and what (G-21).

use std::{fs, net::Ipv4Addr};

use serde_json::{Value, json};

use super::Stage;
use crate::harness::{Answer, Socket, base64, from, post};

/// An address of this machine that is not its own.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

async fn call(stage: &Stage, source: Ipv4Addr, headers: &[(&str, &str)]) -> Answer {
    from(source, stage.api, post("/v1/mesh/publish", headers, r#"{"c":"room:1","d":"x"}"#)).await
}

fn users(more: &Value) -> (Value, tempfile::TempDir) {
    let secrets = tempfile::tempdir().unwrap();
    for (name, token) in [("shop", "secret-1\n"), ("log", "secret-2")] {
        fs::create_dir(secrets.path().join(name)).unwrap();
        fs::write(secrets.path().join(name).join("token"), token).unwrap();
    }
    let mut backend = json!({"users": [
        {"name": "shop", "secretRef": {"name": "shop"}, "role": "write", "topics": ["orders"], "channels": ["room:*"]},
        {"name": "log", "secretRef": {"name": "log"}},
    ]});
    backend.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (json!({"grid": {"backend": backend}, "secretsDirectory": secrets.path()}), secrets)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_elsewhere_nothing_is_answered_without_credentials() {
    let (file, _secrets) = users(&json!({"plaintextCredentials": "Accepted"}));
    let mut stage = Stage::with(&file, &[("MESH_PLAINTEXT_FROM", "127.0.0.2/32")]).await;
    assert_eq!(call(&stage, Ipv4Addr::LOCALHOST, &[]).await.status, 200);
    let denied = call(&stage, ELSEWHERE, &[]).await;
    assert_eq!(
        (denied.status.as_u16(), &denied.json()["E"]["c"]),
        (401, &json!(501)),
        "whom 7304 trusts is nobody here"
    );
    assert!(denied.headers["www-authenticate"].to_str().unwrap().contains("Bearer"));
    assert_eq!(call(&stage, Ipv4Addr::LOCALHOST, &[("x-forwarded-for", "10.0.0.9")]).await.status, 401);
    let shop = format!("Basic {}", base64("shop:secret-1"));
    let table = [
        ("Bearer secret-1", 200, Value::Null),
        (shop.as_str(), 200, Value::Null),
        ("Bearer secret-2", 403, json!(501)),
        ("Bearer secret-3", 401, json!(501)),
        ("Basic c2hvcDpzZWNyZXQtMg==", 401, json!(501)),
        ("Digest x", 401, json!(501)),
    ];
    for (authorization, status, code) in table {
        let answer = call(&stage, ELSEWHERE, &[("authorization", authorization)]).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["E"]["c"]), (status, &code), "{authorization}");
    }
    let metrics = http::Request::get("/metrics").body(http_body_util::Full::default()).unwrap();
    assert_eq!(from(ELSEWHERE, stage.api, metrics).await.status, 401);
    let mut shop = Socket::with(stage.api, "/ws/v1", &[("authorization", "Bearer secret-1")]).await.unwrap();
    let pop = |topic: &str| json!({"m": "queue.pop", "p": {"t": [topic]}, "i": 1});
    assert_eq!(shop.asks(&pop("secret")).await["E"]["c"], 201);
    assert_eq!(shop.asks(&pop("orders")).await["r"], json!({"s": true}));
    let mut log = Socket::with(stage.api, "/ws/v1", &[("authorization", "Bearer secret-2")]).await.unwrap();
    assert_eq!(log.asks(&pop("orders")).await["E"]["c"], 201);
    assert_eq!(log.asks(&json!({"m": "server.ping", "i": 1})).await["r"], json!({"s": true}));
    assert_eq!(Socket::with(stage.api, "/ws/v1", &[("authorization", "Bearer no")]).await.err(), Some(401));
    for path in ["/config", "/status", "/metrics", "/queues"] {
        assert!(!stage.node.private(path).await.text().contains("secret-"), "a token is in {path}");
    }
    assert!(!stage.node.log().contains("secret-"), "no token is in the log");
    stage.node.signal("TERM");
    drop((shop, log));
    stage.node.ended(std::time::Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_in_plain_text_count_from_elsewhere_only_where_the_grid_says_so() {
    let (file, _secrets) = users(&json!({"plaintextFrom": ["127.0.0.3/32"]}));
    let stage = Stage::with(&file, &[]).await;
    let bearer = [("authorization", "Bearer secret-1")];
    for (headers, status) in [(&bearer[..], 403), (&[], 401)] {
        let refused = call(&stage, ELSEWHERE, headers).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["E"]["c"]), (status, &json!(501)));
        assert!(refused.text().contains("grid.backend.plaintextCredentials"), "{}", refused.text());
        assert_eq!(refused.headers.get("www-authenticate"), None, "nobody is asked to show them here");
    }
    let nowhere = from(ELSEWHERE, stage.api, post("/nowhere", &[], "{}")).await;
    assert_eq!(nowhere.status, 401, "nobody learns what there is");
    // From this machine, from a network that may call without any, and over TLS nobody listens.
    let trusted = Ipv4Addr::new(127, 0, 0, 3);
    for source in [Ipv4Addr::LOCALHOST, trusted] {
        assert_eq!(call(&stage, source, &bearer).await.status, 200, "{source}");
        assert_eq!(call(&stage, source, &[("authorization", "Bearer no")]).await.status, 401, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_may_call_in_plain_text_where_the_grid_says_so_and_pages_where_they_are_listed() {
    let stage =
        Stage::new(&json!({"backend": {"plaintextFrom": ["127.0.0.2/32"], "origins": ["https://desk.example"]}})).await;
    assert_eq!(call(&stage, ELSEWHERE, &[]).await.status, 200);
    assert_eq!(call(&stage, Ipv4Addr::new(127, 0, 0, 3), &[]).await.status, 401);
    let forwarded = [("x-forwarded-for", "10.0.0.1")];
    assert_eq!(call(&stage, ELSEWHERE, &forwarded).await.status, 401);
    for (origin, status) in [("https://desk.example", Ok(())), ("https://evil.example", Err(403)), ("null", Err(403))] {
        let socket = Socket::with(stage.api, "/ws/v1", &[("origin", origin)]).await;
        assert_eq!(socket.map(|_| ()), status, "{origin}");
        let answer = call(&stage, Ipv4Addr::LOCALHOST, &[("origin", origin)]).await.status.as_u16();
        assert_eq!(answer, status.map_or_else(|status| status, |()| 200), "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn end_users_reach_no_api_at_their_port_and_the_api_takes_no_end_user() {
    let stage = Stage::new(&json!({})).await;
    assert_eq!(Socket::with(stage.clients, "/ws/v1", &[]).await.err(), Some(404));
    assert_eq!(Socket::with(stage.api, "/", &[]).await.err(), Some(404));
    let answer = from(Ipv4Addr::LOCALHOST, stage.clients, post("/v1/mesh/publish", &[], r#"{"c":"a","d":"x"}"#)).await;
    assert_eq!(answer.status, 405);
    let other_room = stage.node.post("/v1/interconn/grid/v1/mesh/publish", &[], &json!({"c": "a", "d": "x"})).await;
    assert_eq!(other_room.status, 404, "only sidecars come to the grid by 7304");
}
