//! PTP section 9.2 and decision D9: pushes wait for room in order, and what never fits is refused at once.

use std::time::Duration;

use mesh_core::{SessionId, Topic};
use mesh_transport::{Draft, Key, Origin, Reader, TransportError};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::node::{A, Ask, B, Node};

fn node(session: u32, total: u32) -> Node {
    let settings: Value = json!({"sessionBytes": session.to_string(), "totalBytes": total.to_string()});
    Node::with_routes(A, &[json!({"peer": {"nodeId": B}, "maxQueuedBytes": "500"})], &settings)
}

fn key(session: &str, topic: &str) -> Key {
    Key { session: SessionId::new(session), topic: Topic::new(topic) }
}

fn draft(size: usize, origin: Origin) -> Draft {
    Draft { payload: vec![0; size].into(), metadata: None, source: None, origin, id: None }
}

async fn push(node: &Node, key: &Key, size: usize, wait: u64) -> Result<(), TransportError> {
    let until = Instant::now() + Duration::from_millis(wait);
    node.channels.push(key, draft(size, Origin::Application), None, until).await
}

async fn pop(node: &Node, key: &Key) -> usize {
    let delivery = node.channels.pop(key, &Reader::application(), Instant::now()).await.unwrap();
    let Some(delivery) = delivery else { return 0 };
    delivery.lease.unwrap().commit();
    delivery.payload.len()
}

#[tokio::test(start_paused = true)]
async fn a_push_to_a_full_session_waits_and_then_hears_that_it_is_full() {
    let (node, key) = (node(1000, 5000), key("s", "t"));
    push(&node, &key, 800, 0).await.unwrap();
    let started = Instant::now();
    assert!(matches!(push(&node, &key, 300, 700).await, Err(TransportError::Full { .. })));
    assert_eq!(started.elapsed(), Duration::from_millis(700));
    assert_eq!(pop(&node, &key).await, 800);
    assert_eq!(pop(&node, &key).await, 0, "a push that gave up never enters");
    assert_eq!(node.channels.levels().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_push_without_a_time_of_its_own_waits_as_long_as_is_set() {
    for (settings, waits) in [(json!({"pushTimeout": "3s"}), 3_000), (json!({}), 10_000)] {
        let mut all = json!({"sessionBytes": "1000", "totalBytes": "5000", "maxBodyBytes": "1000"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let node = Node::new(A, &[], &all);
        push(&node, &key("s1", "t"), 800, 0).await.unwrap();
        let started = Instant::now();
        let ask = Ask::json("push", &json!({"topic": "t", "payload": "A".repeat(400)}));
        assert_eq!(node.ask(ask).await.code(), "E0000000700");
        assert_eq!(started.elapsed(), Duration::from_millis(waits), "{settings}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_pushes_enter_in_order_and_small_ones_do_not_overtake() {
    let (node, large, small) = (node(1000, 5000), key("s", "large"), key("s", "small"));
    push(&node, &large, 800, 0).await.unwrap();
    let mut first = Box::pin(push(&node, &large, 900, 60_000));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(push(&node, &small, 256, 60_000));
    assert!(futures::poll!(&mut second).is_pending(), "256 would fit, but 900 came before");
    assert_eq!(pop(&node, &large).await, 800);
    first.await.unwrap();
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(pop(&node, &large).await, 900);
    second.await.unwrap();
    assert_eq!(pop(&node, &small).await, 256);
}

#[tokio::test(start_paused = true)]
async fn a_push_cancelled_while_it_waits_lets_the_next_one_in() {
    let (node, key) = (node(1000, 5000), key("s", "t"));
    push(&node, &key, 500, 0).await.unwrap();
    let mut first = Box::pin(push(&node, &key, 900, 60_000));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(push(&node, &key, 400, 60_000));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    second.await.unwrap();
    assert_eq!([pop(&node, &key).await, pop(&node, &key).await, pop(&node, &key).await], [500, 400, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_nodes_room_is_shared_in_order_of_sessions() {
    let node = node(1000, 1200);
    let (a, b, c) = (key("a", "t"), key("b", "t"), key("c", "t"));
    push(&node, &a, 1000, 0).await.unwrap();
    let mut first = Box::pin(push(&node, &b, 900, 60_000));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(push(&node, &c, 256, 60_000));
    assert!(futures::poll!(&mut second).is_pending(), "nobody jumps the line");
    assert_eq!(pop(&node, &a).await, 1000);
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(node.channels.levels().bytes, 1156);
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_the_line_lets_the_next_one_in() {
    let node = node(1000, 1200);
    let (a, b, c) = (key("a", "t"), key("b", "t"), key("c", "t"));
    push(&node, &a, 800, 0).await.unwrap();
    let mut first = Box::pin(push(&node, &b, 900, 60_000));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(push(&node, &c, 300, 60_000));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    timeout(Duration::from_millis(1), second).await.expect("it was woken").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_full_holds_back_its_partner_and_nobody_else() {
    let node = node(5000, 9000);
    let route = node.route(B);
    let partner = || draft(400, Origin::Partner(route.node_id.clone()));
    let (mine, theirs, other) = (key("s", "mine"), key("s", "theirs"), key("z", "theirs"));
    let later = Instant::now() + Duration::from_secs(60);
    node.channels.push(&theirs, partner(), Some(&route), later).await.unwrap();
    let mut waiting = Box::pin(node.channels.push(&other, partner(), Some(&route), later));
    assert!(futures::poll!(&mut waiting).is_pending());
    push(&node, &mine, 400, 0).await.unwrap();
    assert_eq!(pop(&node, &theirs).await, 400);
    waiting.await.unwrap();
    let too_large =
        node.channels.push(&theirs, draft(501, Origin::Partner(route.node_id.clone())), Some(&route), later);
    assert!(matches!(too_large.await, Err(TransportError::TooLarge { name: "maxQueuedBytes", .. })));
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_is_refused_at_once() {
    let (node, started) = (node(1000, 900), Instant::now());
    for (size, name) in [(1001, "sessionBytes"), (901, "totalBytes")] {
        let refused = push(&node, &key("s", "t"), size, 60_000).await;
        assert!(matches!(refused, Err(TransportError::TooLarge { name: known, .. }) if known == name), "{refused:?}");
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    push(&node, &key("s", "t"), 900, 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_release_wakes_pushes_that_wait_for_room() {
    let (node, key) = (node(1000, 5000), key("s", "t"));
    push(&node, &key, 1000, 0).await.unwrap();
    let mut waiting = Box::pin(push(&node, &key, 300, 60_000));
    assert!(futures::poll!(&mut waiting).is_pending());
    node.channels.release(&Key { topic: Topic::default(), ..key.clone() }, &Origin::Application).await.unwrap();
    assert!(matches!(waiting.await, Err(TransportError::Released { .. })));
    assert_eq!(node.channels.levels().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_a_bound_gets_a_quarter_of_everything() {
    let settings = json!({"totalBytes": "4000", "maxBodyBytes": "600"});
    let node = Node::new(A, &[B], &settings);
    let (route, key) = (node.route(B), key("s", "t"));
    let until = Instant::now() + Duration::from_secs(1);
    let push = || node.channels.push(&key, draft(500, Origin::Partner(route.node_id.clone())), Some(&route), until);
    push().await.unwrap();
    push().await.unwrap();
    assert!(matches!(push().await, Err(TransportError::Full { .. })));
    assert_eq!(node.channels.levels().bytes, 1000);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_without_being_read() {
    let node = Node::new(A, &[], &json!({"maxBodyBytes": "100"}));
    let heard = node.ask(Ask::json("push", &json!({"topic": "t1", "payload": "A".repeat(400)}))).await;
    assert_eq!((heard.status, heard.code()), (200, "E0000000413".into()));
    assert_eq!(heard.headers["connection"], "close");
    assert!(heard.json()["message"].as_str().unwrap().contains("100 bytes"), "the limit stands in the text");
}
