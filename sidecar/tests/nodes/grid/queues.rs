//! Topics and those who consume them: windows, acknowledgement, overflow (G-13 to G-17, Grid section 11).

use serde_json::{Value, json};

use super::Stage;
use crate::{
    backplane::PATIENCE,
    harness::{Socket, until},
};

fn pop(topics: &[&str], more: &Value) -> Value {
    let mut p = json!({"t": topics});
    p.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"m": "queue.pop", "p": p, "i": 1})
}

fn unpop(topics: Option<&[&str]>) -> Value {
    json!({"m": "queue.unpop", "p": topics.map_or(json!({}), |topics| json!({"t": topics})), "i": 2})
}

/// The text of the next event, its tag, and whether it is a repeat.
async fn event(backend: &mut Socket) -> (String, Value, bool) {
    let event = backend.hears_json().await;
    assert_eq!(event["e"], "queue.pop", "{event}");
    let p = &event["p"];
    let text = p["d"]["frame"]["data"].as_str().unwrap().to_owned();
    (text, p["k"].clone(), p["redelivered"] == true)
}

/// A listener whose messages go to the topic that stands at `/t`.
fn by_topic(topics: &[&str], more: &Value) -> Value {
    let rules: Value =
        topics.iter().map(|t| json!({"match": {"jsonPointer": "/t", "equals": t}, "topic": t})).collect();
    let mut grid = json!({"listeners": [{"name": "a", "rules": rules}]});
    grid.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    grid
}

#[tokio::test(flavor = "multi_thread")]
async fn popping_and_unpopping_are_all_or_nothing_and_idempotent() {
    popping_and_unpopping_are_all_or_nothing_and_idempotent_at(&Stage::new(&one_is_off()).await).await;
}

pub(super) fn one_is_off() -> Value {
    by_topic(&["a"], &json!({"topicOverrides": [{"name": "off", "disabled": true}]}))
}

pub(super) async fn popping_and_unpopping_are_all_or_nothing_and_idempotent_at(stage: &Stage) {
    let mut backend = stage.backend().await;
    let mut code = async |request: &Value| backend.asks(request).await["E"]["c"].clone();
    let none = json!({});
    assert_eq!(code(&pop(&["a"], &none)).await, Value::Null);
    assert_eq!(code(&pop(&["a"], &none)).await, 202);
    assert_eq!(code(&pop(&["b", "a"], &none)).await, 202, "all or nothing");
    assert_eq!(code(&pop(&["b", "no good"], &none)).await, 101);
    assert_eq!(code(&pop(&["b", "off"], &none)).await, 201);
    assert_eq!(code(&pop(&["b"], &none)).await, Value::Null, "it was not taken by those before");
    assert_eq!(code(&unpop(Some(&["a"]))).await, Value::Null);
    assert_eq!(code(&pop(&["a"], &none)).await, Value::Null);
    assert_eq!(code(&unpop(None)).await, Value::Null);
    assert_eq!(code(&unpop(None)).await, Value::Null, "nothing is consumed, which is no error");
    assert_eq!(code(&json!({"m": "queue.unpop", "i": 1})).await, Value::Null);
    let over_http = stage.post("/v1/mesh/send", r#"{"m":"queue.pop"}"#).await;
    assert_eq!(over_http.json()["E"]["c"], 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_strict_unpopping_nothing_is_203() {
    let stage = Stage::new(&json!({"topics": {"strictUnpop": true}})).await;
    assert_eq!(stage.backend().await.asks(&unpop(None)).await["E"]["c"], 203);
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_a_topic_get_each_message_once_together() {
    consumers_of_a_topic_get_each_message_once_together_at(&Stage::new(&json!({})).await).await;
}

pub(super) async fn consumers_of_a_topic_get_each_message_once_together_at(stage: &Stage) {
    let (mut one, mut two) = (stage.consumer(&["default"]).await, stage.consumer(&["default"]).await);
    let mut user = stage.user("/").await;
    for n in 0..40 {
        user.says(&n.to_string()).await;
    }
    let mut got: Vec<u32> = Vec::new();
    let mut shares = [0, 0];
    while got.len() < 40 {
        let (share, text) = tokio::select! {
            text = one.hears_json() => (0, text),
            text = two.hears_json() => (1, text),
        };
        shares[share] += 1;
        got.push(text["p"]["d"]["frame"]["data"].as_str().unwrap().parse().unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, (0..40).collect::<Vec<_>>());
    assert!(shares.iter().all(|share| *share > 0), "round robin: {shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_ack_mode_what_a_consumer_did_not_acknowledge_goes_to_another_one() {
    in_ack_mode_what_a_consumer_did_not_acknowledge_goes_to_another_one_at(&Stage::new(&json!({})).await).await;
}

pub(super) async fn in_ack_mode_what_a_consumer_did_not_acknowledge_goes_to_another_one_at(stage: &Stage) {
    let mut first = stage.backend().await;
    first.asks(&pop(&["default"], &json!({"a": true, "w": 3}))).await;
    let mut user = stage.user("/").await;
    for text in ["1", "2", "3", "4"] {
        user.says(text).await;
    }
    let (one, two, three) = (event(&mut first).await, event(&mut first).await, event(&mut first).await);
    assert_eq!((one.0.as_str(), two.0.as_str(), three.0.as_str()), ("1", "2", "3"), "the window holds the fourth back");
    let ack = |k: &Value| json!({"m": "queue.ack", "p": {"k": k}, "i": 1});
    let mut second = stage.backend().await;
    assert_eq!(second.asks(&ack(&one.1)).await["E"]["c"], 504, "a foreign tag");
    first.says(&ack(&one.1).to_string()).await;
    let mut answers = [first.hears_json().await, first.hears_json().await];
    answers.sort_by_key(|answer| answer.get("e").is_some());
    assert_eq!((&answers[0]["r"], &answers[1]["p"]["d"]["frame"]["data"]), (&json!({"s": true}), &json!("4")));
    assert_eq!(first.asks(&ack(&one.1)).await["E"]["c"], 504, "twice");
    // It dies with three on their way.
    drop(first);
    second.asks(&pop(&["default"], &json!({"a": true}))).await;
    let mut tags = Vec::new();
    for text in ["2", "3", "4"] {
        let (got, tag, redelivered) = event(&mut second).await;
        assert_eq!((got.as_str(), redelivered), (text, true));
        tags.push(tag);
    }
    assert_eq!(second.asks(&ack(&two.1)).await["E"]["c"], 504, "a tag of the connection before");
    let nack = json!({"m": "queue.nack", "p": {"k": tags[0]}, "i": 1});
    second.says(&nack.to_string()).await;
    let mut both = [second.hears_json().await, second.hears_json().await];
    both.sort_by_key(|answer| answer.get("e").is_some());
    assert_eq!((&both[0]["r"], &both[1]["p"]["redelivered"]), (&json!({"s": true}), &json!(true)), "it comes again");
    let again = both[1]["p"]["k"].clone();
    let dropped = json!({"m": "queue.nack", "p": {"k": [again, tags[1]], "r": false}, "i": 1});
    assert_eq!(second.asks(&dropped).await["r"], json!({"s": true}));
    assert_eq!(second.asks(&ack(&json!([tags[2]]))).await["r"], json!({"s": true}));
    drop(second);
    let mut third = stage.consumer(&["default"]).await;
    user.says("5").await;
    // The second one may still have had it for a moment.
    let (text, tag, _) = event(&mut third).await;
    assert_eq!((text.as_str(), tag), ("5", Value::Null), "nothing else is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_acks_what_was_written_to_a_consumer_that_dies_is_gone() {
    without_acks_what_was_written_to_a_consumer_that_dies_is_gone_at(&Stage::new(&json!({})).await).await;
}

pub(super) async fn without_acks_what_was_written_to_a_consumer_that_dies_is_gone_at(stage: &Stage) {
    let mut first = stage.consumer(&["default"]).await;
    let mut user = stage.user("/").await;
    user.says("1").await;
    assert_eq!(event(&mut first).await.0, "1");
    drop(first);
    let is_gone = async || stage.metric(r#"topic_consumers{topic="default"}"#).await == 0.0;
    until("the consumer to be missed", PATIENCE, is_gone).await;
    user.says("2").await;
    let mut second = stage.consumer(&["default"]).await;
    assert_eq!(event(&mut second).await.0, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_topic_does_what_its_policy_says_and_others_go_on() {
    a_full_topic_does_what_its_policy_says_and_others_go_on_at(&Stage::new(&small_topics()).await).await;
}

const POLICIES: [&str; 4] = ["drop_oldest", "drop_newest", "reject", "pause"];

pub(super) fn small_topics() -> Value {
    let overrides: Value =
        POLICIES.iter().map(|policy| json!({"name": policy, "messages": 2, "overflow": policy})).collect();
    let topics = ["drop_oldest", "drop_newest", "reject", "pause", "other"];
    by_topic(&topics, &json!({"topicOverrides": overrides}))
}

pub(super) async fn a_full_topic_does_what_its_policy_says_and_others_go_on_at(stage: &Stage) {
    for policy in POLICIES {
        let mut user = stage.user("/").await;
        for n in 1..=3 {
            user.says(&json!({"t": policy, "n": n}).to_string()).await;
        }
        if policy == "reject" {
            assert_eq!(user.hears_json().await["E"]["c"], 503);
        }
        if policy != "pause" {
            user.says("ping").await;
            assert_eq!(user.hears().await, "pong", "what came before was looked at");
        } else {
            let full = async || stage.metric(r#"full_total{topic="pause",policy="pause"}"#).await > 0.0;
            until("the topic to be full", PATIENCE, full).await;
            // Its own socket is not read; another client's is.
            let mut other = stage.user("/").await;
            other.says("ping").await;
            assert_eq!(other.hears().await, "pong");
        }
        let mut backend = stage.consumer(&[policy]).await;
        let expected: &[u32] = match policy {
            "drop_oldest" => &[2, 3],
            "pause" => &[1, 2, 3],
            _ => &[1, 2],
        };
        for n in expected {
            let message: Value = serde_json::from_str(&event(&mut backend).await.0).unwrap();
            assert_eq!(message["n"], json!(n), "{policy}");
        }
        user.says(&json!({"t": policy, "n": 9}).to_string()).await;
        let message: Value = serde_json::from_str(&event(&mut backend).await.0).unwrap();
        assert_eq!(message["n"], 9, "{policy}: nothing between");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_bounded_in_number() {
    topics_are_bounded_in_number_at(&Stage::new(&two_topics()).await).await;
}

pub(super) fn two_topics() -> Value {
    json!({"topics": {"count": 2}})
}

pub(super) async fn topics_are_bounded_in_number_at(stage: &Stage) {
    let mut backend = stage.consumer(&["a", "b"]).await;
    assert_eq!(backend.asks(&pop(&["c"], &json!({}))).await["E"]["c"], 201);
    backend.asks(&unpop(None)).await;
    assert_eq!(backend.asks(&pop(&["c"], &json!({}))).await["r"], json!({"s": true}), "unused ones give way");
}
