//! Every example of the seed, as it is written there (Grid sections 2 to 6): what is asked to the letter, what is answered but for
//! the blanks. Only ids are those of clients that are there. Digits, names and their order are what the original's clients know.

use serde_json::json;

use super::Stage;
use crate::harness::Socket;

const SEND: &str = r#"{
  "c": "1463786910324359168",
  "d": "data"
}"#;
const SENT: &str = r#"{
  "E": null,
  "r": {
    "s": true
  }
}"#;
const PUBLISH: &str = r#"{
  "c": "channel1",
  "d": "data"
}"#;
const PUBLISHED: &str = r#"{
  "E": null,
  "r": {
    "s": 9,
    "f": 0
  }
}"#;
const DONE: &str = r#"{
  "E": null,
  "r": {
    "s": true
  },
  "i": 12345
}"#;
const POP: &str = r#"{
  "m": "queue.pop",
  "p": {
    "t": [
      "topic1"
    ]
  },
  "i": 12345
}"#;
const UNPOP: &str = r#"{
  "m": "queue.unpop",
  "p": {},
  "i": 12345
}"#;
const SET_CONTEXT_VALUE: &str = r#"{
  "m": "conn.call",
  "p": {
    "c": "1458271556210786304",
    "f": "set_context_value",
    "a": [
      "user_id",
      10000
    ]
  },
  "i": 12345
}"#;
const SET_CONTEXT: &str = r#"{
  "m": "conn.call",
  "p": {
    "c": "1458271556210786304",
    "f": "set_context",
    "a": [
      {
        "user_id": 10000
      }
    ]
  },
  "i": 12345
}"#;
const SUBSCRIBE: &str = r#"{
  "m": "conn.call",
  "p": {
    "c": "1463784730422935552",
    "f": "subscribe",
    "a": [
      "channel1",
      "channel2"
    ]
  },
  "i": 12345
}"#;
const UNSUBSCRIBE: &str = r#"{
  "m": "conn.call",
  "p": {
    "c": "1463784730422935552",
    "f": "unsubscribe",
    "a": [
      "channel1",
      "channel2"
    ]
  },
  "i": 12345
}"#;
const MESH_SEND: &str = r#"{
  "m": "mesh.send",
  "p": {
    "c": "1463786910324359168",
    "d": "data"
  },
  "id": 12345
}"#;
const MESH_PUBLISH: &str = r#"{
  "m": "mesh.publish",
  "p": {
    "c": "channel1",
    "d": "data"
  },
  "i": 12345
}"#;
const MESH_PUBLISHED: &str = r#"{
  "E": null,
  "r": {
    "s": 9,
    "f": 0
  },
  "i": 12345
}"#;

/// The ids of the seed's clients.
const ITS_CLIENTS: [&str; 3] = ["1463786910324359168", "1458271556210786304", "1463784730422935552"];

/// The seed's text without its blanks; no text in it has any.
fn close(text: &str) -> String {
    text.split_whitespace().collect()
}

/// An example, asked of a client that is there.
fn of(example: &str, id: &str) -> String {
    ITS_CLIENTS.iter().fold(example.to_owned(), |text, known| text.replace(known, id))
}

/// The nine who are subscribed to `channel1` in the seed.
struct Nine {
    stage: Stage,
    backend: Socket,
    users: Vec<(Socket, String)>,
}

impl Nine {
    async fn new() -> Self {
        let stage = Stage::new(&json!({})).await;
        let (mut consumer, mut backend) = (stage.consumer(&["default"]).await, stage.backend().await);
        let mut users = Vec::new();
        for _ in 0..9 {
            let mut user = stage.user("/").await;
            let id = stage.id_of(&mut user, &mut consumer).await;
            backend.says(&of(SUBSCRIBE, &id)).await;
            assert_eq!(backend.hears().await, close(DONE));
            users.push((user, id));
        }
        Self { stage, backend, users }
    }

    async fn all_hear_data(&mut self) {
        for (user, _) in &mut self.users {
            assert_eq!(user.hears().await, "data");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_http_are_answered_as_in_the_seed() {
    let mut nine = Nine::new().await;
    let sent = nine.stage.post("/v1/mesh/send", &of(SEND, &nine.users[0].1)).await;
    assert_eq!((sent.status.as_u16(), sent.text()), (200, close(SENT)));
    assert_eq!(nine.users[0].0.hears().await, "data");
    let published = nine.stage.post("/v1/mesh/publish", PUBLISH).await;
    assert_eq!((published.status.as_u16(), published.text()), (200, close(PUBLISHED)));
    nine.all_hear_data().await;
    for (path, body, code) in [("send", SEND, 401), ("send", "{}", 101), ("publish", "{}", 101)] {
        let refused = nine.stage.post(&format!("/v1/mesh/{path}"), body).await;
        let mut fault = refused.json();
        let text = fault["E"]["m"].take();
        assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{path} {body}: {text}");
        // `k` is an addition of the contract.
        fault["E"].as_object_mut().unwrap().remove("k");
        assert_eq!((refused.status.as_u16(), fault), (200, json!({"E": {"c": code, "m": null}})), "{path} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_a_websocket_are_answered_as_in_the_seed() {
    let Nine { stage, mut backend, mut users } = Nine::new().await;
    let id = users[0].1.clone();
    backend.says("ping").await;
    assert_eq!(backend.hears().await, "pong");
    for (example, answer) in [
        (POP, DONE),
        (UNPOP, DONE),
        (SET_CONTEXT_VALUE, DONE),
        (SET_CONTEXT, DONE),
        (MESH_SEND, DONE),
        (MESH_PUBLISH, MESH_PUBLISHED),
        (UNSUBSCRIBE, DONE),
    ] {
        backend.says(&of(example, &id)).await;
        assert_eq!(backend.hears().await, close(answer), "{example}");
    }
    assert_eq!((users[0].0.hears().await, users[8].0.hears().await), ("data".to_owned(), "data".to_owned()));
    let context = backend.asks(&json!({"m": "conn.call", "p": {"c": id, "f": "get_context", "a": []}, "i": 1})).await;
    assert_eq!(context["r"]["context"], json!({"user_id": 10000}));
    backend.says(MESH_PUBLISH).await;
    assert_eq!(backend.hears_json().await["r"], json!({"s": 8, "f": 0}), "one is subscribed no more");
    drop((stage, users));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_over_a_websocket_is_answered_as_in_the_seed() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.consumer(&["topic1"]).await;
    // The seed's clients are not there, and its topic is consumed already.
    for (example, code) in [
        (POP.to_owned(), 202),
        (POP.replace("\"topic1\"", ""), 101),
        (SET_CONTEXT_VALUE.to_owned(), 301),
        (SET_CONTEXT_VALUE.replace("10000", "10000, 1"), 101),
        (SET_CONTEXT.to_owned(), 301),
        (SUBSCRIBE.to_owned(), 301),
        (UNSUBSCRIBE.to_owned(), 301),
        (SUBSCRIBE.replace("channel1", "channel 1"), 101),
        (MESH_SEND.to_owned(), 401),
        (MESH_SEND.replace("14637", "no id "), 101),
        (MESH_PUBLISH.replace("channel1", ""), 101),
    ] {
        backend.says(&example).await;
        let mut fault = backend.hears_json().await;
        let text = fault["E"]["m"].take();
        assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{example}: {text}");
        fault["E"].as_object_mut().unwrap().remove("k");
        assert_eq!(fault, json!({"E": {"c": code, "m": null}, "i": 12345}), "{example}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_the_members_of_the_seed_and_those_of_the_contract() {
    let stage =
        Stage::new(&json!({"nodeNumber": 1, "listeners": [{"name": "a", "rules": [{"topic": "topic1"}]}]})).await;
    let mut backend = stage.consumer(&["topic1"]).await;
    let mut user = stage.user("/").await;
    user.says("json str").await;
    let mut event = backend.hears_json().await;
    let d = event["p"]["d"].as_object_mut().unwrap();
    assert!(d.remove("ts").unwrap().as_u64().unwrap() > 1_637_836_718_036);
    assert_eq!(
        (d.remove("seq"), d.remove("event"), d.remove("context")),
        (Some(json!(1)), Some(json!("message")), Some(json!({})))
    );
    let p = event["p"].as_object_mut().unwrap();
    assert!(p.remove("N").unwrap().is_string());
    let id: u64 = p.remove("c").unwrap().as_str().unwrap().parse().unwrap();
    assert_eq!(id >> 12 & 1023, 1, "the number of the node stands in the id (G-6)");
    let seed = json!({"e": "queue.pop", "p": {"n": 1, "t": "topic1",
        "d": {"frame": {"type": "text", "data": "json str", "finish": true}}}, "id": null});
    assert_eq!(event, seed);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_name_the_node_as_it_is_called_else_its_machine_which_is_the_pod() {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (variables, name) in [(&[("MESH_NAME", "grid-7")][..], "grid-7"), (&[], machine.trim())] {
        let stage = Stage::with(&json!({"grid": {}}), variables).await;
        let mut backend = stage.consumer(&["default"]).await;
        stage.user("/").await.says("hello").await;
        assert_eq!(backend.hears_json().await["p"]["N"], name);
    }
}
