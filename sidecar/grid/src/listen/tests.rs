//! Clients over real sockets of this machine.

#![allow(clippy::disallowed_methods, reason = "loopback, in tests")]
#![allow(clippy::needless_pass_by_value, reason = "a table reads better without references")]

use mesh_core::{Drain, Workers};
use serde_json::{Value, json};
use std::{task::Waker, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    Channel, EPOCH_MS, Mint, NodeNumber, Topic,
    backend::{Permit, Session},
    clients::Client,
    envelope::{Message, Window},
    link::now_ms,
    wire::{Opcode, encode},
};

/// Long beyond all doubt, also on a busy machine.
const LONG: Duration = Duration::from_secs(30);

struct Bench {
    grid: Arc<Grid>,
    address: std::net::SocketAddr,
    backend: Arc<Session>,
    places: Arc<Semaphore>,
    _drain: Drain,
}

async fn bench(listener: Value) -> Bench {
    bench_for(listener, 1000).await
}

async fn bench_for(listener: Value, connections: usize) -> Bench {
    let mut mint = Mint::new(NodeNumber::default(), EPOCH_MS);
    mint.reserve(now_ms() + 1_000_000);
    let grid = Arc::new(Grid::new(&crds::Grid::default(), (NodeNumber::default(), "grid-0"), mint, 1));
    let mut all = json!({"name": "x"});
    all.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
    let rules = Arc::new(Rules::compile(&serde_json::from_value(all).unwrap()).unwrap());
    let places = Arc::new(Semaphore::new(connections));
    let port = Port::new(&grid, None, vec![Spot { rules, gate: None }], (&places, None));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (drain, workers) = (Drain::new(), Workers::here());
    write(&grid, &workers);
    drain.handle().spawn(serve(socket, port, workers, drain.handle(), CancellationToken::new()));
    let backend = grid.topics.open(Permit::local());
    let topics = ["default", "events"].map(|name| Topic::new(name).unwrap());
    grid.topics.pop(&backend, &topics, Window { acks: false, size: 1000 }).unwrap();
    Bench { grid, address, backend, places, _drain: drain }
}

fn message(text: &str) -> Message {
    Message { opcode: Opcode::Text, payload: text.to_owned().into() }
}

/// An end user.
struct User(TcpStream);

impl User {
    async fn raw(bench: &Bench, head: &str) -> Self {
        let mut tcp = TcpStream::connect(bench.address).await.unwrap();
        tcp.write_all(head.as_bytes()).await.unwrap();
        Self(tcp)
    }

    async fn connect(bench: &Bench) -> Self {
        let mut user = Self::raw(bench, &head("/", "")).await;
        let answer = user.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        user
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LONG, self.0.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn sends(&mut self, first: u8, payload: &[u8]) {
        let plain = encode(Opcode::Text, payload, false);
        let size = plain.len() - payload.len();
        let mut frame = plain[..size].to_vec();
        (frame[0], frame[1]) = (first, frame[1] | 0x80);
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn gets(&mut self) -> (u8, Vec<u8>) {
        timeout(LONG, async {
            let (first, second) = (self.0.read_u8().await.unwrap(), self.0.read_u8().await.unwrap());
            let length = match second {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            (first & 0x0f, payload)
        })
        .await
        .unwrap()
    }

    async fn is_closed_with(&mut self, code: u16) {
        let (opcode, payload) = self.gets().await;
        assert_eq!((opcode, u16::from_be_bytes([payload[0], payload[1]])), (8, code));
    }

    async fn ends(&mut self) {
        let mut rest = Vec::new();
        let _ = timeout(LONG, self.0.read_to_end(&mut rest)).await.expect("it does not end");
    }
}

fn head(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: grid\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

impl Bench {
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        timeout(LONG, async {
            loop {
                if let Some(seen) = look() {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it does not come")
    }

    async fn client(&self) -> Arc<Client> {
        self.until(|| self.grid.clients.list(None, 1).pop()).await
    }

    /// The next events for the backend.
    async fn events(&self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        self.until(|| {
            let frames = self.backend.take(Waker::noop());
            let read = |frame: &[u8]| serde_json::from_slice(&frame[if frame[1] < 126 { 2 } else { 4 }..]).unwrap();
            events.extend(frames.iter().map(|outgoing| read(&outgoing.frame)));
            (events.len() >= count).then_some(())
        })
        .await;
        events
    }
}

#[tokio::test]
async fn a_client_sends_gets_and_ends() {
    let bench = bench(json!({"events": {"handshake": "events", "close": "events"}})).await;
    let mut user = User::connect(&bench).await;
    user.sends(0x81, b"ping").await;
    assert_eq!(user.gets().await, (1, b"pong".to_vec()));
    user.sends(0x89, b"now").await;
    assert_eq!(user.gets().await, (10, b"now".to_vec()));
    user.sends(0x81, b"hello").await;
    let client = bench.client().await;
    let channel = Channel::new("room").unwrap();
    bench.grid.clients.subscribe(&client, std::slice::from_ref(&channel)).unwrap();
    assert_eq!(bench.grid.clients.publish(&[channel], &[message("all")])[0].sent, 1);
    assert_eq!(user.gets().await, (1, b"all".to_vec()));
    bench.grid.clients.send(client.id, Opcode::Binary, b"\x01").unwrap();
    assert_eq!(user.gets().await, (2, b"\x01".to_vec()));
    user.sends(0x88, &[0x03, 0xe8]).await;
    user.is_closed_with(1000).await;
    user.ends().await;
    let events = bench.events(3).await;
    let what: Vec<_> = events.iter().map(|event| event["p"]["d"]["event"].as_str().unwrap()).collect();
    assert_eq!(what, ["handshake", "message", "close"]);
    assert_eq!((&events[0]["p"]["d"]["headers"]["host"], &events[2]["p"]["d"]["code"]), (&json!("grid"), &json!(1000)));
    bench.until(|| (bench.grid.clients.count() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_and_ends() {
    let bench = bench(json!({"limits": {"connections": 1}})).await;
    let table = [
        (head("/other", ""), "404"),
        (head("/", "Origin: https://evil.example\r\n"), "403"),
        ("GET / HTTP/1.1\r\nHost: grid\r\n\r\n".to_owned(), "426"),
        ("POST / HTTP/1.1\r\nHost: grid\r\n\r\n".to_owned(), "405"),
        ("\x16\x03\x01\x02\r\n\r\n".to_owned(), "400"),
    ];
    for (text, status) in table {
        let mut user = User::raw(&bench, &text).await;
        let answer = user.head().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{text}: {answer}");
        user.ends().await;
    }
    let _first = User::connect(&bench).await;
    let answer = User::raw(&bench, &head("/", "")).await.head().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn bytes_that_break_the_protocol_close_it_with_their_code() {
    let bench = bench(json!({"limits": {"messageBytes": "100"}})).await;
    let table: [(u8, &[u8], u16); 4] =
        [(0x83, b"", 1002), (0x81, b"\xff", 1007), (0x82, &[0; 101], 1009), (0x80, b"", 1002)];
    for (first, payload, code) in table {
        let mut user = User::connect(&bench).await;
        user.sends(first, payload).await;
        user.is_closed_with(code).await;
        user.sends(0x88, &code.to_be_bytes()).await;
        user.ends().await;
    }
}

#[tokio::test]
async fn a_message_wakes_a_client_that_is_idle_each_time() {
    let bench = bench(json!({})).await;
    let mut user = User::connect(&bench).await;
    let client = bench.client().await;
    for n in 0..5 {
        let text = n.to_string();
        bench.grid.clients.send(client.id, Opcode::Text, text.as_bytes()).unwrap();
        assert_eq!(user.gets().await, (1, text.into_bytes()));
    }
}

#[tokio::test]
async fn a_close_is_answered_and_ends_the_connection_whatever_comes_behind_it() {
    let bench = bench(json!({})).await;
    let mut user = User::connect(&bench).await;
    // What comes behind it is passed over.
    let frames = [&[0x88, 0x82, 0, 0, 0, 0, 0x0f, 0xa0][..], &[0x81, 0x81, 0, 0, 0, 0, b'x']].concat();
    user.0.write_all(&frames).await.unwrap();
    user.is_closed_with(4000).await;
    assert_eq!(timeout(LONG, user.0.read(&mut [0])).await.unwrap().unwrap_or_default(), 0);
    bench.until(|| (bench.grid.clients.count() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_and_others_see_nothing() {
    let limits = json!({"outQueueBytes": "64Ki", "messageBytes": "64Ki", "writeTimeout": "1s"});
    let bench = bench(json!({"limits": limits})).await;
    let (_slow, mut quick) = (User::connect(&bench).await, User::connect(&bench).await);
    let clients = bench.until(|| Some(bench.grid.clients.list(None, 9)).filter(|all| all.len() == 2)).await;
    let channel = Channel::new("room").unwrap();
    clients.iter().for_each(|client| bench.grid.clients.subscribe(client, std::slice::from_ref(&channel)).unwrap());
    let messages = [message(&"x".repeat(32 * 1024))];
    let mut failed = 0;
    while failed == 0 {
        failed = bench.grid.clients.publish(std::slice::from_ref(&channel), &messages)[0].failed;
        assert_eq!(quick.gets().await.1.len(), messages[0].payload.len());
    }
    bench.until(|| (bench.grid.clients.count() == 1).then_some(())).await;
    quick.sends(0x81, b"ping").await;
    assert_eq!(quick.gets().await.1, b"pong");
}

/// Messages until the system holds no more of them, and some wait here.
async fn fill(bench: &Bench, client: &Client) {
    let mut full = 0;
    // What waits longer than this is not about to be written.
    while full < 20 {
        if client.waiting_bytes() < 256 << 10 {
            bench.grid.clients.send(client.id, Opcode::Binary, &[0; 32 << 10]).unwrap();
            full = 0;
        } else {
            full += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_within_the_write_timeout_is_dropped_though_its_queue_has_room() {
    let bench = bench(json!({"limits": {"outQueueBytes": "64Mi", "writeTimeout": "1s"}})).await;
    let user = User::connect(&bench).await;
    let client = bench.client().await;
    fill(&bench, &client).await;
    bench.until(|| (bench.grid.clients.count() == 0).then_some(())).await;
    assert_eq!(client.closing(), None, "it was not too slow for its queue");
    drop(user);
}

#[tokio::test]
async fn a_close_is_in_force_before_it_is_written() {
    let bench = bench(json!({})).await;
    let mut user = User::connect(&bench).await;
    let client = bench.client().await;
    fill(&bench, &client).await;
    client.close(crate::wire::Close::new(crate::wire::CloseCode::POLICY, "enough"));
    user.sends(0x81, b"too late").await;
    // It takes all that was sent before, and then the close.
    while user.gets().await.0 != 8 {}
    user.sends(0x88, &[0x03, 0xf0]).await;
    user.ends().await;
    bench.until(|| (bench.grid.clients.count() == 0).then_some(())).await;
    assert_eq!(bench.backend.take(Waker::noop()).len(), 0);
}

#[tokio::test]
async fn a_client_whose_topic_is_full_is_not_read_until_there_is_room() {
    let bench = bench(json!({"overflow": "pause", "rules": [{"topic": "slow"}]})).await;
    bench.grid.configure(&serde_json::from_value(json!({"topics": {"messages": 1}})).unwrap());
    let mut user = User::connect(&bench).await;
    for text in ["1", "2", "3"] {
        user.sends(0x81, text.as_bytes()).await;
    }
    let client = bench.client().await;
    bench.until(|| client.is_full().then_some(())).await;
    let slow = Topic::new("slow").unwrap();
    bench.grid.clients.send(client.id, Opcode::Text, b"still there").unwrap();
    assert_eq!(user.gets().await.1, b"still there");
    let call = crate::envelope::Call::Pop(vec![slow], Window { acks: false, size: 10 });
    bench.grid.call(&Permit::local(), Some(&bench.backend), call).await.unwrap();
    let texts: Vec<_> = bench.events(3).await.iter().map(|event| event["p"]["d"]["frame"]["data"].clone()).collect();
    assert_eq!(texts, [json!("1"), json!("2"), json!("3")]);
}

#[tokio::test]
async fn a_client_that_is_paused_is_asked_and_missed_when_it_has_gone() {
    let limits = json!({"pingInterval": "2s", "pongTimeout": "1s", "readTimeout": "60s"});
    let bench = bench(json!({"limits": limits})).await;
    let mut user = User::connect(&bench).await;
    bench.client().await.set_paused(true);
    for _ in 0..2 {
        assert_eq!(user.gets().await.0, 9);
    }
    assert_eq!(bench.grid.clients.count(), 1, "it need not answer what is not read");
    drop(user);
    bench.until(|| (bench.grid.clients.count() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_clients_leave_unfinished_is_bounded_together() {
    let bench = bench(json!({})).await;
    bench.grid.unfinished.set_most(100 << 10);
    // Half of a message that is announced as one of 64 KiB.
    let half = [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0; 40 << 10]].concat();
    let mut users = Vec::new();
    for _ in 0..2 {
        let mut user = User::connect(&bench).await;
        user.0.write_all(&half).await.unwrap();
        users.push(user);
    }
    bench.until(|| (bench.grid.unfinished.used() > 70 << 10).then_some(())).await;
    let mut user = User::connect(&bench).await;
    user.0.write_all(&half).await.unwrap();
    user.is_closed_with(1008).await;
    // The others go on.
    users[0].0.write_all(&[0; 24 << 10]).await.unwrap();
    bench.until(|| (bench.backend.take(Waker::noop()).len() == 1).then_some(())).await;
    drop((users, user));
    bench.until(|| (bench.grid.unfinished.used() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_hold_that_nobody_ends_closes_with_1008() {
    let bench = bench(json!({"holdUntil": {"key": "user_id", "timeoutSeconds": 1}})).await;
    let mut user = User::connect(&bench).await;
    user.sends(0x81, b"early").await;
    user.is_closed_with(1008).await;
}

#[tokio::test]
async fn connections_beyond_what_the_process_can_bear_are_cut_before_they_say_a_word() {
    let bench = bench_for(json!({}), 2).await;
    let _says_nothing = User::raw(&bench, "").await;
    let mut user = User::connect(&bench).await;
    User::raw(&bench, "").await.ends().await;
    user.sends(0x81, b"ping").await;
    assert_eq!(user.gets().await, (1, b"pong".to_vec()));
    drop(user);
    bench.until(|| (bench.places.available_permits() == 1).then_some(())).await;
    User::connect(&bench).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_given_up() {
    let limits = json!({"pingInterval": "2s", "pongTimeout": "1s", "readTimeout": "60s"});
    let bench = bench(json!({"limits": limits})).await;
    let mut user = User::connect(&bench).await;
    assert_eq!(user.gets().await.0, 9);
    user.is_closed_with(1001).await;
}
