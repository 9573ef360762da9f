//! Design section 6: a message goes when its answer was written, and comes back when it was not.

use std::time::Duration;

use http_body_util::BodyExt;
use mesh_core::Caller;
use mesh_transport::{Draft, Key, Origin, Reader};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::node::{A, Ask, Node, hear};

fn key() -> Key {
    Key { session: mesh_core::SessionId::new("s1"), topic: mesh_core::Topic::new("t1") }
}

fn push(text: &str) -> Ask {
    Ask::json("push", &json!({"topic": "t1", "payload": text.bytes().collect::<Vec<_>>()}))
}

fn pop() -> Ask {
    Ask::json("pop", &json!({"topic": "t1", "timeout": 100}))
}

async fn popped(node: &Node) -> String {
    let delivery = node.channels.pop(&key(), &Reader::application(), Instant::now()).await.unwrap();
    let Some(delivery) = delivery else { return String::new() };
    delivery.lease.unwrap().commit();
    String::from_utf8(delivery.payload.to_vec()).unwrap()
}

#[tokio::test]
async fn an_answer_read_to_its_end_commits() {
    let node = Node::new(A, &[], &json!({}));
    node.ask(push("one")).await;
    let response = node.answer(Caller::Local, pop()).await;
    assert_eq!(node.channels.levels().messages, 1, "leased: its place and its bytes are kept");
    hear(response).await;
    assert_eq!(node.channels.levels().messages, 0);
}

#[tokio::test]
async fn a_broken_pop_goes_back_to_its_place() {
    let node = Node::new(A, &[], &json!({}));
    for text in ["one", "two", "three"] {
        node.ask(push(text)).await;
    }
    let first = node.answer(Caller::Local, pop()).await;
    assert_eq!(popped(&node).await, "two", "the order is that of first leases");
    drop(first);
    let again = node.answer(Caller::Local, pop()).await;
    assert_eq!(again.headers()["x-ptp-redelivered"], "true");
    assert_eq!(hear(again).await.json()["payload"], "b25l");
    assert_eq!(popped(&node).await, "three");
}

#[tokio::test]
async fn an_answer_broken_in_its_middle_goes_back_whole() {
    let node = Node::new(A, &[], &json!({}));
    let payload = "x".repeat(100_000);
    node.ask(push(&payload)).await;
    let mut answer = node.answer(Caller::Local, pop()).await.into_body();
    answer.frame().await.unwrap().unwrap();
    drop(answer);
    assert_eq!(popped(&node).await, payload);
}

#[tokio::test]
async fn what_comes_back_goes_to_the_oldest_waiter() {
    let node = Node::new(A, &[], &json!({}));
    node.ask(push("one")).await;
    let first = node.answer(Caller::Local, pop()).await;
    let (key, reader) = (key(), Reader::application());
    let waiting = node.channels.pop(&key, &reader, Instant::now() + Duration::from_secs(60));
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(20), &mut waiting).await.is_err());
    drop(first);
    let delivery = timeout(Duration::from_secs(50), waiting).await.unwrap().unwrap().unwrap();
    assert!(delivery.redelivered);
}

#[tokio::test]
async fn a_waiter_that_was_served_and_then_cancelled_loses_nothing() {
    let node = Node::new(A, &[], &json!({}));
    let (key, reader) = (key(), Reader::application());
    let mut waiting = Box::pin(node.channels.pop(&key, &reader, Instant::now() + Duration::from_secs(60)));
    assert!(futures::poll!(&mut waiting).is_pending());
    node.ask(push("one")).await;
    // It was handed the message under the lock and never polled again.
    drop(waiting);
    assert_eq!(popped(&node).await, "one");
}

#[tokio::test]
async fn a_waiter_that_disconnects_swallows_nothing() {
    let node = Node::new(A, &[], &json!({}));
    let mut popping = Box::pin(node.ask(pop()));
    assert!(futures::poll!(&mut popping).is_pending());
    drop(popping);
    node.ask(push("one")).await;
    assert_eq!(popped(&node).await, "one");
}

#[tokio::test]
async fn a_consuming_peek_hands_back_like_a_pop() {
    let node = Node::new(A, &[], &json!({"peek": "Consume"}));
    node.ask(push("one")).await;
    let peek = || Ask::json("peek", &json!({"topic": "t1"}));
    drop(node.answer(Caller::Local, peek()).await);
    assert_eq!(node.ask(peek()).await.json()["payload"], "b25l");
    assert_eq!(node.channels.levels().messages, 0);
}

#[tokio::test]
async fn a_lease_broken_after_a_release_is_dropped() {
    let node = Node::new(A, &[], &json!({}));
    for topic in ["t1", ""] {
        node.ask(push("one")).await;
        let answer = node.answer(Caller::Local, pop()).await;
        node.ask(Ask::json("release", &json!({ "topic": topic }))).await;
        drop(answer);
        assert_eq!((node.channels.levels().messages, node.channels.levels().bytes), (0, 0), "{topic}");
    }
}

#[tokio::test]
async fn a_payload_goes_through_without_a_copy() {
    let node = Node::new(A, &[], &json!({}));
    let payload = bytes::Bytes::from(vec![1; 100_000]);
    let draft = Draft { payload: payload.clone(), metadata: None, source: None, origin: Origin::Application, id: None };
    node.channels.push(&key(), draft, None, Instant::now()).await.unwrap();
    let delivery = node.channels.pop(&key(), &Reader::application(), Instant::now()).await.unwrap().unwrap();
    assert_eq!(delivery.payload.as_ptr(), payload.as_ptr());
}

#[tokio::test]
async fn a_small_payload_does_not_keep_the_buffer_that_it_came_in() {
    let node = Node::new(A, &[], &json!({}));
    let buffer = bytes::Bytes::from(vec![1; 100_000]);
    let draft =
        Draft { payload: buffer.slice(..1000), metadata: None, source: None, origin: Origin::Application, id: None };
    node.channels.push(&key(), draft, None, Instant::now()).await.unwrap();
    assert!(buffer.is_unique());
    assert_eq!(popped(&node).await.len(), 1000);
}
