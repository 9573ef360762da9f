//! As many registrations as a node takes, while its services are called.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use http::Request;
use serde_json::{Value, json};

use crate::{harness::Node, services::by_name};

/// As many as one call may hold.
const AT_ONCE: usize = 1000;
/// As many as a node takes.
const MOST: usize = 100_000;
/// What a hundred thousand of them may cost, in KiB: 8 KiB each.
const MEMORY: u64 = 800 << 10;

/// Where nobody listens: everybody is asked whether he is there, and nobody is.
fn instance(n: usize) -> Value {
    let address = format!("127.{}.{}.{}:1", 1 + n / 62_500, n / 250 % 250, n % 250 + 1);
    json!({
        "instance_id": address, "name": format!("service{}", n % 1000), "kind": "complex", "address": address,
        "timestamp": 1_500_000,
        "content": {"services": [{"urn": format!("/org{}/service{n}", n % 100), "kind": "Restful", "proto": "http"}]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_registrations_come_in_cost_little_and_keep_no_call_waiting() {
    let node = Node::start().await;
    let at = by_name("served").await.to_string();
    let service = json!({"urn": "/served", "kind": "Restful", "proto": "http"});
    let served = json!({"instance_id": at, "name": "served", "kind": "complex", "address": at, "timestamp": 1_500_000,
        "content": {"services": [service]}});
    assert_eq!(node.post("/v1/interconn/registry/register", &[], &served).await.code(), "E0000000000");
    let before = node.rss();
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let caller = async {
        let mut worst = Duration::ZERO;
        while !over.load(Ordering::Relaxed) {
            let start = Instant::now();
            let answer = node.send(Request::get("/served/x").body(Default::default()).unwrap()).await;
            assert_eq!(answer.json()["content"], "served", "{}", answer.text());
            calls.fetch_add(1, Ordering::Relaxed);
            worst = worst.max(start.elapsed());
        }
        worst
    };
    let filler = async {
        let (start, mut idle) = (Instant::now(), 0);
        for from in (0..MOST).step_by(AT_ONCE) {
            let answered = calls.load(Ordering::Relaxed);
            // One place is taken already.
            let some: Vec<Value> = (from..(from + AT_ONCE).min(MOST - 1)).map(instance).collect();
            node.mpi("mesh.registry.puts", &json!({ "registrations": some })).await;
            idle += usize::from(calls.load(Ordering::Relaxed) == answered);
        }
        over.store(true, Ordering::Relaxed);
        (start.elapsed(), idle)
    };
    let (worst, (took, idle)) = tokio::join!(caller, filler);
    let cost = node.rss().saturating_sub(before);
    println!("{took:?} for all, {cost} KiB, {} calls meanwhile, the longest {worst:?}", calls.load(Ordering::Relaxed));
    assert_eq!(idle, 0, "calls are answered while a thousand registrations come in");
    assert!(cost < MEMORY, "{cost} KiB");
    assert_eq!(node.post("/v1/interconn/registry/register", &[], &instance(MOST)).await.code(), "E0000000700");
    assert_eq!(node.post("/v1/interconn/registry/register", &[], &instance(0)).await.code(), "E0000000000", "renewed");
    let listed = node.private("/services?limit=1").await.json();
    assert_eq!(listed["total"], MOST, "{listed}");
    let answer = node.send(Request::get("/org7/service7/x").body(Default::default()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "E0000000602"), "nobody is there");
    // Some go, and there is room again.
    let gone = instance(5);
    node.mpi("mesh.registry.remove", &json!({ "registration": gone })).await;
    assert_eq!(node.post("/v1/interconn/registry/register", &[], &instance(MOST)).await.code(), "E0000000000");
}
