//! A soak: pushes and pops in all dialects on the same queues, clients that die and give up, topics that are released. Every
//! message that was pushed was popped, released, or is still there; none came twice unmarked; memory stays.
//!
//! Ten seconds of it in every test run; `make soak` for as long as `SOAK_SECONDS` says.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;

use crate::harness::{
    Node, Raw,
    h2::{self, DATA, H2},
    until,
};

const TOPICS: u64 = 8;

/// Growth between the first quarter and the end, in KiB: an allocator's slack under changing load.
const GROWTH_KIB: u64 = 48 << 10;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Json,
    Protobuf,
    Kuscia,
    Grpc,
}

const DIALECTS: [Dialect; 4] = [Dialect::Json, Dialect::Protobuf, Dialect::Kuscia, Dialect::Grpc];

const SOURCE: &str = "alice";

const GRPC: [(&str, &str); 4] = [
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("x-ptp-session-id", "s"),
    ("x-ptp-source-node-id", SOURCE),
];

/// What the clients know of the messages.
#[derive(Default)]
struct Ledger {
    /// How often each message came; pushed and not come is 0.
    came: Mutex<HashMap<String, u32>>,
    /// Messages that came again without a mark.
    unmarked: Mutex<Vec<String>>,
    released: AtomicU64,
    stop: AtomicBool,
}

impl Ledger {
    fn pushed(&self, id: &str) {
        self.came.lock().entry(id.to_owned()).or_default();
    }

    fn popped(&self, id: &str, marked: bool) {
        let mut came = self.came.lock();
        let times = came.entry(id.to_owned()).or_default();
        *times += 1;
        if *times > 1 && !marked {
            self.unmarked.lock().push(id.to_owned());
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A length and bytes, as protobuf has them.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    let mut rest = bytes.len();
    while rest >= 128 {
        out.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
    out.extend_from_slice(bytes);
    out
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// A request over HTTP/1.1, in the dialect. All of them name one source, for Kuscia's filter.
fn request(dialect: Dialect, op: &str, topic: &str, payload: Option<&str>) -> Vec<u8> {
    let (lines, query, body) = match (dialect, payload) {
        (Dialect::Json, Some(payload)) => {
            let body = format!(r#"{{"topic":"{topic}","payload":"{}"}}"#, STANDARD.encode(payload));
            ("content-type: application/json".to_owned(), "", body.into_bytes())
        }
        (Dialect::Json, None) => {
            let body = format!(r#"{{"topic":"{topic}","timeout":200}}"#);
            ("content-type: application/json".to_owned(), "", body.into_bytes())
        }
        (Dialect::Kuscia, Some(payload)) => (format!("x-ptp-topic: {topic}"), "?timeout=1", payload.into()),
        (Dialect::Kuscia, None) => {
            (format!("x-ptp-topic: {topic}\r\nx-ptp-target-node-id: {SOURCE}"), "?timeout=1", Vec::new())
        }
        (Dialect::Protobuf | Dialect::Grpc, payload) => {
            let rest = payload.map_or_else(|| vec![16, 200, 1], |payload| field(2, payload.as_bytes()));
            let body = [field(1, topic.as_bytes()), rest].concat();
            ("content-type: application/x-protobuf".to_owned(), "", body)
        }
    };
    let head = format!(
        "POST /v1/interconn/chan/{op}{query} HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\n\
         x-ptp-source-node-id: {SOURCE}\r\n{lines}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// The id within an answer in any dialect.
fn id_of(body: &[u8]) -> Option<String> {
    let decoded;
    let mut bytes = body;
    if body.first() == Some(&b'{') {
        let said: serde_json::Value = serde_json::from_slice(body).unwrap();
        decoded = STANDARD.decode(said["payload"].as_str()?).unwrap();
        bytes = &decoded;
    }
    let at = bytes.windows(3).position(|window| window == b"id-")?;
    let end = bytes[at..].iter().position(|byte| *byte == b';')?;
    Some(String::from_utf8_lossy(&bytes[at..at + end]).into_owned())
}

async fn pusher(node: Arc<Node>, ledger: Arc<Ledger>, dialect: Dialect) {
    let mut raw = Raw::to(&node).await;
    for n in 0.. {
        if ledger.stops() {
            return;
        }
        let id = format!("id-{dialect:?}-{n}");
        let payload = format!("{id};{}", "x".repeat(n % 97 * n % 4093));
        let topic = format!("t{}", n as u64 % TOPICS);
        let said = if dialect == Dialect::Grpc {
            let mut h2 = H2::to(&node, 1 << 20).await;
            let message = [field(1, topic.as_bytes()), field(2, payload.as_bytes())].concat();
            assert!(h2.ask(1, "/org.ppc.ptp.PrivateTransferTransport/push", &GRPC, &framed(&message)).await);
            h2.wait_for(DATA, 1).await.unwrap().payload
        } else {
            assert!(raw.write(request(dialect, "push", &topic, Some(&payload))).await);
            raw.answer().await.unwrap().body
        };
        assert!(
            String::from_utf8_lossy(&said).contains("E0000000000"),
            "{dialect:?}: {}",
            String::from_utf8_lossy(&said)
        );
        ledger.pushed(&id);
    }
}

/// Pops until it is told to stop and finds nothing. Now and then it dies: before, within or behind an answer that it does not
/// count.
async fn popper(node: Arc<Node>, ledger: Arc<Ledger>, dialect: Dialect) {
    let mut raw = Raw::to(&node).await;
    let mut empty = 0;
    for n in 0_u64.. {
        let topic = format!("t{}", n % TOPICS);
        assert!(raw.write(request(dialect, "pop", &topic, None)).await);
        let dies = n % 41 == 40 && !ledger.stops();
        if dies {
            match n % 3 {
                0 => {}
                1 => raw.tcp.readable().await.unwrap(),
                _ => {
                    raw.tcp.readable().await.unwrap();
                    raw.read_only(20).await;
                }
            }
            if n % 2 == 0 {
                raw.reset();
            } else {
                drop(raw);
            }
            raw = Raw::to(&node).await;
            continue;
        }
        let heard = raw.answer().await.unwrap();
        match id_of(&heard.body) {
            Some(id) => {
                empty = 0;
                ledger.popped(&id, heard.header("x-ptp-redelivered").is_some());
            }
            None => empty += 1,
        }
        if ledger.stops() && empty > 2 * TOPICS && node.leased().await <= DIALECTS.len() as f64 {
            return;
        }
    }
}

/// Starts pops over gRPC, and cancels them: waiting ones, answered ones.
async fn canceller(node: Arc<Node>, ledger: Arc<Ledger>) {
    while !ledger.stops() {
        let mut h2 = H2::to(&node, 5).await;
        for stream in [1, 3, 5] {
            let message = framed(&field(1, b"nothing-comes"));
            h2.ask(stream, "/org.ppc.ptp.PrivateTransferTransport/pop", &GRPC, &message).await;
        }
        h2.cancel(1).await;
        h2.write(&h2::frame(h2::PING, 0, 0, &[0; 8])).await;
        h2.wait_for(h2::PING, 0).await;
    }
}

/// Fills topics of its own and releases them, with calls that wait there.
async fn releaser(node: Arc<Node>, ledger: Arc<Ledger>) {
    while !ledger.stops() {
        for _ in 0..20 {
            assert_eq!(node.push(None, "released", "gone").await, "E0000000000");
        }
        let answer = node
            .post("/v1/interconn/chan/release", &[("x-ptp-session-id", "s")], &serde_json::json!({"topic": "released"}))
            .await;
        assert_eq!(answer.code(), "E0000000000");
        ledger.released.fetch_add(20, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_was_popped_or_released_or_is_still_there() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(10, |text| text.parse().expect("SOAK_SECONDS is a number"));
    let time = Duration::from_secs(seconds);
    let (node, ledger) = (Arc::new(Node::start().await), Arc::new(Ledger::default()));
    let mut tasks = Vec::new();
    for dialect in DIALECTS {
        tasks.push(tokio::spawn(pusher(Arc::clone(&node), Arc::clone(&ledger), dialect)));
        // gRPC's pops are the canceller's; a popper of JSON takes its place.
        let pops = if dialect == Dialect::Grpc { Dialect::Json } else { dialect };
        tasks.push(tokio::spawn(popper(Arc::clone(&node), Arc::clone(&ledger), pops)));
    }
    tasks.push(tokio::spawn(canceller(Arc::clone(&node), Arc::clone(&ledger))));
    tasks.push(tokio::spawn(releaser(Arc::clone(&node), Arc::clone(&ledger))));
    let start = Instant::now();
    tokio::time::sleep(time / 4).await;
    let before = node.rss();
    while start.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!tasks.iter().any(tokio::task::JoinHandle::is_finished), "a client has failed");
    }
    ledger.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    until("all answers to be settled", Duration::from_secs(10), async || node.leased().await == 0.0).await;
    while let Some(late) = pop_any(&node).await {
        ledger.popped(&late, true);
    }
    until("the last to be settled", Duration::from_secs(10), async || node.leased().await == 0.0).await;
    account(&node, &ledger).await;
    let grown = node.rss().saturating_sub(before);
    assert!(grown <= GROWTH_KIB, "{grown} KiB more than after a quarter of the time");
}

async fn pop_any(node: &Node) -> Option<String> {
    for topic in 0..TOPICS {
        if let Some(text) = node.pop_now(&format!("t{topic}")).await {
            return id_of(text.as_bytes());
        }
    }
    None
}

/// The books of the clients and those of the node.
async fn account(node: &Node, ledger: &Ledger) {
    let came = ledger.came.lock().clone();
    let lost: Vec<_> = came.iter().filter(|(_, times)| **times == 0).map(|(id, _)| id).take(10).collect();
    assert!(lost.is_empty(), "lost of {}: {lost:?}", came.len());
    assert!(ledger.unmarked.lock().is_empty(), "came again unmarked: {:?}", ledger.unmarked.lock());
    let total = async |name: &str| node.metric(&format!("mesh_transport_{name}_total")).await;
    let (pushed, released) = (total("pushes").await, ledger.released.load(Ordering::Relaxed) as f64);
    assert_eq!(pushed, came.len() as f64 + released, "what the clients pushed");
    let left = node.private("/queues").await.json()["messages"].as_f64().unwrap();
    let gone = total("lease_commits").await + total("dropped_by_release").await + total("expired_messages").await;
    assert_eq!(pushed, gone + left, "popped, released, expired and still there");
    let again: u32 = came.values().map(|times| times - 1).sum();
    println!("{pushed} messages, {released} of them released, {again} came again");
}
