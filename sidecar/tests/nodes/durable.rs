//! `store: Disk` and `kill -9` under load: nothing that was acknowledged is lost, nothing that was committed comes again
//! (design section 6).
//!
//! What a client may rely on is what it was told. A push is acknowledged by its answer; a pop is committed when the next
//! answer comes on its connection.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::{Node, post};

/// As many as the issue asks for.
const ROUNDS: u64 = 20;
const PUSHERS: u64 = 8;
const POPPERS: u64 = 4;
/// Each queue has pushers and poppers.
const QUEUES: u64 = 4;
/// How long the first push of a round may take.
const PATIENCE: Duration = Duration::from_secs(90);
const OK: &str = "E0000000000";

/// What the clients know.
#[derive(Default)]
struct Known {
    next: AtomicU64,
    /// Pushes that were answered with success.
    acknowledged: Mutex<HashSet<u64>>,
    /// Messages that were given out, and how often.
    given: Mutex<HashMap<u64, usize>>,
    /// Messages whose pop was followed by another answer on its connection.
    committed: Mutex<HashSet<u64>>,
    /// What went wrong.
    wrong: Mutex<Vec<String>>,
}

/// A connection that is kept.
struct Line(SendRequest<Full<Bytes>>);

impl Line {
    /// `None`: nobody listens any more.
    #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
    async fn open(to: SocketAddr) -> Option<Self> {
        let stream = TcpSocket::new_v4().ok()?.connect((Ipv4Addr::LOCALHOST, to.port()).into()).await.ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self(sender))
    }

    /// The answer, and whether the message in it was marked as redelivered. `None`: the connection broke.
    async fn call(&mut self, path: &str, headers: &[(&str, &str)], body: &Value) -> Option<(Value, bool)> {
        let mut request = post(path, headers, body.to_string());
        request.headers_mut().insert("host", http::HeaderValue::from_static("127.0.0.1"));
        self.0.ready().await.ok()?;
        let answer = self.0.send_request(request).await.ok()?;
        let redelivered = answer.headers().contains_key("x-ptp-redelivered");
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((serde_json::from_slice(&body).unwrap(), redelivered))
    }
}

fn queue(number: u64) -> String {
    format!("t{}", number % QUEUES)
}

/// Pushes until the connection breaks.
async fn pushes(node: SocketAddr, queue: String, known: Arc<Known>) {
    let Some(mut line) = Line::open(node).await else { return };
    loop {
        let number = known.next.fetch_add(1, Ordering::Relaxed);
        let length = rand::rng().random_range(0..4000);
        let payload = STANDARD.encode(format!("{number}:{}", "x".repeat(length)));
        let body = json!({"topic": queue, "payload": payload});
        let Some((answer, _)) = line.call("/v1/interconn/chan/push", &[("x-ptp-session-id", "s")], &body).await else {
            return;
        };
        assert_eq!(answer["code"], OK, "{answer}");
        known.acknowledged.lock().insert(number);
    }
}

/// Pops until the connection breaks, or until `done` says so and nothing is left.
async fn pops(node: SocketAddr, queue: String, known: Arc<Known>, done: Arc<AtomicBool>) {
    let Some(mut line) = Line::open(node).await else { return };
    let mut open = None;
    loop {
        let body = json!({"topic": queue, "timeout": 300});
        let Some((answer, redelivered)) =
            line.call("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], &body).await
        else {
            return;
        };
        assert_eq!(answer["code"], OK, "{answer}");
        known.committed.lock().extend(open.take());
        match answer["payload"].as_str() {
            Some(payload) => open = Some(known.note(payload, redelivered)),
            None if done.load(Ordering::Relaxed) => return,
            None => {}
        }
    }
}

impl Known {
    /// A message was given out.
    fn note(&self, payload: &str, redelivered: bool) -> u64 {
        let text = String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap();
        let number = text.split_once(':').unwrap().0.parse().unwrap();
        let before = {
            let mut given = self.given.lock();
            let times = given.entry(number).or_default();
            *times += 1;
            *times > 1
        };
        if self.committed.lock().contains(&number) {
            self.wrong.lock().push(format!("{number} was committed and came again"));
        }
        if before && !redelivered {
            self.wrong.lock().push(format!("{number} came again without the mark"));
        }
        number
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing_acknowledged_and_repeats_nothing_committed() {
    let mut node = Node::with_transport("store: Disk", &[]).await;
    let (known, done) = (Arc::new(Known::default()), Arc::new(AtomicBool::new(false)));
    for round in 0..ROUNDS {
        let pushing = (0..PUSHERS).map(|n| tokio::spawn(pushes(node.data, queue(n), Arc::clone(&known))));
        let popping =
            (0..POPPERS).map(|n| tokio::spawn(pops(node.data, queue(n), Arc::clone(&known), Arc::clone(&done))));
        let before = known.acknowledged.lock().len();
        let load: Vec<_> = pushing.chain(popping).collect();
        // A slow disk takes its time until the first push lands: killed before that, a node has nothing to lose.
        let since = Instant::now();
        while known.acknowledged.lock().len() == before && since.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pause = rand::rng().random_range(50..300);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        node.kill_and_restart().await;
        for task in load {
            task.await.unwrap();
        }
        assert_eq!(*known.wrong.lock(), Vec::<String>::new(), "round {round}");
    }
    done.store(true, Ordering::Relaxed);
    let rest: Vec<_> =
        (0..POPPERS).map(|n| tokio::spawn(pops(node.data, queue(n), Arc::clone(&known), Arc::clone(&done)))).collect();
    for task in rest {
        task.await.unwrap();
    }
    assert_eq!(*known.wrong.lock(), Vec::<String>::new());
    let acknowledged = known.acknowledged.lock();
    let given = known.given.lock();
    let lost: Vec<_> = acknowledged.iter().filter(|number| !given.contains_key(number)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    let committed = known.committed.lock().len();
    assert!(acknowledged.len() > 100 && committed > 100, "{} acknowledged, {committed} committed", acknowledged.len());
    println!("{} acknowledged, {} given out, {committed} committed", acknowledged.len(), given.len());
}

/// PTP section 9.5: release and tombstone are on disk before the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_answered_holds_after_kill_9() {
    let mut node = Node::with_transport("store: Disk", &[]).await;
    for round in 0..5 {
        let (gone, freed) = (format!("gone-{round}"), format!("freed-{round}"));
        let push = json!({"topic": "t", "payload": "b25l"});
        for (op, session, body) in [
            ("push", &gone, &push),
            ("push", &freed, &push),
            ("release", &gone, &json!({"topic": ""})),
            ("release", &freed, &json!({"topic": "t"})),
        ] {
            // The disk may be slow: a push that waits for it has its time.
            let headers = [("x-ptp-session-id", session.as_str()), ("x-ptp-timeout", "60000")];
            let answer = node.post(&format!("/v1/interconn/chan/{op}"), &headers, body).await;
            assert_eq!(answer.code(), OK, "{op} {session}: {}", answer.text());
        }
        node.kill_and_restart().await;
        let refused = node.post("/v1/interconn/chan/push", &[("x-ptp-session-id", &gone)], &push).await;
        assert_eq!(refused.code(), "E0000000608", "{gone}");
        let pop = json!({"topic": "t", "timeout": 50});
        let popped = node.post("/v1/interconn/chan/pop", &[("x-ptp-session-id", &freed)], &pop).await;
        assert_eq!(popped.json(), json!({"code": OK, "message": "请求成功"}), "{freed}");
    }
}
