//! PTP section 9 and design section 6, sentence by sentence, where no other file of these tests has the sentence already:
//! order, waiting, peek, release, idleness and age. In paused time, on plain types.
//!
//! They stand twice among the tests: `alone`, for a node that has its sessions for itself, and `sharing`, for one of several gateways,
//! which keep what is unread in each session's log.

use std::{sync::Arc, time::Duration};

use mesh_core::{NodeId, SessionId, Topic};
use mesh_transport::{Delivery, Draft, Key, Origin, Reader, TransportError};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::node;
use crate::node::{B, C, Node};

const MINUTE: Duration = Duration::from_secs(60);

fn key(session: &str, topic: &str) -> Key {
    Key { session: SessionId::new(session), topic: Topic::new(topic) }
}

fn draft(text: &str, source: Option<&str>, origin: Origin) -> Draft {
    Draft { payload: text.to_owned().into(), metadata: None, source: source.map(NodeId::new), origin, id: None }
}

async fn push(node: &Node, key: &Key, text: &str) {
    let draft = draft(text, None, Origin::Application);
    node.channels.push(key, draft, None, Instant::now() + MINUTE).await.unwrap();
}

async fn push_of(node: &Node, key: &Key, text: &str, partner: &str) {
    let route = node.route(partner);
    let draft = draft(text, Some(partner), Origin::Partner(route.node_id.clone()));
    node.channels.push(key, draft, Some(&route), Instant::now() + MINUTE).await.unwrap();
}

async fn pop(node: &Node, key: &Key, reader: &Reader, wait: Duration) -> Result<Option<Delivery>, TransportError> {
    node.channels.pop(key, reader, Instant::now() + wait).await
}

async fn popped(node: &Node, key: &Key) -> String {
    popped_by(node, key, &Reader::application()).await
}

async fn popped_by(node: &Node, key: &Key, reader: &Reader) -> String {
    let Some(delivery) = pop(node, key, reader, Duration::ZERO).await.unwrap() else { return "none".into() };
    delivery.lease.unwrap().commit();
    String::from_utf8(delivery.payload.to_vec()).unwrap()
}

fn text(delivery: Result<Option<Delivery>, TransportError>) -> String {
    let delivery = delivery.unwrap().unwrap();
    delivery.lease.unwrap().commit();
    String::from_utf8(delivery.payload.to_vec()).unwrap()
}

/// 9.1: "Build the key as a pair, not a joined text."
#[tokio::test]
async fn a_key_is_a_pair_and_no_joined_text() {
    let node = node(&json!({})).await;
    push(&node, &key("a", "b.c"), "one").await;
    push(&node, &key("", "t"), "two").await;
    assert_eq!(popped(&node, &key("a.b", "c")).await, "none");
    assert_eq!(popped(&node, &key("t", "")).await, "none");
    assert_eq!(popped(&node, &key("a", "b.c")).await, "one");
}

/// 9.3: "A waiter is served in arrival order ... the oldest matching waiter gets it."
#[tokio::test]
async fn the_oldest_waiter_that_takes_a_message_is_served() {
    let (node, key) = (node(&json!({})).await, key("s", "t"));
    let from = |source| Reader { source: Some(NodeId::new(source)), ..Reader::application() };
    let readers = [from("alice"), from("bob"), Reader::application(), from("bob"), Reader::application()];
    let mut waiters: Vec<_> = readers.iter().map(|reader| Box::pin(pop(&node, &key, reader, MINUTE))).collect();
    for waiter in &mut waiters {
        assert!(futures::poll!(waiter).is_pending());
    }
    // Who takes each: bob's first choosy one stands before the first that takes any.
    for (source, text_of, place) in [("bob", "1", 1), ("bob", "2", 1), ("carol", "3", 2), ("bob", "4", 1)] {
        let draft = draft(text_of, Some(source), Origin::Application);
        node.channels.push(&key, draft, None, Instant::now() + MINUTE).await.unwrap();
        assert_eq!(text(waiters.remove(place).await), text_of);
    }
    assert!(futures::poll!(&mut waiters[0]).is_pending(), "nothing of alice came");
}

/// 9.3: "none whose answer time is past".
#[tokio::test(start_paused = true)]
async fn a_waiter_whose_time_is_past_is_served_no_more() {
    let (node, key, reader) = (node(&json!({})).await, key("s", "t"), Reader::application());
    let mut late = Box::pin(pop(&node, &key, &reader, MINUTE));
    assert!(futures::poll!(&mut late).is_pending());
    tokio::time::advance(MINUTE + Duration::from_millis(1)).await;
    // It was not polled since: it does not know yet that its time is over.
    push(&node, &key, "one").await;
    assert!(late.await.unwrap().is_none());
    assert_eq!(popped(&node, &key).await, "one");
}

/// 9.3: the waiter is served. It has waited longer than the push, so where one thread answers both it goes first.
#[tokio::test]
async fn a_pop_that_waited_is_answered_before_the_push_that_it_got() {
    let (node, order) = (node(&json!({})).await, Arc::<Mutex<Vec<&str>>>::default());
    let (popping, pushing) = (Arc::clone(&node.channels), Arc::clone(&node.channels));
    let (popped, pushed) = (Arc::clone(&order), Arc::clone(&order));
    let waits = tokio::spawn(async move {
        let until = Instant::now() + MINUTE;
        popping.pop(&key("s", "t"), &Reader::application(), until).await.unwrap().unwrap();
        popped.lock().push("pop");
    });
    tokio::task::yield_now().await;
    let pushes = tokio::spawn(async move {
        pushing
            .push(&key("s", "t"), draft("one", None, Origin::Application), None, Instant::now() + MINUTE)
            .await
            .unwrap();
        pushed.lock().push("push");
    });
    waits.await.unwrap();
    pushes.await.unwrap();
    assert_eq!(*order.lock(), ["pop", "push"]);
}

/// 9.4: "Returns the oldest message that is not leased, or an empty success."
#[tokio::test]
async fn a_peek_passes_over_what_is_leased() {
    let (node, key, reader) = (node(&json!({})).await, key("s", "t"), Reader::application());
    for text in ["one", "two"] {
        push(&node, &key, text).await;
    }
    let leased = pop(&node, &key, &reader, Duration::ZERO).await.unwrap().unwrap();
    let seen = async || node.channels.peek(&key, &reader).await.unwrap().map(|delivery| delivery.payload);
    assert_eq!(seen().await.unwrap(), "two");
    assert_eq!(popped(&node, &key).await, "two");
    assert!(seen().await.is_none());
    drop(leased);
    assert_eq!(seen().await.unwrap(), "one");
}

/// D8: "The empty session is never tombstoned; releasing it frees its queues and wakes its waiters, nothing more."
#[tokio::test]
async fn the_empty_session_is_freed_and_never_refused() {
    let (node, reader) = (node(&json!({})).await, Reader::application());
    push(&node, &key("", "t"), "one").await;
    let waits_at = key("", "u");
    let mut waiting = Box::pin(pop(&node, &waits_at, &reader, MINUTE));
    assert!(futures::poll!(&mut waiting).is_pending());
    node.channels.release(&key("", ""), &Origin::Application).await.unwrap();
    assert!(matches!(waiting.await, Err(TransportError::Released { .. })));
    assert_eq!((node.channels.levels().messages, node.channels.levels().tombstones), (0, 0));
    push(&node, &key("", "t"), "two").await;
    assert_eq!(popped(&node, &key("", "t")).await, "two");
}

/// D8: "Releasing what does not exist, or again, is success."
#[tokio::test]
async fn releasing_what_is_not_there_or_again_is_success() {
    let node = node(&json!({})).await;
    for topic in ["t", "", "", "t"] {
        node.channels.release(&key("s", topic), &Origin::Application).await.unwrap();
    }
}

/// Section 2: "its release frees only those", and wakes only its own calls.
#[tokio::test]
async fn a_partners_release_touches_nothing_that_is_not_its_own() {
    let (node, key, all) = (node(&json!({})).await, key("s", "t"), key("s", ""));
    push_of(&node, &key, "b's", B).await;
    push_of(&node, &key, "c's", C).await;
    push(&node, &key, "for both").await;
    let elsewhere = Key { topic: Topic::new("u"), ..key.clone() };
    let readers = [Reader::partner(NodeId::new(B)), Reader::partner(NodeId::new(C)), Reader::application()];
    let mut waiters: Vec<_> = readers.iter().map(|reader| Box::pin(pop(&node, &elsewhere, reader, MINUTE))).collect();
    for waiter in &mut waiters {
        assert!(futures::poll!(waiter).is_pending());
    }
    node.channels.release(&all, &Origin::Partner(NodeId::new(B))).await.unwrap();
    assert!(matches!(waiters.remove(0).await, Err(TransportError::Released { .. })));
    for waiter in &mut waiters {
        assert!(futures::poll!(waiter).is_pending());
    }
    assert_eq!([popped(&node, &key).await, popped(&node, &key).await], ["c's", "none"]);
    assert_eq!(node.channels.levels().tombstones, 0, "a partner's release refuses nobody");
}

/// Section 2: a partner gets what applications push once the session involves it, oldest waiters first.
#[tokio::test]
async fn waiting_calls_of_a_partner_are_served_in_order_once_it_is_involved() {
    let (node, key, reader) = (node(&json!({})).await, key("s", "t"), Reader::partner(NodeId::new(B)));
    for text in ["one", "two"] {
        push(&node, &key, text).await;
    }
    let mut waiters: Vec<_> = (0..3).map(|_| Box::pin(pop(&node, &key, &reader, MINUTE))).collect();
    for waiter in &mut waiters {
        assert!(futures::poll!(waiter).is_pending());
    }
    node.channels.involve(&key.session, &NodeId::new(B)).unwrap();
    assert_eq!([text(waiters.remove(0).await), text(waiters.remove(0).await)], ["one", "two"]);
    assert!(futures::poll!(&mut waiters[0]).is_pending());
}

/// 9.5: "push, pop, peek and a waiting call all count as use" (the last two stand in `life.rs`).
#[tokio::test(start_paused = true)]
async fn a_push_and_a_pop_are_uses() {
    let (node, used, reader) = (node(&json!({"idleTimeout": "1m"})).await, key("s", "t"), Reader::application());
    push(&node, &used, "kept").await;
    for use_it in [true, false, true, false] {
        sleep(Duration::from_secs(50)).await;
        let other = Key { topic: Topic::new("u"), ..used.clone() };
        if use_it {
            push(&node, &other, "x").await;
        } else {
            drop(pop(&node, &other, &reader, Duration::ZERO).await.unwrap());
        }
    }
    assert_eq!(popped(&node, &used).await, "kept");
}

/// 9.5 and section 6: a leased message is in use.
#[tokio::test(start_paused = true)]
async fn a_session_with_an_open_lease_is_not_idle() {
    let (node, key, reader) = (node(&json!({"idleTimeout": "1m"})).await, key("s", "t"), Reader::application());
    push(&node, &key, "one").await;
    let leased = pop(&node, &key, &reader, Duration::ZERO).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    drop(leased);
    assert_eq!(popped(&node, &key).await, "one");
}

/// `messageTtl`: what is too old is given out no more, also where it comes back.
#[tokio::test(start_paused = true)]
async fn a_message_too_old_is_given_out_no_more() {
    let node = node(&json!({"messageTtl": "30s", "idleTimeout": "1h"})).await;
    let (key, reader) = (key("s", "t"), Reader::application());
    push(&node, &key, "first").await;
    let leased = pop(&node, &key, &reader, Duration::ZERO).await.unwrap();
    tokio::time::advance(Duration::from_secs(29)).await;
    push(&node, &key, "second").await;
    tokio::time::advance(Duration::from_secs(2)).await;
    drop(leased);
    assert_eq!([popped(&node, &key).await, popped(&node, &key).await], ["second", "none"]);
    let mut waiting = Box::pin(pop(&node, &key, &reader, MINUTE));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert!(node.metrics().contains("mesh_transport_expired_messages_total 1"));
}

/// 9.5: "The wake-up reaches all waiters of the topic or session, pushes waiting for room included."
#[tokio::test(start_paused = true)]
async fn the_room_of_what_is_released_goes_to_those_who_wait() {
    let node = node(&json!({"sessionBytes": "600", "totalBytes": "600", "maxBodyBytes": "600"})).await;
    let (freed, waits) = (key("s", "t"), key("s", "u"));
    let large = "x".repeat(500);
    push(&node, &freed, &large).await;
    let until = Instant::now() + MINUTE;
    let mut waiting = Box::pin(node.channels.push(&waits, draft(&large, None, Origin::Application), None, until));
    assert!(futures::poll!(&mut waiting).is_pending());
    node.channels.release(&freed, &Origin::Application).await.unwrap();
    timeout(Duration::from_millis(1), waiting).await.expect("it was woken").unwrap();
}

/// A release of many queues lets others run in between, and frees them all.
#[tokio::test]
async fn a_release_of_many_queues_goes_in_steps_and_frees_all() {
    const PACKETS: usize = 3000;
    let node = node(&json!({})).await;
    for n in 0..PACKETS {
        push(&node, &key("s", &format!("t-mesh-split-{n}")), "x").await;
    }
    push(&node, &key("s", "tt"), "kept").await;
    let turns = std::cell::Cell::new(0);
    let others = async {
        loop {
            turns.set(turns.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    let (topic, channels) = (key("s", "t"), &node.channels);
    tokio::select! {
        released = channels.release(&topic, &Origin::Application) => released.unwrap(),
        () = others => {}
    }
    assert!(turns.get() >= PACKETS / 500, "{} turns", turns.get());
    while node.channels.levels().messages > 1 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(popped(&node, &key("s", "tt")).await, "kept");
    assert!(node.metrics().contains(&format!("mesh_transport_dropped_by_release_total {PACKETS}")));
}
