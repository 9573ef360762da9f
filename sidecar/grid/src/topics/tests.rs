//! From a push to a consumer, with all that may come between.

use serde_json::{Value, json};

use super::*;
use crate::{
    backend::Permit,
    context::Context,
    copies::Adopted,
    elsewhere::Copied,
    envelope::{Happened, Origin},
    wire::{Data, Opcode, Part},
};

fn topics(config: Value) -> Topics {
    Topics::new(&serde_json::from_value(config).unwrap())
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

fn push(topics: &Topics, name: &str, text: &str) -> Done {
    let client = ClientId::new(7).unwrap();
    let part = Part { opcode: Opcode::Text, data: Data::Text(text.into()), fin: true };
    let origin = Origin { node_name: "n", client, context: &Context::default(), seq: 1, ts: 0 };
    topics.push(&topic(name), client, Event::new(&topic(name), origin, Happened::Message(&part)), None)
}

/// What waits for a session: the texts of the frames, and their tags.
fn got(session: &Session) -> Vec<(String, Option<u64>, bool)> {
    let frames = session.take(Waker::noop());
    let read = |outgoing: Outgoing| {
        let head = if outgoing.frame[1] < 126 { 2 } else { 4 };
        let json: Value = serde_json::from_slice(&outgoing.frame[head..]).unwrap();
        let text = json["p"]["d"]["frame"]["data"].as_str().unwrap().to_owned();
        (text, json["p"]["k"].as_u64(), json["p"]["redelivered"].as_bool().unwrap_or(false))
    };
    frames.into_iter().map(read).collect()
}

use std::task::Waker;

use crate::backend::Outgoing;

const TAKES: Window = Window { acks: false, size: 2 };
const ACKS: Window = Window { acks: true, size: 2 };

#[test]
fn messages_wait_for_a_consumer_and_its_window() {
    let topics = topics(json!({}));
    for text in ["1", "2", "3"] {
        assert_eq!(push(&topics, "t", text).pushed, Some(Pushed::Held));
    }
    let session = topics.open(Permit::local());
    topics.pop(&session, &[topic("t"), topic("t")], TAKES).unwrap();
    let texts = |got: Vec<(String, Option<u64>, bool)>| got.into_iter().map(|got| got.0).collect::<Vec<_>>();
    assert_eq!(texts(got(&session)), ["1", "2"]);
    topics.written(&session, &topic("t"), 2);
    assert_eq!(texts(got(&session)), ["3"]);
    let row = TopicRow { topic: topic("t"), depth: 0, unacked: 0, consumers: 1 };
    assert_eq!(topics.rows(), [row]);
}

#[test]
fn popping_is_all_or_nothing() {
    let topics = topics(json!({"topicOverrides": [{"name": "off", "disabled": true}]}));
    let session = topics.open(Permit::local());
    topics.pop(&session, &[topic("a")], TAKES).unwrap();
    let code = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| topic(name)).collect();
        topics.pop(&session, &names, TAKES).unwrap_err().error.code()
    };
    assert_eq!((code(&["b", "a"]), code(&["b", "off"])), (202, 201));
    assert_eq!(session.topics(), [topic("a")]);
    topics.unpop(&session, None).unwrap();
    topics.unpop(&session, None).unwrap();
    topics.pop(&session, &[topic("a"), topic("b")], TAKES).unwrap();
    topics.unpop(&session, Some(vec![topic("a"), topic("unknown")])).unwrap();
    assert_eq!(session.topics(), [topic("b")]);
}

#[test]
fn unpopping_nothing_is_an_error_where_the_configuration_is_strict() {
    let topics = topics(json!({"topics": {"strictUnpop": true}}));
    let session = topics.open(Permit::local());
    assert_eq!(topics.unpop(&session, None).unwrap_err().code(), 203);
}

#[test]
fn what_a_lost_consumer_held_goes_to_another_one() {
    let topics = topics(json!({}));
    let (first, second) = (topics.open(Permit::local()), topics.open(Permit::local()));
    topics.pop(&first, &[topic("t")], ACKS).unwrap();
    for text in ["1", "2", "3"] {
        push(&topics, "t", text);
    }
    let tags: Vec<u64> = got(&first).into_iter().map(|got| got.1.unwrap()).collect();
    assert_eq!(topics.settle(&second, &tags[..1], Settlement::Ack).unwrap_err().code(), 504, "a foreign tag");
    topics.settle(&first, &tags[..1], Settlement::Ack).unwrap();
    assert_eq!(topics.settle(&first, &tags[..1], Settlement::Ack).unwrap_err().code(), 504, "twice");
    topics.pop(&second, &[topic("t")], ACKS).unwrap();
    topics.unpop(&first, None).unwrap();
    topics.end(&first);
    let again: Vec<_> = got(&second).into_iter().map(|(text, _, redelivered)| (text, redelivered)).collect();
    assert_eq!(again, [("2".to_owned(), true), ("3".to_owned(), true)]);
    assert_eq!(topics.sessions(), 1);
}

#[test]
fn tags_of_two_topics_differ_and_unknown_ones_settle_nothing() {
    let topics = topics(json!({}));
    let session = topics.open(Permit::local());
    topics.pop(&session, &[topic("a"), topic("b")], ACKS).unwrap();
    push(&topics, "a", "1");
    push(&topics, "b", "2");
    let tags: Vec<u64> = got(&session).into_iter().map(|got| got.1.unwrap()).collect();
    assert_ne!(tags[0], tags[1]);
    let with_unknown = [tags[0], 9_999];
    assert_eq!(topics.settle(&session, &with_unknown, Settlement::Ack).unwrap_err(), GridError::UnknownTag(9_999));
    topics.settle(&session, &tags, Settlement::Drop).unwrap();
    assert!(topics.rows().iter().all(|row| row.unacked == 0 && row.depth == 0));
}

#[test]
fn topics_have_a_bound_together_whatever_each_may_hold() {
    let topics = topics(json!({"topics": {"overflow": "drop_oldest"}}));
    assert!(topics.purse.has_room(256 << 20) && !topics.purse.has_room((256 << 20) + 1));
    push(&topics, "a", "1");
    let size = topics.purse.used();
    assert!(size > 0);
    topics.purse.set_most(2 * size);
    assert_eq!(push(&topics, "b", "2").pushed, Some(Pushed::Held));
    assert_eq!(push(&topics, "c", "3").pushed, Some(Pushed::Rejected));
    let session = topics.open(Permit::local());
    topics.pop(&session, &[topic("a"), topic("b")], TAKES).unwrap();
    assert_eq!((push(&topics, "c", "3").pushed, topics.purse.used()), (Some(Pushed::Rejected), 2 * size));
    topics.written(&session, &topic("a"), 1);
    assert_eq!(push(&topics, "c", "3").pushed, Some(Pushed::Held));
    topics.end(&session);
    assert_eq!(topics.purse.used(), size);
}

#[test]
fn who_unpops_and_breaks_off_leaves_nothing_behind() {
    let topics = topics(json!({"topics": {"count": 1}}));
    let session = topics.open(Permit::local());
    topics.pop(&session, &[topic("a")], TAKES).unwrap();
    push(&topics, "a", "on its way");
    topics.unpop(&session, None).unwrap();
    assert_eq!(push(&topics, "b", "1").pushed, None);
    topics.end(&session);
    assert_eq!(push(&topics, "b", "1").pushed, Some(Pushed::Held));
}

#[test]
fn topics_of_the_configuration_have_their_place_whoever_makes_up_others() {
    let topics = topics(json!({
        "topics": {"count": 1},
        "topicOverrides": [{"name": "orders", "messages": 5}],
        "listeners": [{"name": "x", "events": {"handshake": "who"}, "rules": [{"topic": "chat"}]}],
    }));
    let session = topics.open(Permit::local());
    topics.pop(&session, &[topic("made-up")], TAKES).unwrap();
    for name in ["orders", "who", "chat"] {
        assert_eq!(push(&topics, name, "1").pushed, Some(Pushed::Held), "{name}");
    }
    assert_eq!(push(&topics, "made-up-too", "1").pushed, None);
}

#[test]
fn there_are_so_many_topics_and_unused_ones_give_way() {
    let topics = topics(json!({"topics": {"count": 2}}));
    let session = topics.open(Permit::local());
    push(&topics, "a", "1");
    topics.pop(&session, &[topic("b")], TAKES).unwrap();
    assert_eq!(push(&topics, "c", "1").pushed, None);
    assert_eq!(topics.pop(&session, &[topic("c")], TAKES).unwrap_err().error.code(), 201);
    topics.unpop(&session, None).unwrap();
    assert_eq!(push(&topics, "c", "1").pushed, Some(Pushed::Held));
}

#[test]
fn a_topic_that_is_disabled_is_consumed_by_nobody_any_more_and_what_is_on_its_way_is_finished() {
    let all = topics(json!({}));
    let session = all.open(Permit::local());
    all.pop(&session, &[topic("t"), topic("u")], ACKS).unwrap();
    push(&all, "t", "1");
    let tag = got(&session)[0].1.unwrap();
    let disabled = json!({"topicOverrides": [{"name": "t", "disabled": true}]});
    all.configure(&serde_json::from_value(disabled).unwrap());
    assert_eq!(all.enforce_disabled().len(), 1);
    assert_eq!(all.enforce_disabled().len(), 0, "once is enough");
    push(&all, "t", "2");
    assert_eq!((got(&session), session.topics()), (Vec::new(), vec![topic("u")]));
    all.settle(&session, &[tag], Settlement::Ack).unwrap();
    assert_eq!(all.pop(&session, &[topic("t")], ACKS).unwrap_err().error.code(), 201);
    all.configure(&crds::Grid::default());
    all.pop(&session, &[topic("t")], ACKS).unwrap();
    assert_eq!(got(&session)[0].0, "2");
}

#[test]
fn what_was_given_to_others_is_acknowledged_by_them_alone() {
    let all = topics(json!({}));
    let (loses, other) = (all.open(Permit::local()), all.open(Permit::local()));
    all.pop(&loses, &[topic("t"), topic("u")], ACKS).unwrap();
    push(&all, "t", "1");
    push(&all, "u", "2");
    let tags: Vec<u64> = got(&loses).into_iter().filter_map(|got| got.1).collect();
    all.leave(&loses, &[topic("t")]);
    all.pop(&other, &[topic("t")], ACKS).unwrap();
    let again = got(&other);
    assert_eq!((again[0].0.as_str(), again[0].2), ("1", true));
    assert_eq!(all.settle(&loses, &tags[..1], Settlement::Ack), Err(GridError::UnknownTag(tags[0])));
    all.settle(&loses, &tags[1..], Settlement::Ack).unwrap();
    all.settle(&other, &[again[0].1.unwrap()], Settlement::Ack).unwrap();
}

#[test]
fn clients_are_read_again_also_where_the_topic_that_made_room_for_them_was_disabled_meanwhile() {
    let settings = |disabled: bool| json!({"topicOverrides": [{"name": "t", "messages": 1, "overflow": "pause", "disabled": disabled}]});
    let all = topics(settings(false));
    assert_eq!(push(&all, "t", "1").pushed, Some(Pushed::Held));
    assert_eq!(push(&all, "t", "2").pushed, Some(Pushed::Paused));
    let session = all.open(Permit::local());
    let queues = all.wanted(&session, &[topic("t")]).unwrap();
    all.configure(&serde_json::from_value(settings(true)).unwrap());
    let refused = all.consume(&session, queues, Window { acks: false, size: 1 }).unwrap_err();
    assert_eq!((refused.error.code(), refused.resumed), (201, vec![ClientId::new(7).unwrap()]));
    assert!(session.topics().is_empty());
}

#[test]
fn what_another_node_left_says_whether_it_waits_for_a_topic_or_for_room() {
    let topics = topics(json!({"topics": {"count": 1}}));
    push(&topics, "made-up", "1");
    let left = |name: &str| Copied { topic: topic(name), event: Event::from_written(r#"{"n":1}"#.into()) };
    let mut names = Vec::new();
    let mut adopt = |name: &str| topics.adopt(&left(name), |name| names.push(name)).0;
    assert_eq!((adopt("another"), adopt("made-up")), (Adopted::NoTopic, Adopted::Taken));
    assert_eq!(adopt("default"), Adopted::Taken, "the configuration names it");
    topics.purse.set_most(topics.purse.used());
    assert_eq!(adopt("made-up"), Adopted::NoRoom);
    assert_eq!(names.len(), 2);
    let all = ["another", "made-up", "echo", "default"].map(topic);
    let placed = |topics: &Topics| topics.placed(&all);
    assert_eq!(placed(&topics), ["made-up", "default"].map(topic));
    assert_eq!(topics.rows().iter().map(|row| row.depth).collect::<Vec<_>>(), [1, 2]);
}
