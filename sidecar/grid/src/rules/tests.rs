#![allow(clippy::needless_pass_by_value, reason = "a table reads better without references")]

use serde_json::{json, value::RawValue};

use super::*;
use crate::{Channel, Context, Entries, wire::Data};

fn rules(json: serde_json::Value) -> Rules {
    let mut listener = json!({"name": "chat", "path": "/chat"});
    listener.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    Rules::compile(&serde_json::from_value(listener).unwrap()).unwrap()
}

fn topic_of(rules: &Rules, text: &str, peer: Peer<'_>) -> Option<String> {
    let part = Part { opcode: Opcode::Text, data: Data::Text(text.into()), fin: true };
    rules.place(&part, &Content::of(text), peer).map(|place| place.topic.to_string())
}

const PEER: Peer<'static> = Peer { path: "/chat", subprotocol: "" };

#[test]
fn the_first_rule_that_matches_takes_a_message() {
    let rules = rules(json!({"rules": [
        {"match": {"jsonPointer": "/op", "equals": "sendmessage"}, "topic": "chat"},
        {"match": {"jsonPointer": "/n", "equals": "7"}, "topic": "seven"},
        {"match": {"jsonPointer": "/deep/0/x"}, "topic": "deep"},
        {"match": {"regex": "^order-[0-9]+$"}, "topic": "orders"},
        {"match": {"subprotocol": "v2"}, "topic": "v2"},
        {"match": {"path": "/other"}, "topic": "other"},
        {"match": {"frames": ["binary"]}, "topic": "bytes"},
    ]}));
    assert!(rules.reading.assembles);
    let table = [
        (r#"{"op":"sendmessage"}"#, PEER, Some("chat")),
        (r#"{"n":7}"#, PEER, Some("seven")),
        (r#"{"n":"7"}"#, PEER, Some("seven")),
        (r#"{"n":[7]}"#, PEER, None),
        (r#"{"deep":[{"x":null}]}"#, PEER, Some("deep")),
        ("order-17", PEER, Some("orders")),
        ("x", Peer { subprotocol: "v2", ..PEER }, Some("v2")),
        ("x", Peer { path: "/other", ..PEER }, Some("other")),
        ("x", PEER, None),
    ];
    for (text, peer, topic) in table {
        assert_eq!(topic_of(&rules, text, peer).as_deref(), topic, "{text}");
    }
    let binary = Part { opcode: Opcode::Binary, data: Data::Binary(vec![1].into()), fin: true };
    assert_eq!(rules.place(&binary, &Content::none(), PEER).unwrap().topic.as_str(), "bytes");
    let offered = |list: &[&'static str]| rules.subprotocol(list.iter().copied());
    assert_eq!((offered(&["v1", "v2"]), offered(&["v1"]), offered(&[])), (Some("v2"), None, None));
}

#[test]
fn without_rules_everything_goes_to_default_as_it_comes_and_control_frames_nowhere() {
    let rules = rules(json!({}));
    assert_eq!(topic_of(&rules, "x", PEER).as_deref(), Some("default"));
    assert!(!rules.reading.assembles);
    assert_eq!(rules.place_of_control(Opcode::Ping, PEER), None);
    assert_eq!(rules.subprotocol(["a", "b"].into_iter()), Some("a"));
}

#[test]
fn control_frames_go_where_a_rule_asks_for_them_by_name() {
    let rules = rules(json!({"rules": [
        {"topic": "all"},
        {"match": {"frames": ["ping", "close"]}, "topic": "control", "beforeHold": true},
    ]}));
    let place = rules.place_of_control(Opcode::Ping, PEER).unwrap();
    assert_eq!((place.topic.as_str(), place.before_hold), ("control", true));
    assert_eq!(rules.place_of_control(Opcode::Pong, PEER), None);
}

#[test]
fn clients_subscribe_themselves_within_what_is_allowed() {
    let rules = rules(json!({"clientCommands": {
        "pointer": "/op", "channelPointer": "/channel", "subscribe": ["sub", "join"], "unsubscribe": ["leave"],
        "allow": ["room:*", "user:{user_id}"],
    }}));
    let mut context = Context::default();
    let entries = RawValue::from_string(r#"{"user_id":7}"#.into()).unwrap();
    context.merge(Entries::read(&entries).unwrap(), 100).unwrap();
    let read = |text: &str| rules.commands.as_ref().unwrap().read(&Content::of(text), &context);
    let names = |list: &[&str]| list.iter().map(|name| Channel::new(name).unwrap()).collect::<Vec<_>>();
    assert_eq!(read(r#"{"op":"join","channel":"room:1"}"#), Some(Ok(Command::Subscribe(names(&["room:1"])))));
    let both = Command::Unsubscribe(names(&["room:1", "user:7"]));
    assert_eq!(read(r#"{"op":"leave","channel":["room:1","user:7"]}"#), Some(Ok(both)));
    for (text, code) in [
        (r#"{"op":"sub","channel":"user:8"}"#, 501),
        (r#"{"op":"sub","channel":["room:1","secret"]}"#, 501),
        (r#"{"op":"sub","channel":"user:{user_id}"}"#, 501),
        (r#"{"op":"sub"}"#, 101),
        (r#"{"op":"sub","channel":[]}"#, 101),
        (r#"{"op":"sub","channel":["room:1",7]}"#, 101),
        (r#"{"op":"sub","channel":"room: 1"}"#, 101),
    ] {
        assert_eq!(read(text).unwrap().unwrap_err().code(), code, "{text}");
    }
    for text in ["x", "{}", r#"{"op":"say","channel":"room:1"}"#, r#"{"op":7}"#] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn channels_of_the_directory_are_allowed_by_name_alone() {
    for (allow, allowed) in [
        (json!(["datanet:*"]), true),
        (json!(["room:*", "datanet:yunqi"]), true),
        (json!(["*"]), false),
        (json!(["data*"]), false),
        (json!(["{team}:*", "*:yunqi"]), false),
    ] {
        let commands = json!({"pointer": "/op", "channelPointer": "/c", "subscribe": ["sub"], "allow": allow});
        let rules = rules(json!({"clientCommands": commands}));
        let mut context = Context::default();
        context
            .merge(Entries::read(&RawValue::from_string(r#"{"team":"datanet"}"#.into()).unwrap()).unwrap(), 100)
            .unwrap();
        let read = rules.commands.as_ref().unwrap().read(&Content::of(r#"{"op":"sub","c":"datanet:yunqi"}"#), &context);
        assert_eq!(read.unwrap().is_ok(), allowed, "{allow}");
    }
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    for rule in
        [json!({"match": {"regex": "("}, "topic": "t"}), json!({"match": {"regex": "(a{999}){999}"}, "topic": "t"})]
    {
        let listener = serde_json::from_value(json!({"name": "x", "rules": [rule]})).unwrap();
        assert!(Rules::compile(&listener).is_err());
    }
}
