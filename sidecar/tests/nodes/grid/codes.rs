//! Codes and statuses of what a backend asks for, beyond those of bad requests (Grid sections 3 and 4).

use std::time::Duration;

use serde_json::{Value, json};

use super::Stage;

/// The id of a client that node 5 would have.
const ELSEWHERE: u64 = 1_463_786_910_324_359_168 + (5 << 12);

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_not_sent_has_its_word_and_where_wanted_its_status() {
    a_message_that_was_not_sent_has_its_word_and_where_wanted_its_status_at(&Stage::new(&small_queues()).await).await;
}

pub(super) fn small_queues() -> Value {
    let limits = json!({"messageBytes": "60Ki", "outQueueBytes": "64Ki"});
    json!({"backend": {"httpStatus": "Mirror"}, "listeners": [{"name": "a", "limits": limits}]})
}

pub(super) async fn a_message_that_was_not_sent_has_its_word_and_where_wanted_its_status_at(stage: &Stage) {
    let mut backend = stage.consumer(&["default"]).await;
    let mut deaf = stage.user("/").await;
    let id = stage.id_of(&mut deaf, &mut backend).await;
    let send = async |id: &str, size: usize| {
        let body = json!({"c": id, "d": "x".repeat(size)}).to_string();
        let answer = stage.post("/v1/mesh/send", &body).await;
        (answer.status.as_u16(), answer.json()["E"]["c"].clone(), answer.json()["E"]["k"].clone())
    };
    assert_eq!(send("7", 1).await, (410, json!(401), json!("gone")));
    assert_eq!(send(&ELSEWHERE.to_string(), 1).await, (503, json!(401), json!("unreachable")));
    assert_eq!(send(&id, (60 << 10) + 1).await, (413, json!(401), json!("too_large")));
    // Its kernel takes some megabytes before its queue fills.
    let mut slow = send(&id, 50 << 10).await;
    for _ in 0..2000 {
        if slow.0 != 200 {
            break;
        }
        slow = send(&id, 50 << 10).await;
    }
    assert_eq!(slow, (429, json!(401), json!("slow")));
    assert_eq!(send(&id, 1).await, (410, json!(401), json!("gone")), "it is being closed");
    for (path, body) in [("/v1/mesh/send", r#"{"c":"x","d":"x"}"#), ("/v1/mesh/publish", "{")] {
        let answer = stage.post(path, body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["E"]["c"]), (400, &json!(101)));
    }
    let call = json!({"m": "conn.call", "p": {"c": ELSEWHERE.to_string(), "f": "info", "a": []}, "i": 1});
    assert_eq!(backend.asks(&call).await["E"]["c"], 301);
    for word in ["gone", "unreachable", "too_large", "slow"] {
        assert!(stage.metric(&format!(r#"send_errors_total{{k="{word}"}}"#)).await >= 1.0, "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_may_stand_in_an_array_as_older_clients_write_them() {
    parameters_may_stand_in_an_array_as_older_clients_write_them_at(&Stage::new(&json!({})).await).await;
}

pub(super) async fn parameters_may_stand_in_an_array_as_older_clients_write_them_at(stage: &Stage) {
    let mut backend = stage.backend().await;
    let table = [
        (r#"{"m":"queue.pop","p":[{"t":["default"]}],"i":1}"#, json!({"s": true})),
        (r#"{"m":"server.ping","p":[],"i":1}"#, json!({"s": true})),
        (r#"{"m":"mesh.publish","p":[{"c":"a","d":"x"}],"i":1}"#, json!({"s": 0, "f": 0})),
        (r#"{"m":"queue.unpop","p":[],"i":1}"#, json!({"s": true})),
        (r#"{"m":"queue.unpop","i":1}"#, json!({"s": true})),
    ];
    for (request, result) in table {
        backend.says(request).await;
        assert_eq!(backend.hears_json().await, json!({"E": null, "r": result, "i": 1}), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_connection_sends_arrives_in_its_order() {
    what_one_connection_sends_arrives_in_its_order_at(&Stage::new(&one_listener()).await).await;
}

pub(super) fn one_listener() -> Value {
    json!({"listeners": [{"name": "a"}]})
}

pub(super) async fn what_one_connection_sends_arrives_in_its_order_at(stage: &Stage) {
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    let subscribe = json!({"m": "conn.call", "p": {"c": id, "f": "subscribe", "a": ["all"]}, "i": 1});
    assert_eq!(backend.asks(&subscribe).await["r"], json!({"s": true}));
    for n in 0..300 {
        let request = if n % 2 == 0 {
            json!({"m": "mesh.send", "p": {"c": id, "d": n}, "i": n})
        } else {
            json!({"m": "mesh.publish", "p": {"c": "all", "d": n}, "i": n})
        };
        backend.says(&request.to_string()).await;
    }
    for n in 0..300 {
        assert_eq!(user.hears().await, n.to_string());
        assert_eq!(backend.hears_json().await["i"], n, "answers in the order of requests");
    }
    for n in 0..300 {
        user.says(&n.to_string()).await;
    }
    for n in 0..300 {
        assert_eq!(backend.hears_json().await["p"]["d"]["frame"]["data"], n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_paused_is_not_read_until_it_is_resumed_and_hears_all_the_same() {
    a_client_that_is_paused_is_not_read_until_it_is_resumed_and_hears_all_the_same_at(&Stage::new(&json!({})).await)
        .await;
}

pub(super) async fn a_client_that_is_paused_is_not_read_until_it_is_resumed_and_hears_all_the_same_at(stage: &Stage) {
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    let call = |function: &str| json!({"m": "conn.call", "p": {"c": id, "f": function, "a": []}, "i": 1});
    assert_eq!(backend.asks(&call("pause")).await["r"], json!({"s": true}));
    user.says("later").await;
    let send = json!({"m": "mesh.send", "p": {"c": id, "d": "sent meanwhile"}, "i": 1});
    assert_eq!(backend.asks(&send).await["r"], json!({"s": true}));
    assert_eq!(user.hears().await, "sent meanwhile");
    let info = backend.asks(&call("info")).await;
    assert_eq!((&info["r"]["paused"], &info["r"]["channels"]), (&json!(true), &json!([])), "no message came before it");
    backend.says(&call("resume").to_string()).await;
    let mut both = [backend.hears_json().await, backend.hears_json().await];
    both.sort_by_key(|answer| answer.get("e").is_some());
    assert_eq!((&both[0]["r"], &both[1]["p"]["d"]["frame"]["data"]), (&json!({"s": true}), &json!("later")));
    assert_eq!(backend.asks(&call("channels")).await["r"], json!({"s": true, "channels": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_of_a_backend_that_is_none_has_its_status() {
    let stage = Stage::new(&json!({})).await;
    let get = async |headers: &[(&str, &str)]| {
        let mut request = http::Request::get("/ws/v1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = http_body_util::Full::default();
        let answer = crate::harness::from([127, 0, 0, 1].into(), stage.api, request.body(body).unwrap()).await;
        (answer.status.as_u16(), answer.json()["E"]["c"].clone())
    };
    let (up, on) = (("upgrade", "websocket"), ("connection", "upgrade"));
    let (key, version) = (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13"));
    let table: [(&[(&str, &str)], u16); 5] = [
        (&[], 426),
        (&[up, key, version], 426),
        (&[up, on, key], 426),
        (&[up, on, version], 400),
        (&[up, on, version, ("sec-websocket-key", "c2hvcnQ=")], 400),
    ];
    for (headers, status) in table {
        assert_eq!(get(headers).await, (status, json!(101)), "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_on_both_ports() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    backend.asks(&json!({"m": "mesh.send", "p": {"c": id, "d": "hello"}, "i": 1})).await;
    let ack: Value = backend.asks(&json!({"m": "queue.ack", "p": {"k": 7}, "i": 1})).await;
    assert_eq!(ack["E"]["c"], 504);
    for (request, code) in [("{", 101), (r#"{"m":"mesh.fly"}"#, 100)] {
        backend.says(request).await;
        assert_eq!(backend.hears_json().await["E"]["c"], code);
    }
    let (own, admin) = (stage.get("/metrics").await.text(), stage.node.admin("/metrics").await.text());
    let table = [
        "clients 1",
        "channels 0",
        "backends 1",
        r#"accepted_total{listener="default"} 1"#,
        "messages_in_total 1",
        "bytes_in_total 8",
        "messages_out_total 1",
        "bytes_out_total 5",
        "send_seconds_count 1",
        r#"calls_total{code="504"} 1"#,
        r#"calls_total{code="101"} 1"#,
        r#"calls_total{code="100"} 1"#,
        r#"topic_depth{topic="default"} 0"#,
        r#"topic_consumers{topic="default"} 1"#,
        r#"topic_unacked{topic="default"} 0"#,
        "node_number 0",
    ];
    for line in table {
        let line = format!("mesh_grid_{line}");
        for (text, port) in [(&own, "6789"), (&admin, "admin")] {
            assert!(text.lines().any(|known| known == line), "{line} at {port}:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_no_call_and_no_client_is_counted_too() {
    let stage = Stage::new(&json!({})).await;
    let ask = async |source: [u8; 4], method: &str, path: &str| {
        let request = http::Request::builder().method(method).uri(path).body(http_body_util::Full::default()).unwrap();
        crate::harness::from(source.into(), stage.api, request).await.status.as_u16()
    };
    let here = [127, 0, 0, 1];
    assert_eq!(ask(here, "GET", "/nowhere").await, 404);
    assert_eq!(ask(here, "DELETE", "/v1/mesh/send").await, 405);
    assert_eq!(ask([127, 0, 0, 2], "POST", "/v1/mesh/send").await, 401);
    assert_eq!(ask(here, "POST", "/v1/mesh/send").await, 200, "an empty body is no call");
    for (code, count) in [(100, 1.0), (101, 2.0), (501, 1.0)] {
        assert_eq!(stage.metric(&format!(r#"calls_total{{code="{code}"}}"#)).await, count, "{code}");
    }
    drop(crate::harness::connect(here.into(), stage.clients).await);
    let counted = async || stage.metric(r#"refused_total{reason="unfinished"}"#).await == 1.0;
    crate::harness::until("a handshake that broke off to be counted", Duration::from_secs(60), counted).await;
}
