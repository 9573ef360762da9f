//! SIGTERM: not ready at once, served for a while, waiting calls answered, nothing cut (design section 6).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    exchange::two,
    harness::{B, Node, from, post, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_under_load_answers_every_call_it_took() {
    let mut node = Node::with(&[("MESH_DRAIN_DELAY", "1s")]).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let data = node.data;
    let waiting = {
        let body = json!({"topic": "never", "timeout": 60_000}).to_string();
        let request = post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "w")], body);
        tokio::spawn(from([127, 0, 0, 1].into(), data, request))
    };
    let load: Vec<_> = (0..4)
        .map(|i| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"topic": format!("t{i}"), "payload": "eA=="}).to_string();
                    let answer = from([127, 0, 0, 1].into(), data, post("/v1/interconn/chan/push", &[], body)).await;
                    assert_eq!(answer.code(), "E0000000000");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    until("some load", Duration::from_secs(10), async || done.load(Ordering::Relaxed) > 20).await;
    node.signal("TERM");
    until("not ready", Duration::from_secs(90), async || node.admin("/readyz").await.status == 503).await;
    // Load balancers have seen it by now and send nothing new; until then everything is served.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (200, "E0000000000"));
    assert!(answer.json().get("payload").is_none(), "an empty answer, not a message");
    assert!(node.ended(Duration::from_secs(10)).await.success());
    assert!(node.log().contains("unread messages are kept in MESH_HOME for the next start"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let mut node = Node::with(&[("MESH_DRAIN_DELAY", "60s")]).await;
    node.signal("TERM");
    until("not ready", Duration::from_secs(90), async || node.admin("/readyz").await.status == 503).await;
    let start = Instant::now();
    node.signal("INT");
    node.ended(Duration::from_secs(30)).await;
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pop_that_waits_at_a_partner_is_answered_when_this_node_ends() {
    let (mut a, _b) = two().await;
    let body = json!({"topic": "never", "timeout": 60_000}).to_string();
    let headers = [("x-ptp-session-id", "w"), ("x-ptp-target-node-id", B)];
    let request = post("/v1/interconn/chan/pop", &headers, body);
    let waiting = tokio::spawn(from([127, 0, 0, 1].into(), a.data, request));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished(), "it waits at the partner");
    a.signal("TERM");
    assert_eq!(waiting.await.unwrap().code(), "E0000000000");
    assert!(a.ended(Duration::from_secs(10)).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_are_there_again_after_an_orderly_restart() {
    let mut node = Node::start().await;
    for text in ["1", "2", "3"] {
        assert_eq!(node.push(None, "t", text).await, "E0000000000");
    }
    node.signal("TERM");
    assert!(node.ended(Duration::from_secs(10)).await.success());
    node.start_again().await;
    for text in ["1", "2", "3"] {
        assert_eq!(node.pop("t").await.as_deref(), Some(text));
    }
}
