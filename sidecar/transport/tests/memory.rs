//! What an abandoned session costs: a hundred thousand of them are a nuisance and no more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]
#![cfg(not(feature = "shuttle"))]

#[path = "it/node.rs"]
#[allow(dead_code, reason = "this test needs little of it")]
mod node;

use std::time::Duration;

use mesh_core::{SessionId, Topic};
use mesh_transport::{Draft, Key, Origin, Reader};
use serde_json::json;
use tokio::time::{Instant, sleep};

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

const SESSIONS: usize = 20_000;

fn key(n: usize) -> Key {
    // As long as the ids that engines make.
    Key { session: SessionId::new(&format!("{n:032x}")), topic: Topic::new("t") }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_session_takes_at_most_300_bytes() {
    let node = node::Node::new(node::A, &[], &json!({"idleTimeout": "1h"}));
    // What the first call makes for all.
    node.channels.pop(&key(SESSIONS), &Reader::application(), Instant::now()).await.unwrap();
    let profiler = dhat::Profiler::builder().testing().build();
    let before = dhat::HeapStats::get().curr_bytes;
    for n in 0..SESSIONS {
        // A pop that waited for nothing, or a message that came and went.
        if n % 2 == 0 {
            node.channels.pop(&key(n), &Reader::application(), Instant::now()).await.unwrap();
        } else {
            let draft =
                Draft { payload: "x".into(), metadata: None, source: None, origin: Origin::Application, id: None };
            node.channels.push(&key(n), draft, None, Instant::now()).await.unwrap();
            let delivery = node.channels.pop(&key(n), &Reader::application(), Instant::now()).await.unwrap().unwrap();
            delivery.lease.unwrap().commit();
        }
    }
    // A sweep gives back what calls took that are over.
    sleep(Duration::from_secs(11)).await;
    let each = (dhat::HeapStats::get().curr_bytes - before) / SESSIONS;
    drop(profiler);
    assert_eq!(node.channels.levels().sessions as usize, SESSIONS + 1);
    assert!(each <= 300, "{each} bytes each");
}
