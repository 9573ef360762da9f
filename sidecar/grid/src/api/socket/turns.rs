//! Whose turn it is: a backend that takes events is heard between them, and asked.

use mesh_core::Drain;
use serde_json::{Value, json};
use tokio::io::DuplexStream;

use super::*;
use crate::{
    EPOCH_MS, Mint, NodeNumber, Topic,
    backend::Permit,
    context::Context,
    envelope::{Event, Happened, Origin},
    wire::{Data, Part},
};

/// Events that wait.
const BACKLOG: u64 = 2000;

struct Bench {
    grid: Arc<Grid>,
    session: Arc<Session>,
    stream: DuplexStream,
    served: tokio::task::JoinHandle<io::Result<()>>,
    _drain: Drain,
}

impl Bench {
    /// A backend that consumes a topic with a backlog, over a socket that holds little.
    async fn new() -> Self {
        let mint = Mint::new(NodeNumber::default(), EPOCH_MS);
        let config = serde_json::from_value(json!({"topics": {"messages": BACKLOG}})).unwrap();
        let grid = Arc::new(Grid::new(&config, (NodeNumber::default(), "grid-0"), mint, 1));
        let topic = Topic::new("a").unwrap();
        let client = crate::ClientId::new(7).unwrap();
        for n in 0..BACKLOG {
            let part = Part { opcode: Opcode::Text, data: Data::Text(n.to_string()), fin: true };
            let origin = Origin { node_name: "n", client, context: &Context::default(), seq: n, ts: 0 };
            let event = Event::new(&topic, origin, Happened::Message(&part));
            grid.topics.push(&topic, client, event, None);
        }
        let session = grid.topics.open(Permit::local());
        let drain = Drain::new();
        let (stream, other) = tokio::io::duplex(1000);
        let reading = Reading::messages(1000);
        let bounds = Bounds { reading, errors: 10 };
        let mut socket = Socket::new(other, Arc::clone(&session), bounds, drain.handle());
        let its = Arc::clone(&grid);
        let served = tokio::spawn(async move { socket.serve(&its).await });
        let mut bench = Self { grid, session, stream, served, _drain: drain };
        bench.sends(0x81, r#"{"m":"queue.pop","p":{"t":["a"],"w":10},"i":"pop"}"#).await;
        bench
    }

    async fn sends(&mut self, first: u8, text: &str) {
        let mut frame = vec![first, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The opcode and the text of the next frame.
    async fn gets(&mut self) -> (u8, Vec<u8>) {
        let (first, second) = (self.stream.read_u8().await.unwrap(), self.stream.read_u8().await.unwrap());
        let length = if second == 126 { self.stream.read_u16().await.unwrap() } else { u16::from(second) };
        let mut text = vec![0; length.into()];
        self.stream.read_exact(&mut text).await.unwrap();
        (first & 0x0f, text)
    }

    /// Frames until one is as wanted.
    async fn until(&mut self, is_wanted: impl Fn(u8, &[u8]) -> bool) -> usize {
        let mut before = 0;
        loop {
            let (opcode, text) = self.gets().await;
            if is_wanted(opcode, &text) {
                return before;
            }
            before += 1;
        }
    }
}

fn has_id(text: &[u8], id: &str) -> bool {
    serde_json::from_slice::<Value>(text).is_ok_and(|answer| answer["i"] == id)
}

#[tokio::test]
async fn what_a_backend_asks_is_answered_before_its_topic_is_empty() {
    let mut bench = Bench::new().await;
    bench.until(|_, text| has_id(text, "pop")).await;
    bench.sends(0x81, "ping").await;
    bench.sends(0x81, r#"{"m":"queue.unpop","i":"unpop"}"#).await;
    let before = bench.until(|_, text| text == b"pong").await;
    assert!(before < 200, "{before} events were first");
    bench.until(|_, text| has_id(text, "unpop")).await;
    let rest = bench.grid.topics.rows()[0].depth;
    assert!(rest > 1000, "{rest} events are left");
}

#[tokio::test]
async fn a_backend_that_may_be_here_no_more_gets_no_more_events() {
    let mut bench = Bench::new().await;
    bench.until(|_, text| has_id(text, "pop")).await;
    bench.session.revoke(Close::new(CloseCode::POLICY, "x"));
    let before = bench.until(|opcode, text| opcode == 8 && text.starts_with(&[0x03, 0xf0])).await;
    assert!(before < 200, "{before} events were first");
    bench.served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_only_consumes_is_asked_and_is_not_given_up_as_long_as_it_answers() {
    let mut bench = Bench::new().await;
    let mut pings = 0;
    for _ in 0..BACKLOG {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (opcode, text) = bench.gets().await;
        assert_ne!(opcode, 8, "{}", String::from_utf8_lossy(&text));
        if opcode == 9 {
            pings += 1;
            bench.sends(0x8a, "").await;
        }
    }
    assert!(pings > 10, "{pings}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_silent_is_asked_before_it_is_given_up() {
    let mut bench = Bench::new().await;
    let began = Instant::now();
    bench.until(|opcode, _| opcode == 9).await;
    bench.until(|opcode, text| opcode == 8 && text.starts_with(&[0x03, 0xe9])).await;
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn publications_in_a_row_are_answered_one_by_one_and_in_their_turn() {
    let mut bench = Bench::new().await;
    bench.until(|_, text| has_id(text, "pop")).await;
    let publish = |channel: &str, id: u8| format!(r#"{{"m":"mesh.publish","p":{{"c":"{channel}","d":"x"}},"i":{id}}}"#);
    let requests = [
        publish("a", 1),
        publish("a", 2),
        publish("b", 3),
        r#"{"m":"server.ping","i":4}"#.to_owned(),
        publish("b", 5),
        publish("not a name", 6),
        publish("b", 7),
    ];
    for request in &requests {
        bench.sends(0x81, request).await;
    }
    let mut answered = Vec::new();
    while answered.len() < requests.len() {
        let (_, text) = bench.gets().await;
        let answer: Value = serde_json::from_slice(&text).unwrap();
        if answer.get("i").is_some() {
            answered.push((answer["i"].clone(), answer["E"]["c"].clone()));
        }
    }
    let expected = (1..=7).map(|n| (json!(n), if n == 6 { json!(101) } else { Value::Null }));
    assert_eq!(answered, expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_takes_nothing_for_a_minute_is_given_up() {
    let bench = Bench::new().await;
    let began = Instant::now();
    let ended = bench.served.await.unwrap();
    assert_eq!(ended.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn a_message_above_the_bound_is_answered_like_every_request_that_is_none_and_is_the_last() {
    let mut bench = Bench::new().await;
    bench.until(|_, text| has_id(text, "pop")).await;
    // Its head says enough.
    bench.stream.write_all(&[0x81, 0xfe, 0x03, 0xe9, 0, 0, 0, 0]).await.unwrap();
    bench.until(|_, text| serde_json::from_slice::<Value>(text).is_ok_and(|said| said["E"]["c"] == 101)).await;
    bench.until(|opcode, text| opcode == 8 && text.starts_with(&1009_u16.to_be_bytes())).await;
    bench.served.await.unwrap().unwrap();
}
