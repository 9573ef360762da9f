//! What operators see of queues: each figure moves with what it counts, and none has a label of topics (docs/operations.md).

use std::time::Duration;

use futures::poll;
use mesh_core::{SessionId, Topic};
use mesh_transport::{Draft, Key, Origin, Reader, TransportError};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::node::{A, Node};

/// Longer than between two sweeps.
const A_SWEEP: Duration = Duration::from_secs(11);

fn key() -> Key {
    Key { session: SessionId::new("s1"), topic: Topic::new("t1") }
}

async fn push(node: &Node, size: usize) -> Result<(), TransportError> {
    let draft =
        Draft { payload: vec![0; size].into(), metadata: None, source: None, origin: Origin::Application, id: None };
    node.channels.push(&key(), draft, None, Instant::now() + Duration::from_secs(60)).await
}

fn show(node: &Node, figures: &[(&str, u64)]) {
    let metrics = node.metrics();
    for (name, value) in figures {
        let line = format!("mesh_transport_{name} {value}");
        assert!(metrics.lines().any(|known| known == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("t1") && !metrics.contains("s1"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn each_figure_of_queues_moves_with_what_it_counts() {
    let node = Node::new(
        A,
        &[],
        &json!({"maxBodyBytes": "1000", "sessionBytes": "1000", "totalBytes": "5000", "messageTtl": "100s"}),
    );
    let (key, reader) = (key(), Reader::application());
    let pop = || node.channels.pop(&key, &reader, Instant::now() + Duration::from_secs(60));

    let mut waiting = Box::pin(pop());
    assert!(poll!(&mut waiting).is_pending());
    show(&node, &[("waiting_pops", 1), ("messages", 0), ("leases", 0)]);
    push(&node, 700).await.unwrap();
    let one = waiting.await.unwrap().unwrap();
    show(&node, &[("waiting_pops", 0), ("pushes_total", 1), ("pops_total", 1), ("messages", 1), ("leases", 1)]);
    drop(one);
    show(&node, &[("lease_hand_backs_total", 1), ("leases", 0), ("messages", 1), ("redeliveries_total", 0)]);
    sleep(A_SWEEP).await;
    let metrics = node.metrics();
    let age = metrics.lines().find_map(|line| line.strip_prefix("mesh_transport_oldest_message_age_seconds "));
    assert!(age.is_some_and(|age| (1..=11).contains(&age.parse().unwrap())), "{metrics}");

    let again = pop().await.unwrap().unwrap();
    let mut full = Box::pin(push(&node, 600));
    assert!(poll!(&mut full).is_pending());
    show(&node, &[("redeliveries_total", 1), ("waiting_pushes", 1)]);
    drop(again.lease.unwrap().commit());
    full.await.unwrap();
    show(&node, &[("lease_commits_total", 1), ("waiting_pushes", 0), ("room_wait_seconds_count", 1), ("messages", 1)]);

    node.channels.release(&key, &Origin::Application).await.unwrap();
    show(&node, &[("releases_total", 1), ("dropped_by_release_total", 1), ("messages", 0), ("bytes", 0)]);
    push(&node, 500).await.unwrap();
    sleep(Duration::from_secs(100) + A_SWEEP).await;
    show(&node, &[("expired_messages_total", 1), ("messages", 0), ("oldest_message_age_seconds", 0)]);
    assert!(node.channels.pop(&key, &reader, Instant::now()).await.unwrap().is_none());
    show(&node, &[("empty_pops_total", 1)]);
}
