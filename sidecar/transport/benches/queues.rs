//! `cargo bench -p mesh-transport --bench queues`: what a push with its pop costs in the channels themselves, beside a
//! million other queues, ten thousand waiters, and a hundred thousand queues that end. Ratios of medians of five rounds.

#![allow(clippy::expect_used, reason = "a bench ends where it cannot go on")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use mesh_core::{Live, NodeId, Parts, SessionId, Snapshot, Topic};
use mesh_pki::{Algorithm, Identity, LeafRequest, Root};
use mesh_transport::{Channels, Draft, Key, Origin, Reader};
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
    time::{Instant, sleep},
};

const ROUNDS: usize = 5;
const PAIRS: usize = 100_000;
const MILLION: usize = 1_000_000;
const WAITERS: usize = 10_000;
const MANY: usize = 100_000;

static PAYLOAD: [u8; 1024] = [7; 1024];

fn main() {
    println!("| measure | ns a pair | against one queue |\n|---|---:|---:|");
    let alone = rounds(|| pairs(&node("10m"), |_| key("s", "t"), PAIRS));
    row("one queue", alone, alone);
    let beside = rounds(|| {
        let node = node("10m");
        fill(&node, |n| key(&format!("s{n}"), "t"), MILLION);
        pairs(&node, |_| key("s", "t"), PAIRS)
    });
    row("one queue beside 1 M sessions", beside, alone);
    let scattered = rounds(|| {
        let node = node("10m");
        fill(&node, |n| key(&format!("s{n}"), "t"), MILLION);
        let keys: Vec<_> = (0..PAIRS).map(|n| key(&format!("s{}", n * 7919 % MILLION), "t")).collect();
        pairs(&node, |n| keys[n].clone(), PAIRS)
    });
    row("another queue each time, of 1 M sessions", scattered, alone);
    let topics = rounds(|| {
        let node = node("10m");
        fill(&node, |n| key("s", &format!("t{n}")), MILLION);
        let keys: Vec<_> = (0..PAIRS).map(|n| key("s", &format!("t{}", n * 7919 % MILLION))).collect();
        pairs(&node, |n| keys[n].clone(), PAIRS)
    });
    row("another queue each time, of 1 M topics in one session", topics, alone);
    let few = rounds(|| {
        let keys: Vec<_> = (0..1000).map(|n| key(&format!("s{n}"), "t")).collect();
        pairs(&node("10m"), |n| keys[n % 1000].clone(), PAIRS)
    });
    row("another queue each time, of 1000 sessions", few, alone);
    let waiters = rounds(|| {
        let node = node("10m");
        wait(&node, WAITERS);
        pairs(&node, |_| key("s", "t"), PAIRS)
    });
    row("10 000 filtered waiters on the queue", waiters, alone);

    println!("\n| 100 000 queues that end | longest stall of anybody else, ms |\n|---|---:|");
    stall("a session with 100 000 topics, released", |node| {
        fill(node, |n| key("s", &format!("t{n}")), MANY);
        release(node, key("s", ""))
    });
    stall("a topic with 100 000 split packets, released", |node| {
        fill(node, |n| key("s", &format!("t-mesh-split-{n}")), MANY);
        release(node, key("s", "t"))
    });
    stall("a queue with 100 000 messages, released", |node| {
        fill(node, |_| key("s", "t"), MANY);
        release(node, key("s", "t"))
    });
    stall("a session with 100 000 topics, idle too long", |node| {
        fill(node, |n| key("s", &format!("t{n}")), MANY);
        emptied(node)
    });
    stall("100 000 sessions, idle too long", |node| {
        fill(node, |n| key(&format!("s{n}"), "t"), MANY);
        emptied(node)
    });
}

struct Node {
    runtime: Runtime,
    channels: Arc<Channels>,
}

fn node(idle: &str) -> Node {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let live = live(idle);
    let entered = runtime.enter();
    let channels = Channels::new(live, &mut prometheus_client::registry::Registry::default());
    drop(entered);
    Node { runtime, channels }
}

fn key(session: &str, topic: &str) -> Key {
    Key { session: SessionId::new(session), topic: Topic::new(topic) }
}

fn draft() -> Draft {
    let source = Some(NodeId::new("LX0000010000270"));
    Draft { payload: Bytes::from_static(&PAYLOAD), metadata: None, source, origin: Origin::Application, id: None }
}

/// A message in each of `number` queues, small ones: a million fit into a session.
fn fill(node: &Node, key: impl Fn(usize) -> Key, number: usize) {
    node.runtime.block_on(async {
        for n in 0..number {
            let draft = Draft { payload: Bytes::from_static(b"x"), ..draft() };
            node.channels.push(&key(n), draft, None, Instant::now()).await.expect("room");
        }
    });
}

/// Pops that wait for other sources than the one that is pushed.
fn wait(node: &Node, number: usize) {
    for n in 0..number {
        let channels = Arc::clone(&node.channels);
        node.runtime.spawn(async move {
            let reader = Reader { source: Some(NodeId::new(&format!("LX{n:013}"))), ..Reader::application() };
            let until = Instant::now() + Duration::from_secs(3600);
            drop(channels.pop(&key("s", "t"), &reader, until).await);
        });
    }
    node.runtime.block_on(async {
        for _ in 0..number {
            yield_now().await;
        }
    });
}

/// Nanoseconds of a push and a pop.
fn pairs(node: &Node, key: impl Fn(usize) -> Key, number: usize) -> f64 {
    let reader = Reader::application();
    node.runtime.block_on(async {
        let started = std::time::Instant::now();
        for n in 0..number {
            let key = key(n);
            let now = Instant::now();
            node.channels.push(&key, draft(), None, now).await.expect("room");
            let delivery = node.channels.pop(&key, &reader, now).await.expect("open").expect("a message");
            delivery.lease.expect("a lease").commit();
        }
        started.elapsed().as_nanos() as f64 / number as f64
    })
}

fn release(node: &Node, key: Key) -> impl Future<Output = ()> + use<> {
    let channels = Arc::clone(&node.channels);
    async move {
        channels.release(&key, &Origin::Application).await.expect("open");
        while channels.levels().messages > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn emptied(node: &Node) -> impl Future<Output = ()> + use<> {
    let channels = Arc::clone(&node.channels);
    async move {
        while channels.levels().messages > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// On one thread, so that whatever runs too long keeps the watcher from its turn.
fn stall<F: Future<Output = ()> + 'static>(name: &str, end: impl Fn(&Node) -> F) {
    let longest = rounds(|| {
        let node = node("1s");
        let end = end(&node);
        let (over, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (watched, seen) = (Arc::clone(&over), Arc::clone(&longest));
        node.runtime.block_on(async {
            let watcher = tokio::spawn(async move {
                let mut last = std::time::Instant::now();
                while !watched.load(Ordering::Relaxed) {
                    yield_now().await;
                    let now = std::time::Instant::now();
                    seen.fetch_max((now - last).as_nanos() as u64, Ordering::Relaxed);
                    last = now;
                }
            });
            yield_now().await;
            end.await;
            over.store(true, Ordering::Relaxed);
            watcher.await.expect("the watcher");
        });
        longest.load(Ordering::Relaxed) as f64 / 1e6
    });
    println!("| {name} | {longest:.2} |");
}

fn rounds(mut round: impl FnMut() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    all.sort_by(f64::total_cmp);
    all[ROUNDS / 2]
}

fn row(name: &str, pair: f64, alone: f64) {
    println!("| {name} | {pair:.0} | {:.2} |", pair / alone);
}

fn live(idle: &str) -> Arc<Live> {
    let identity = Identity { node_id: "LX0000010000280".into(), name: "X".into() };
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let root = Root::generate(&identity, Algorithm::EcdsaP256, day, now).expect("a root");
    let request = LeafRequest {
        identity,
        algorithm: Algorithm::EcdsaP256,
        lifetime: day / 2,
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    };
    let leaf = root.issue(&request, now).expect("a leaf");
    let node = serde_json::json!({
        "nodeId": "LX0000010000280", "instId": "JG0100002800000000", "transport": {"idleTimeout": idle},
    });
    let parts = Parts {
        hash: String::new(),
        origin: mesh_core::Origin::Standalone,
        role: mesh_core::Role::Gateway,
        node: serde_json::from_value(node).expect("a node"),
        routes: Vec::new(),
        registrations: Vec::new(),
        roots_pem: root.certificate_pem().to_owned(),
        leaf_pem: leaf.chain_pem.clone(),
        key_pem: leaf.key.expose().to_owned(),
        members_pem: String::new(),
        client_pairs: HashMap::new(),
        grid: Default::default(),
        room_keys: Default::default(),
    };
    Arc::new(Live::new(Snapshot::assemble(parts).expect("a snapshot")))
}
