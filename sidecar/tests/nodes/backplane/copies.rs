//! Messages in ack mode, when the gateway is lost that they came to (G-15): all that had a copy in JetStream come again at another one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{PATIENCE, file, gateway, sees, server::Server};
use crate::{
    grid::Stage,
    harness::{Socket, until},
};

/// How many messages have a copy, and how many are in memory alone.
pub(super) async fn copies(stage: &Stage) -> (f64, f64) {
    let metric = async |name: &str| stage.node.metric(&format!("mesh_backplane_{name}_messages")).await;
    (metric("copied").await, metric("uncopied").await)
}

pub(super) async fn have_copies(stage: &Stage, messages: f64) {
    until("copies to be written and removed", PATIENCE, async || copies(stage).await == (messages, 0.0)).await;
}

/// A backend that consumes in ack mode, and gets so many at a time.
async fn consuming(stage: &Stage, topics: &[&str], window: u32) -> Socket {
    let mut backend = stage.backend().await;
    let pop = json!({"m": "queue.pop", "p": {"t": topics, "a": true, "w": window}, "i": 1});
    assert_eq!(backend.asks(&pop).await["r"], json!({"s": true}));
    backend
}

/// One with room for all.
pub(super) async fn acknowledging(stage: &Stage) -> Socket {
    consuming(stage, &["default"], 500).await
}

/// One that is at work on a message at a time, and a user that has said so many: all but the first wait.
pub(super) async fn slow_with(stage: &Stage, messages: u32) -> (Socket, Socket) {
    let slow = consuming(stage, &["default"], 1).await;
    let mut user = stage.user("/").await;
    says(&mut user, 0..messages).await;
    (slow, user)
}

pub(super) async fn says(user: &mut Socket, numbers: std::ops::Range<u32>) {
    for number in numbers {
        user.says(&number.to_string()).await;
    }
}

/// So many messages: the text of each, its tag, and whether it may be a repeat.
pub(super) async fn hears(backend: &mut Socket, messages: usize) -> Vec<(String, Value, bool)> {
    let mut all = Vec::new();
    while all.len() < messages {
        let event = backend.hears_json().await;
        if event["i"] == 2 {
            // An acknowledgement before: events come before and behind its answer.
            assert_eq!(event["r"], json!({"s": true}), "{event}");
            continue;
        }
        let (p, is_repeat) = (&event["p"], event["p"]["redelivered"] == true);
        all.push((p["d"]["frame"]["data"].as_str().expect("an event").to_owned(), p["k"].clone(), is_repeat));
    }
    all
}

pub(super) async fn acknowledges(backend: &mut Socket, heard: &[(String, Value, bool)]) {
    let tags: Vec<&Value> = heard.iter().map(|(_, tag, _)| tag).collect();
    backend.says(&json!({"m": "queue.ack", "p": {"k": tags}, "i": 2}).to_string()).await;
}

/// All of these once, each marked as a repeat.
pub(super) fn are_repeats(heard: &[(String, Value, bool)], numbers: std::ops::Range<u32>) {
    let texts: BTreeSet<&str> = heard.iter().map(|(text, ..)| text.as_str()).collect();
    let expected: Vec<String> = numbers.map(|number| number.to_string()).collect();
    assert_eq!(texts, expected.iter().map(String::as_str).collect(), "{heard:?}");
    assert!(heard.len() == expected.len() && heard.iter().all(|(.., is_repeat)| *is_repeat), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_had_comes_again_at_another_one_but_for_what_was_acknowledged() {
    let server = Server::start("").unwrap();
    let (a, b, c) = (gateway(&server).await, gateway(&server).await, gateway(&server).await);
    for stage in [&a, &b, &c] {
        sees(stage, 2).await;
    }
    let mut backend = acknowledging(&b).await;
    let mut user = a.user("/").await;
    says(&mut user, 0..60).await;
    let first = hears(&mut backend, 60).await;
    assert!(first.iter().all(|(.., is_repeat)| !is_repeat), "{first:?}");
    acknowledges(&mut backend, &first[..20]).await;
    have_copies(&a, 40.0).await;
    for other in [&b, &c] {
        assert_eq!(copies(other).await, (0.0, 0.0));
    }

    a.node.signal("KILL");
    let adopted = async |stage: &Stage| stage.node.metric("mesh_backplane_adopted_messages").await;
    until("what it left to be found", PATIENCE, async || adopted(&b).await + adopted(&c).await == 40.0).await;
    let again = hears(&mut backend, 40).await;
    are_repeats(&again, 20..60);

    // Nothing is lost either when that one is killed: what it took over is written there still.
    let (heir, last) = if adopted(&b).await > 0.0 { (&b, &c) } else { (&c, &b) };
    acknowledges(&mut backend, &again[..10]).await;
    have_copies(heir, 30.0).await;
    heir.node.signal("KILL");
    if std::ptr::eq(heir, &raw const b) {
        // The consumer is lost with it.
        backend = acknowledging(last).await;
    }
    until("what that one left to be found", PATIENCE, async || adopted(last).await == 30.0).await;
    let again = hears(&mut backend, 30).await;
    are_repeats(&again, 30..60);
    acknowledges(&mut backend, &again).await;
    have_copies(last, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_hands_on_what_is_not_acknowledged() {
    let server = Server::start("").unwrap();
    let (mut a, b) = (gateway(&server).await, gateway(&server).await);
    sees(&a, 1).await;
    let mut backend = acknowledging(&b).await;
    let mut user = a.user("/").await;
    says(&mut user, 0..9).await;
    let first = hears(&mut backend, 9).await;
    assert!(first.iter().enumerate().all(|(n, (text, ..))| *text == n.to_string()), "{first:?}");
    acknowledges(&mut backend, &first[..4]).await;
    // What is acknowledged as it ends may come again.
    have_copies(&a, 5.0).await;
    drop(user);
    a.node.signal("TERM");
    a.node.ended(PATIENCE).await;
    let again = hears(&mut backend, 5).await;
    are_repeats(&again, 4..9);
    acknowledges(&mut backend, &again).await;
    have_copies(&b, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_messages_are_given_out_from_memory_and_have_their_copies_when_it_is_back() {
    let mut server = Server::start("").unwrap();
    let a = gateway(&server).await;
    let mut user = a.user("/").await;
    let mut taking = a.consumer(&["default"]).await;
    says(&mut user, 0..1).await;
    hears(&mut taking, 1).await;
    assert_eq!(copies(&a).await, (0.0, 0.0), "nobody acknowledges anything");
    drop(taking);
    until("the consumer to be gone", PATIENCE, async || a.metric("backends").await == 0.0).await;

    server.kill().unwrap();
    let mut backend = acknowledging(&a).await;
    says(&mut user, 1..4).await;
    let first = hears(&mut backend, 3).await;
    acknowledges(&mut backend, &first[..1]).await;
    until("an acknowledged one to count no more", PATIENCE, async || copies(&a).await == (0.0, 2.0)).await;
    server.start_again().unwrap();
    have_copies(&a, 2.0).await;
    acknowledges(&mut backend, &first[1..]).await;
    have_copies(&a, 0.0).await;

    // Nor is one silent about it whose copies are on their way when NATS goes, and stay there.
    let told = || a.node.log().matches("in the memory of this gateway alone").count();
    let before = told();
    server.kill().unwrap();
    says(&mut user, 4..7).await;
    let last = hears(&mut backend, 3).await;
    until("it to be told", PATIENCE, async || told() > before).await;
    server.start_again().unwrap();
    have_copies(&a, 3.0).await;
    acknowledges(&mut backend, &last).await;
    have_copies(&a, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_taken_for_gone_leaves_its_messages_to_the_one_that_took_them_over() {
    let server = Server::start("").unwrap();
    let (a, b) = (gateway(&server).await, gateway(&server).await);
    for stage in [&a, &b] {
        sees(stage, 1).await;
    }
    let (mut slow, mut user) = slow_with(&a, 5).await;
    let first = hears(&mut slow, 1).await;
    have_copies(&a, 5.0).await;
    a.node.signal("STOP");
    let adopted = async || b.node.metric("mesh_backplane_adopted_messages").await == 5.0;
    until("it to be taken for gone", PATIENCE, adopted).await;
    a.node.signal("CONT");
    have_copies(&a, 0.0).await;
    let topic = async || a.node.metric("mesh_grid_topic_depth{topic=\"default\"}").await;
    until("what waited there to be the other one's", PATIENCE, async || topic().await == 0.0).await;
    // What its consumer was at work on it may acknowledge still.
    acknowledges(&mut slow, &first).await;
    // All are given out by the other one: to the consumer that is there, one by one.
    let mut texts = BTreeSet::new();
    while texts.len() < 5 {
        let one = hears(&mut slow, 1).await;
        acknowledges(&mut slow, &one).await;
        let [(text, _, is_repeat)] = &one[..] else { panic!("{one:?}") };
        assert!(*is_repeat, "{one:?}");
        texts.insert(text.clone());
    }
    have_copies(&b, 0.0).await;
    // It has an estate of its own again.
    says(&mut user, 5..6).await;
    let last = hears(&mut slow, 1).await;
    assert_eq!((last[0].0.as_str(), last[0].2), ("5", false), "{last:?}");
    have_copies(&a, 1.0).await;
}

/// What each says of itself, of those that are as long as this test needs them.
fn numbers(heard: &[(String, Value, bool)]) -> Vec<u64> {
    assert!(heard.iter().all(|(.., is_repeat)| *is_repeat), "they were left");
    let number = |text: &str| serde_json::from_str::<Value>(text).unwrap()["n"].as_u64().unwrap();
    heard.iter().map(|(text, ..)| number(text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_of_a_topic_that_has_no_place_waits_at_nats_and_keeps_no_other_waiting() {
    let mut server = Server::start("").unwrap();
    let of = async |grid: Value| {
        let mut file = file(&server);
        file["grid"] = grid;
        Stage::with(&file, &[]).await
    };
    let rules = json!([{"match": {"jsonPointer": "/op", "equals": "order"}, "topic": "orders"}, {"topic": "default"}]);
    let shop = json!({"name": "shop", "rules": rules, "limits": {"messageBytes": "1Mi"}});
    let a = of(json!({"listeners": [shop]})).await;
    // No listener of this one names that topic, and the only place for such topics is taken.
    let b = of(json!({"topics": {"count": 1}})).await;
    for stage in [&a, &b] {
        sees(stage, 1).await;
    }
    let elsewhere = b.consumer(&["elsewhere"]).await;
    let _slow = consuming(&a, &["orders", "default"], 1).await;
    let mut user = a.user("/").await;
    // More than is read at a time.
    let text = "x".repeat(512 << 10);
    for n in 0..48 {
        user.says(&json!({"op": if n % 2 == 0 { "order" } else { "" }, "n": n, "text": text}).to_string()).await;
        if n % 8 == 0 {
            // It has a log for them, and no more wait for that than may: else some come behind later ones.
            have_copies(&a, f64::from(n) + 1.0).await;
        }
    }
    have_copies(&a, 48.0).await;

    a.node.signal("KILL");
    let adopted = async || b.node.metric("mesh_backplane_adopted_messages").await;
    until("what has a place to be given out", PATIENCE, async || adopted().await == 24.0).await;
    let mut backend = acknowledging(&b).await;
    let heard = hears(&mut backend, 24).await;
    assert_eq!(numbers(&heard), (0..24).map(|n| 2 * n + 1).collect::<Vec<_>>());
    acknowledges(&mut backend, &heard).await;
    have_copies(&b, 0.0).await;
    assert_eq!(adopted().await, 24.0, "there is no place for the others");

    // Nor is anything lost when they have one while NATS is away.
    server.kill().unwrap();
    drop(elsewhere);
    let told = || b.node.log().matches("waits until it can be read").count();
    until("it to be told", PATIENCE, async || told() == 1).await;
    server.start_again().unwrap();
    until("the others to have a place", PATIENCE, async || adopted().await == 48.0).await;
    let mut backend = consuming(&b, &["orders"], 500).await;
    let heard = hears(&mut backend, 24).await;
    assert_eq!(numbers(&heard), (0..24).map(|n| 2 * n).collect::<Vec<_>>());
    acknowledges(&mut backend, &heard).await;
    have_copies(&b, 0.0).await;
}
