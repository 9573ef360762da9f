//! Every example of the seed, as it is written there (Grid sections 2 to 6). Answers are compared as text: digits, names and their
//! order are what the original's clients know.

use serde_json::json;

use super::Stage;

const DONE: &str = r#"{"E":null,"r":{"s":true},"i":12345}"#;

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_http_are_answered_as_in_the_seed() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    let sent = stage.post("/v1/mesh/send", &format!(r#"{{"c": "{id}", "d": "data"}}"#)).await;
    assert_eq!((sent.status.as_u16(), sent.text().as_str()), (200, r#"{"E":null,"r":{"s":true}}"#));
    assert_eq!(user.hears().await, "data");
    let gone = stage.post("/v1/mesh/send", "{\n  \"c\": \"1463786910324359168\",\n  \"d\": \"data\"\n}").await;
    assert_eq!((gone.status.as_u16(), &gone.json()["E"]["c"]), (200, &json!(401)));
    let published = stage.post("/v1/mesh/publish", "{\n  \"c\": \"channel1\",\n  \"d\": \"data\"\n}").await;
    assert_eq!(published.text(), r#"{"E":null,"r":{"s":0,"f":0}}"#);
    let invalid = stage.post("/v1/mesh/publish", "{}").await;
    assert_eq!((invalid.status.as_u16(), &invalid.json()["E"]["c"]), (200, &json!(101)));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_a_websocket_are_answered_as_in_the_seed() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.backend().await;
    backend.says("ping").await;
    assert_eq!(backend.hears().await, "pong");
    let pop = r#"{
  "m": "queue.pop",
  "p": {
    "t": [
      "topic1"
    ]
  },
  "i": 12345
}"#;
    backend.says(pop).await;
    assert_eq!(backend.hears().await, DONE);
    backend.says(pop).await;
    let again = backend.hears_json().await;
    assert_eq!((&again["E"]["c"], &again["i"], again.get("r")), (&json!(202), &json!(12345), None));
    backend.says("{\n  \"m\": \"queue.unpop\",\n  \"p\": {},\n  \"i\": 12345\n}").await;
    assert_eq!(backend.hears().await, DONE);
    let nobody =
        r#"{"m":"conn.call","p":{"c":"1458271556210786304","f":"set_context_value","a":["user_id",10000]},"i":12345}"#;
    backend.says(nobody).await;
    let refused = backend.hears_json().await;
    assert_eq!((&refused["E"]["c"], &refused["i"]), (&json!(301), &json!(12345)));
    backend.says(r#"{"m":"mesh.publish","p":{"c":"channel1","d":"data"},"i":12345}"#).await;
    assert_eq!(backend.hears().await, r#"{"E":null,"r":{"s":0,"f":0},"i":12345}"#);
    // The seed writes the id of this one as `id`.
    backend.says(r#"{"m":"mesh.send","p":{"c":"1463786910324359168","d":"data"},"id":12345}"#).await;
    let refused = backend.hears_json().await;
    assert_eq!((&refused["E"]["c"], &refused["i"]), (&json!(401), &json!(12345)));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_connection_do_what_the_seed_says() {
    let stage = Stage::new(&json!({})).await;
    let mut backend = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    let id = stage.id_of(&mut user, &mut backend).await;
    let call = |function: &str, arguments: &str| {
        format!(r#"{{"m":"conn.call","p":{{"c":"{id}","f":"{function}","a":{arguments}}},"i":12345}}"#)
    };
    for (function, arguments) in [
        ("set_context_value", r#"["user_id",10000]"#),
        ("set_context", r#"[{"user_id":10000}]"#),
        ("subscribe", r#"["channel1","channel2"]"#),
    ] {
        backend.says(&call(function, arguments)).await;
        assert_eq!(backend.hears().await, DONE, "{function}");
    }
    backend.says(r#"{"m":"mesh.publish","p":{"c":"channel1","d":"data"},"i":12345}"#).await;
    assert_eq!(backend.hears().await, r#"{"E":null,"r":{"s":1,"f":0},"i":12345}"#);
    assert_eq!(user.hears().await, "data");
    backend.says(&call("unsubscribe", r#"["channel1","channel2"]"#)).await;
    assert_eq!(backend.hears().await, DONE);
    backend.says(r#"{"m":"mesh.publish","p":{"c":"channel1","d":"data"},"i":12345}"#).await;
    assert_eq!(backend.hears().await, r#"{"E":null,"r":{"s":0,"f":0},"i":12345}"#);
    backend.says(&format!(r#"{{"m":"mesh.send","p":{{"c":"{id}","d":"data"}},"id":12345}}"#)).await;
    assert_eq!(backend.hears().await, DONE);
    assert_eq!(user.hears().await, "data");
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
