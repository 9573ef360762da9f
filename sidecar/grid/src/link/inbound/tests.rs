//! What becomes of what a client sends.

#![allow(clippy::needless_pass_by_value, reason = "a table reads better without references")]

use std::task::Waker;

use futures::FutureExt;
use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::{
    Context, EPOCH_MS, Key, Mint, NodeNumber,
    backend::{Permit, Session},
    clients::Opened,
    envelope::Window,
    rules::Rules,
};

struct Bench {
    grid: Grid,
    client: Arc<Client>,
    inbound: Inbound,
    backend: Arc<Session>,
}

impl Bench {
    fn new(listener: Value) -> Self {
        let mut mint = Mint::new(NodeNumber::default(), EPOCH_MS + 1);
        mint.reserve(EPOCH_MS + 1000);
        let grid = Grid::new(&crds::Grid::default(), (NodeNumber::default(), "grid-0"), mint, 1);
        let mut all = json!({"name": "x"});
        all.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
        let rules = Arc::new(Rules::compile(&serde_json::from_value(all).unwrap()).unwrap());
        let (id, remote) =
            (grid.issue_id(EPOCH_MS + 1).now_or_never().unwrap().unwrap(), "10.0.0.1:1".parse().unwrap());
        let client = Client::new(Opened { id, shard: 0, remote, rules, deflates: false, context: Context::default() });
        grid.clients.open(&client);
        let backend = grid.topics.open(Permit::local());
        let topics = ["default", "login", "events"].map(|name| Topic::new(name).unwrap());
        grid.topics.pop(&backend, &topics, Window { acks: false, size: 1000 }).unwrap();
        Self { grid, client, inbound: Inbound::new(""), backend }
    }

    fn says(&mut self, text: &str) {
        self.says_in(Opcode::Text, text, true);
    }

    fn says_in(&mut self, opcode: Opcode, text: &str, fin: bool) {
        let part = Part { opcode, data: Data::Text(text.into()), fin };
        self.inbound.part(&self.grid, &self.client, part, 1);
    }

    fn reads(&self) -> bool {
        self.inbound.reads(&self.grid, &self.client)
    }

    fn lets_go(&mut self, key: &str) {
        let value = RawValue::from_string("1".into()).unwrap();
        self.client.set_value(Key::new(key).unwrap(), value).unwrap();
        self.inbound.release(&self.grid, &self.client);
    }

    /// What consumers got: the topic, the text or the event, and the number within the connection.
    fn consumed(&self) -> Vec<(String, String, u64)> {
        let frames = self.backend.take(Waker::noop());
        let read = |frame: &[u8]| {
            let json: Value = serde_json::from_slice(&frame[if frame[1] < 126 { 2 } else { 4 }..]).unwrap();
            let d = &json["p"]["d"];
            let what = d["frame"]["data"].as_str().or(d["event"].as_str()).unwrap().to_owned();
            (json["p"]["t"].as_str().unwrap().to_owned(), what, d["seq"].as_u64().unwrap())
        };
        frames.iter().map(|outgoing| read(&outgoing.frame)).collect()
    }

    /// What the client was told.
    fn told(&self) -> Vec<String> {
        let frames = self.client.take(Waker::noop()).map(|outgoing| outgoing.frames).unwrap_or_default();
        frames
            .iter()
            .map(|frame| String::from_utf8_lossy(&frame[if frame[1] < 126 { 2 } else { 4 }..]).into())
            .collect()
    }
}

fn texts(all: Vec<(String, String, u64)>) -> Vec<String> {
    all.into_iter().map(|one| one.1).collect()
}

#[test]
fn messages_go_to_their_topic_in_order_and_a_text_ping_is_answered() {
    let mut bench = Bench::new(json!({"events": {"handshake": "events", "close": "events"}}));
    let happened = Happened::Handshake { uri: "/", remote: "r", headers: &[] };
    bench.inbound.opened(&bench.grid, &bench.client, happened, 1);
    bench.says("ping");
    bench.says("hello");
    bench.says_in(Opcode::Text, "a", false);
    bench.says_in(Opcode::Continuation, "b", true);
    bench.inbound.closed(&bench.grid, &bench.client, &Close::default(), 1);
    let topic = |topic: &str, what: &str, seq| (topic.to_owned(), what.to_owned(), seq);
    let expected = [
        topic("events", "handshake", 1),
        topic("default", "hello", 2),
        topic("default", "a", 3),
        topic("default", "b", 4),
        topic("events", "close", 5),
    ];
    assert_eq!((bench.consumed(), bench.told()), (expected.to_vec(), vec!["pong".to_owned()]));
}

#[test]
fn without_text_ping_it_is_a_message_like_any_other() {
    let mut bench = Bench::new(json!({"textPing": false}));
    bench.says("ping");
    assert_eq!((texts(bench.consumed()), bench.told().len()), (vec!["ping".to_owned()], 0));
}

#[test]
fn messages_wait_for_the_key_but_for_the_login_and_come_in_order_then() {
    let rules = json!([
        {"match": {"jsonPointer": "/op", "equals": "login"}, "topic": "login", "beforeHold": true},
        {"topic": "default"},
    ]);
    let mut bench = Bench::new(json!({"holdUntil": {"key": "user_id"}, "rules": rules}));
    for text in ["1", r#"{"op":"login"}"#, "2"] {
        bench.says(text);
    }
    assert_eq!(texts(bench.consumed()), [r#"{"op":"login"}"#]);
    assert!(holds(&bench.client).is_some() && bench.reads());
    bench.lets_go("other");
    assert_eq!(texts(bench.consumed()).len(), 0);
    bench.lets_go("user_id");
    bench.says("3");
    assert_eq!(texts(bench.consumed()), ["1", "2", "3"]);
}

#[test]
fn what_is_held_back_is_bounded_as_the_listener_says() {
    let after = |overflow: &str| {
        let mut bench = Bench::new(json!({"holdUntil": {"key": "k", "messages": 2}, "overflow": overflow}));
        ["1", "2"].iter().for_each(|text| bench.says(text));
        let reads = bench.reads();
        if reads {
            bench.says("3");
        }
        bench.lets_go("k");
        (reads, texts(bench.consumed()), bench.told().len())
    };
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(after("drop_oldest"), (true, owned(&["2", "3"]), 0));
    assert_eq!(after("drop_newest"), (true, owned(&["1", "2"]), 0));
    assert_eq!(after("reject"), (true, owned(&["1", "2"]), 1));
    assert_eq!(after("pause"), (false, owned(&["1", "2"]), 0));
}

#[test]
fn what_is_held_back_is_bounded_as_the_topic_says_where_the_listener_does_not() {
    let after = |topics: Value| {
        let mut bench = Bench::new(json!({"holdUntil": {"key": "k", "messages": 2}}));
        bench.grid.configure(&serde_json::from_value(topics).unwrap());
        ["1", "2"].iter().for_each(|text| bench.says(text));
        if bench.reads() {
            bench.says("3");
        }
        bench.lets_go("k");
        (texts(bench.consumed()).concat(), bench.told().len())
    };
    let own = |overflow: &str| json!({"topicOverrides": [{"name": "default", "overflow": overflow}]});
    for (topics, expected) in [
        (json!({}), ("12", 1)),
        (json!({"topics": {"overflow": "drop_oldest"}}), ("23", 0)),
        (own("drop_newest"), ("12", 0)),
        (own("pause"), ("12", 0)),
        (json!({"topicOverrides": [{"name": "other", "overflow": "drop_oldest"}]}), ("12", 1)),
    ] {
        assert_eq!(after(topics.clone()), (expected.0.to_owned(), expected.1), "{topics}");
    }
}

#[test]
fn a_message_of_a_topic_that_pauses_is_the_last_that_is_read_while_others_are_refused() {
    let rules = json!([{"match": {"jsonPointer": "/t", "equals": "login"}, "topic": "login"}, {"topic": "default"}]);
    let mut bench = Bench::new(json!({"holdUntil": {"key": "k", "messages": 1}, "rules": rules}));
    let pauses = json!({"topicOverrides": [{"name": "login", "overflow": "pause"}]});
    bench.grid.configure(&serde_json::from_value(pauses).unwrap());
    ["1", "2"].iter().for_each(|text| bench.says(text));
    assert_eq!((bench.told().len(), bench.reads()), (1, true));
    bench.says(r#"{"t":"login"}"#);
    assert!(!bench.reads());
    bench.lets_go("k");
    assert_eq!((texts(bench.consumed()), bench.told().len()), (vec!["1".to_owned(), r#"{"t":"login"}"#.to_owned()], 0));
}

#[test]
fn what_is_held_back_is_bounded_in_bytes_too() {
    let after = |overflow: &str| {
        let limits = json!({"messageBytes": "10"});
        let mut bench = Bench::new(json!({"holdUntil": {"key": "k"}, "overflow": overflow, "limits": limits}));
        for text in ["123456", "abcdef", "next"] {
            if bench.reads() {
                bench.says(text);
            }
        }
        bench.lets_go("k");
        assert_eq!(bench.inbound.held_bytes(), 0);
        texts(bench.consumed())
    };
    assert_eq!(after("drop_oldest"), ["abcdef", "next"]);
    for overflow in ["drop_newest", "reject", "pause"] {
        assert_eq!(after(overflow), ["123456", "abcdef"], "{overflow}");
    }
}

#[test]
fn clients_subscribe_themselves_and_learn_what_they_may_not() {
    let commands = json!({"pointer": "/op", "channelPointer": "/ch", "subscribe": ["sub"], "unsubscribe": ["unsub"],
        "allow": ["room:*"]});
    let mut bench = Bench::new(json!({"clientCommands": commands}));
    bench.says(r#"{"op":"sub","ch":"room:1"}"#);
    assert_eq!(bench.client.channels().len(), 1);
    bench.says(r#"{"op":"sub","ch":"hall"}"#);
    assert!(bench.told()[0].starts_with(r#"{"E":{"c":501,"#));
    bench.says(r#"{"op":"unsub","ch":"room:1"}"#);
    assert_eq!((bench.client.channels().len(), bench.consumed().len()), (0, 0));
}

#[test]
fn control_frames_go_where_they_are_asked_for() {
    let mut bench = Bench::new(json!({"rules": [{"match": {"frames": ["ping"]}, "topic": "events"}]}));
    bench.inbound.control(&bench.grid, &bench.client, (Opcode::Ping, b"x"), 1);
    bench.inbound.control(&bench.grid, &bench.client, (Opcode::Pong, b"x"), 1);
    bench.says("nowhere");
    assert_eq!(texts(bench.consumed()), ["eA=="]);
}

/// A listener where a backend lets clients go on, and clients subscribe themselves.
fn with_commands(allow: &str) -> Bench {
    let commands = json!({"pointer": "/op", "channelPointer": "/ch", "subscribe": ["sub"], "allow": [allow]});
    let rules = json!([
        {"match": {"jsonPointer": "/op", "equals": "login"}, "topic": "login", "beforeHold": true},
        {"topic": "default"},
    ]);
    Bench::new(json!({"holdUntil": {"key": "user_id"}, "rules": rules, "clientCommands": commands}))
}

#[test]
fn nobody_subscribes_before_he_has_been_let_go_on() {
    let mut bench = with_commands("room:*");
    bench.says(r#"{"op":"sub","ch":"room:1"}"#);
    bench.says(r#"{"op":"login"}"#);
    assert_eq!((bench.client.channels().len(), bench.told().len()), (0, 0));
    assert_eq!(texts(bench.consumed()), [r#"{"op":"login"}"#]);
    bench.lets_go("user_id");
    assert_eq!((bench.client.channels().len(), bench.told().len(), bench.consumed().len()), (1, 0, 0));
}

#[test]
fn a_subscription_behind_the_login_is_looked_at_as_of_the_one_who_logged_in() {
    let mut bench = with_commands("user:{user_id}");
    bench.says(r#"{"op":"login"}"#);
    bench.says(r#"{"op":"sub","ch":"user:1"}"#);
    bench.says(r#"{"op":"sub","ch":"user:2"}"#);
    assert_eq!(bench.told().len(), 0);
    bench.lets_go("user_id");
    assert_eq!(bench.client.channels(), [crate::Channel::new("user:1").unwrap()]);
    assert!(bench.told()[0].starts_with(r#"{"E":{"c":501,"#));
}

#[test]
fn a_hold_that_was_over_does_not_begin_again() {
    let mut bench = Bench::new(json!({"holdUntil": {"key": "user_id"}}));
    bench.lets_go("user_id");
    bench.client.set_context(crate::context::Entries::default()).unwrap();
    assert!(holds(&bench.client).is_some() && bench.inbound.is_released());
    bench.says("1");
    assert_eq!(texts(bench.consumed()), ["1"]);
}

#[test]
fn a_login_in_fragments_passes_as_a_whole() {
    let rules = json!([
        {"match": {"frames": ["text"]}, "topic": "login", "beforeHold": true},
        {"topic": "default"},
    ]);
    let mut bench = Bench::new(json!({"holdUntil": {"key": "user_id"}, "rules": rules}));
    bench.says_in(Opcode::Text, "log", false);
    bench.says_in(Opcode::Continuation, "i", false);
    bench.says_in(Opcode::Continuation, "n", true);
    assert_eq!(texts(bench.consumed()), ["log", "i", "n"]);
}

#[test]
fn fragments_whose_beginning_was_not_taken_are_not_either() {
    let after = |overflow: &str| {
        let mut bench = Bench::new(json!({"rules": [{"topic": "full"}], "overflow": overflow}));
        bench.grid.configure(&serde_json::from_value(json!({"topics": {"messages": 1}})).unwrap());
        bench.says("1");
        bench.says_in(Opcode::Text, "2a", false);
        let topic = Topic::new("full").unwrap();
        bench.grid.topics.pop(&bench.backend, &[topic], Window { acks: false, size: 9 }).unwrap();
        bench.says_in(Opcode::Continuation, "2b", false);
        bench.says_in(Opcode::Continuation, "2c", true);
        bench.says("3");
        texts(bench.consumed())
    };
    assert_eq!(after("reject"), ["1", "3"]);
    assert_eq!(after("drop_newest"), ["1", "3"]);
    assert_eq!(after("pause"), ["1", "2a", "2b", "2c", "3"]);
}

#[test]
fn of_what_is_held_back_whole_messages_are_dropped() {
    let hold = json!({"key": "k", "messages": 2});
    let mut bench = Bench::new(json!({"holdUntil": hold, "overflow": "drop_oldest"}));
    bench.says_in(Opcode::Text, "1a", false);
    bench.says_in(Opcode::Continuation, "1b", false);
    bench.says_in(Opcode::Continuation, "1c", false);
    bench.says_in(Opcode::Continuation, "1d", true);
    bench.says("2");
    bench.lets_go("k");
    assert_eq!(texts(bench.consumed()), ["2"]);
}

#[test]
fn who_has_said_nothing_is_not_told_that_an_event_was_not_taken() {
    let mut bench = Bench::new(json!({"events": {"handshake": "full", "close": "full"}}));
    bench.grid.configure(&serde_json::from_value(json!({"topics": {"messages": 0}})).unwrap());
    let happened = Happened::Handshake { uri: "/", remote: "r", headers: &[] };
    bench.inbound.opened(&bench.grid, &bench.client, happened, 1);
    bench.inbound.closed(&bench.grid, &bench.client, &Close::default(), 1);
    assert_eq!(bench.told().len(), 0);
}

#[test]
fn a_message_keeps_the_time_at_which_it_came() {
    let mut bench = Bench::new(json!({"holdUntil": {"key": "k"}}));
    let part = Part { opcode: Opcode::Text, data: Data::Text("x".into()), fin: true };
    bench.inbound.part(&bench.grid, &bench.client, part, 17);
    bench.lets_go("k");
    let frames = bench.backend.take(Waker::noop());
    assert!(String::from_utf8_lossy(&frames[0].frame).contains(r#""ts":17"#));
}
