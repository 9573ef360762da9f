//! Sessions without end: made, used once, abandoned. They cost little, and expire by themselves.

use std::time::Duration;

use crate::harness::{Node, Raw, until};

const SESSIONS: usize = 100_000;
const AT_ONCE: usize = 500;

/// What one of them costs with a message in it, in bytes. An abandoned session without one is bounded in the transport
/// room's benchmarks.
const EACH: u64 = 3072;

async fn levels(node: &Node) -> (u64, u64) {
    let levels = node.private("/queues").await.json();
    (levels["sessions"].as_u64().unwrap(), levels["bytes"].as_u64().unwrap())
}

/// Pushes one message into each of these sessions, many requests at a time.
async fn abandon(node: &Node, sessions: std::ops::Range<usize>) {
    let mut raw = Raw::to(node).await;
    for start in sessions.clone().step_by(AT_ONCE) {
        let requests: String = (start..start + AT_ONCE)
            .map(|n| format!("GET /v1/interconn/chan/push?topic=t&payload=eA== HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: session-{n}\r\n\r\n"))
            .collect();
        raw.write(requests).await;
        for _ in 0..AT_ONCE {
            assert_eq!(raw.answer().await.unwrap().code().as_deref(), Some("E0000000000"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_abandoned_sessions_cost_little_and_go_by_themselves() {
    let (node, _file) = Node::with_file("transport: {idleTimeout: 25s}\n").await;
    abandon(&node, 0..AT_ONCE).await;
    let before = node.rss();
    abandon(&node, AT_ONCE..SESSIONS).await;
    let grown = (node.rss() - before) * 1024 / (SESSIONS - AT_ONCE) as u64;
    assert!(grown <= EACH, "{grown} bytes for each session");
    let full = node.rss();
    until("all of them to expire", Duration::from_secs(90), async || levels(&node).await == (0, 0)).await;
    assert_eq!(node.metric("mesh_transport_expired_sessions_total").await, SESSIONS as f64);
    abandon(&node, 0..SESSIONS / 4).await;
    let more = node.rss().saturating_sub(full);
    assert!(more <= 16 << 10, "their memory is used again: {more} KiB more");
}
