//! What is written is read, and whatever comes is read or refused.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    context::Context,
    envelope::{Happened, Origin},
};

fn client() -> ClientId {
    ClientId::new(1_463_786_910_324_359_168).unwrap()
}

fn function(name: &str, arguments: &[&str]) -> Function {
    let arguments: Vec<_> = arguments.iter().map(|text| RawValue::from_string((*text).into()).unwrap()).collect();
    Function::read(name, &arguments.iter().map(|one| &**one).collect::<Vec<_>>()).unwrap()
}

/// What differs is seen in how it is shown.
fn same<T: std::fmt::Debug>(one: &T, read: Option<&T>) {
    assert_eq!(format!("{:?}", Some(one)), format!("{read:?}"));
}

#[test]
fn questions_are_read_as_they_were_written() {
    let message = |opcode, text: &'static str| Message { opcode, payload: text.into() };
    let channels: Arc<[Channel]> = [Channel::new("room:1").unwrap(), Channel::new("é").unwrap()].into();
    let messages: Arc<[Message]> = [message(Opcode::Text, "x"), message(Opcode::Binary, "")].into();
    let functions = [
        function("set_context_value", &[r#""color""#, "[1.0, {}]"]),
        function("set_context", &[r#"{"a":1,"b":"c"}"#]),
        function("merge_context", &["{}"]),
        function("get_context", &[]),
        function("subscribe", &[r#""room:1""#, r#""room:2""#]),
        function("unsubscribe", &[r#""room:1""#]),
        function("close", &[]),
        function("close", &["4000", r#""go \"home\"""#]),
        function("info", &[]),
        function("channels", &[]),
        function("pause", &[]),
        function("resume", &[]),
    ];
    let calls = functions.into_iter().map(|function| Question::Call(client(), function));
    let others = [Question::Send(client(), message(Opcode::Binary, "data")), Question::Publish(channels, messages)];
    for question in calls.chain(others) {
        same(&question, Question::read(question.write()).as_ref());
    }
}

#[test]
fn answers_are_read_as_they_were_written() {
    let all = [Ok(()), Err(Unsent::Gone), Err(Unsent::Slow), Err(Unsent::Unreachable), Err(Unsent::TooLarge)];
    let reached = Reached { sent: 1, failed: 2, slow: 3, too_large: usize::MAX };
    let others = [
        Answer::Reached(vec![reached, Reached::default()]),
        Answer::Called(Ok(RawValue::from_string(r#"{"s":true}"#.into()).unwrap())),
        Answer::Called(Err(GridError::CallFailed("no such client: 7".into()))),
        Answer::Called(Err(GridError::Invalid("a key is a string".into()))),
    ];
    for answer in all.map(Answer::Sent).into_iter().chain(others) {
        same(&answer, Answer::read(answer.write()).as_ref());
    }
    // Any other fault there is a fault of the grid's here.
    let other = Answer::read(Answer::Called(Err(GridError::Draining)).write());
    assert!(matches!(other, Some(Answer::Called(Err(GridError::Internal(_))))));
}

#[test]
fn notices_are_read_as_they_were_written() {
    let (consumer, topic) = (ConsumerId(u64::MAX), Topic::new("orders").unwrap());
    let context = Context::default();
    let origin = Origin { node_name: "grid-0", client: client(), context: &context, seq: 1, ts: 2 };
    let event = Event::new(&topic, origin, Happened::Control(Opcode::Ping, b"x"));
    let given =
        |tag, redelivered| Notice::Given { consumer, topic: topic.clone(), event: event.clone(), tag, redelivered };
    let window = |acks| Window { acks, size: 64 };
    let all = [
        Notice::Consumes { consumer, topics: vec![(topic.clone(), window(true)), (topic.clone(), window(false))] },
        Notice::Consumes { consumer, topics: Vec::new() },
        Notice::Gone(consumer),
        Notice::Written(consumer, topic.clone(), 7),
        Notice::Settled(consumer, vec![1, u64::MAX], Settlement::Ack),
        Notice::Settled(consumer, Vec::new(), Settlement::Again),
        Notice::Settled(consumer, vec![3], Settlement::Drop),
        given(None, false),
        given(Some(9), true),
    ];
    for notice in all {
        same(&notice, Notice::read(notice.write()).as_ref());
    }
}

#[test]
fn what_is_cut_or_goes_on_is_none() {
    let whole = Question::Send(client(), Message { opcode: Opcode::Text, payload: "data".into() }).write();
    for length in 0..whole.len() {
        assert!(Question::read(whole.slice(..length)).is_none(), "{length} bytes of it are read");
    }
    assert!(Question::read([&whole[..], b"x"].concat().into()).is_none());
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let (question, answer, notice) =
            (Question::read(bytes.clone()), Answer::read(bytes.clone()), Notice::read(bytes));
        // What is read can be written again.
        question.into_iter().for_each(|question| drop(question.write()));
        answer.into_iter().for_each(|answer| drop(answer.write()));
        notice.into_iter().for_each(|notice| drop(notice.write()));
    }
}
