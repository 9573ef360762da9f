//! PTP section 9.5 and decision D8, in paused time: release, tombstones, idle expiry, the life of messages.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::node::{A, Ask, Node};

fn push(session: &str, topic: &str) -> Ask {
    Ask::json("push", &json!({"topic": topic, "payload": "AA=="})).header("x-ptp-session-id", session)
}

fn pop(session: &str, topic: &str, timeout: u64) -> Ask {
    Ask::json("pop", &json!({"topic": topic, "timeout": timeout})).header("x-ptp-session-id", session)
}

fn release(session: &str, topic: &str) -> Ask {
    Ask::json("release", &json!({ "topic": topic })).header("x-ptp-session-id", session)
}

#[tokio::test(start_paused = true)]
async fn a_released_session_is_refused_for_the_tombstone_time() {
    let node = Node::new(A, &[], &json!({"tombstone": "1m"}));
    node.ask(push("s1", "t")).await;
    node.ask(release("s1", "")).await;
    for op in ["push", "pop", "peek"] {
        let ask = Ask::json(op, &json!({"topic": "t", "payload": "", "timeout": 50}));
        assert_eq!(node.ask(ask).await.code(), "E0000000608", "{op}");
    }
    assert_eq!(node.ask(push("s10", "t")).await.code(), "E0000000000", "the match is exact");
    sleep(Duration::from_secs(61)).await;
    assert_eq!(node.ask(push("s1", "t")).await.code(), "E0000000000");
    assert_eq!(node.channels.levels().tombstones, 0);
}

/// PTP section 3.2: a header's timeout wins only above 0.
#[tokio::test(start_paused = true)]
async fn a_timeout_header_of_nothing_or_less_leaves_the_bodys_in_force() {
    let node = Node::new(A, &[], &json!({}));
    for (header, waits) in [("0", 665), ("-1", 665), ("", 665), ("100", 90)] {
        let started = Instant::now();
        let heard = node.ask(pop("s1", "t", 700).header("x-ptp-timeout", header)).await;
        assert_eq!(
            (heard.code().as_str(), started.elapsed()),
            ("E0000000000", Duration::from_millis(waits)),
            "{header}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_wakes_every_waiter_of_its_reach() {
    let node = Node::new(A, &[], &json!({}));
    let mut waiters: Vec<_> =
        ["t", "t", "t-mesh-split-3", "tt"].map(|topic| Box::pin(node.ask(pop("s1", topic, 60_000)))).into();
    for waiter in &mut waiters {
        assert!(futures::poll!(waiter).is_pending());
    }
    node.ask(release("s1", "t")).await;
    for waiter in waiters.drain(..3) {
        assert_eq!(waiter.await.code(), "E0000000608");
    }
    assert!(futures::poll!(&mut waiters[0]).is_pending(), "tt was not named");
    node.ask(release("s1", "")).await;
    assert_eq!(waiters.remove(0).await.code(), "E0000000608");
}

#[tokio::test(start_paused = true)]
async fn releasing_a_topic_frees_its_split_packets_and_leaves_the_rest() {
    let node = Node::new(A, &[], &json!({}));
    for topic in ["t", "t-mesh-split-0", "t-mesh-split-12", "t-mesh", "tt", "u"] {
        node.ask(push("s1", topic)).await;
    }
    node.ask(release("s1", "t")).await;
    assert_eq!(node.channels.levels().messages, 3);
    assert_eq!(node.ask(pop("s1", "t", 50)).await.code(), "E0000000000", "a topic leaves no tombstone");
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_loses_its_queues_without_a_tombstone() {
    let node = Node::new(A, &[], &json!({"idleTimeout": "1m"}));
    node.ask(push("s1", "t")).await;
    for _ in 0..5 {
        sleep(Duration::from_secs(50)).await;
        node.ask(Ask::json("peek", &json!({"topic": "t"}))).await;
    }
    assert_eq!(node.channels.levels().messages, 1, "a peek is a use");
    sleep(Duration::from_secs(90)).await;
    assert_eq!((node.channels.levels().messages, node.channels.levels().sessions), (0, 0));
    assert_eq!(node.ask(push("s1", "t")).await.code(), "E0000000000");
    assert!(node.metrics().contains("mesh_transport_expired_sessions_total 1"));
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_waiting_call_is_not_idle() {
    let node = Node::new(A, &[], &json!({"idleTimeout": "1m"}));
    let mut waiting = Box::pin(node.ask(pop("s1", "t", 3_600_000)));
    assert!(futures::poll!(&mut waiting).is_pending());
    sleep(Duration::from_secs(600)).await;
    node.ask(push("s1", "t")).await;
    assert_eq!(waiting.await.json()["payload"], "AA==");
}

#[tokio::test(start_paused = true)]
async fn a_message_past_its_time_goes_and_its_room_with_it() {
    let node = Node::new(A, &[], &json!({"messageTtl": "30s", "sessionBytes": "256"}));
    node.ask(push("s1", "t")).await;
    let started = Instant::now();
    let entered = node.ask(push("s1", "t").header("x-ptp-timeout", "60000")).await;
    assert_eq!(entered.code(), "E0000000000");
    assert!(started.elapsed() >= Duration::from_secs(30) && started.elapsed() < Duration::from_secs(41));
    assert_eq!(node.channels.levels().messages, 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_pop_answers_early_by_its_margin() {
    let node = Node::new(A, &[], &json!({}));
    for (timeout, expected) in [(700, 665), (10_000, 9_500), (0, 119_500)] {
        let started = Instant::now();
        assert_eq!(node.ask(pop("s1", "t", timeout)).await.code(), "E0000000000");
        let took = started.elapsed().as_millis() as u64;
        assert!((expected..expected + 3).contains(&took), "{timeout}: {took}");
    }
    // The header wins over the body where it says a time at all.
    for (header, expected) in [("400", 380), ("0", 665), ("-1", 665)] {
        let started = Instant::now();
        let ask = pop("s1", "t", 700).header("x-ptp-timeout", header);
        assert_eq!(node.ask(ask).await.code(), "E0000000000", "{header}");
        let took = started.elapsed().as_millis() as u64;
        assert!((expected..expected + 3).contains(&took), "{header}: {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_wakes_the_waiter_of_its_topic_and_no_other() {
    let node = Node::new(A, &[], &json!({}));
    let topics: Vec<_> = (0..20).map(|i| format!("t{i}")).collect();
    let mut waiters: Vec<_> = topics.iter().map(|topic| Box::pin(node.ask(pop("s1", topic, 60_000)))).collect();
    for waiter in &mut waiters {
        assert!(futures::poll!(waiter).is_pending());
    }
    let started = Instant::now();
    node.ask(push("s1", "t19")).await;
    assert_eq!(waiters.pop().unwrap().await.json()["payload"], "AA==");
    assert_eq!(started.elapsed(), Duration::ZERO);
    for waiter in &mut waiters {
        assert!(futures::poll!(waiter).is_pending());
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_node_answers_those_who_wait_and_keeps_what_is_queued() {
    let node = Node::new(A, &[], &json!({"sessionBytes": "256"}));
    node.ask(push("s2", "t")).await;
    let mut pops = Box::pin(node.ask(pop("s1", "t", 60_000)));
    let mut pushes = Box::pin(node.ask(push("s2", "t").header("x-ptp-timeout", "60000")));
    assert!(futures::poll!(&mut pops).is_pending() && futures::poll!(&mut pushes).is_pending());
    let started = Instant::now();
    node.channels.end_waiting();
    assert_eq!((pops.await.code(), pushes.await.code()), ("E0000000000".into(), "E0000000700".into()));
    assert_eq!(node.ask(pop("s1", "t", 60_000)).await.code(), "E0000000000", "nobody waits any longer");
    assert_eq!(node.ask(pop("s2", "t", 60_000)).await.json()["payload"], "AA==");
    assert_eq!(started.elapsed(), Duration::ZERO);
}
