//! `cargo bench -p mesh-grid --bench sinks`: what a publication to 100 000 subscribers costs without any socket: clients of several
//! threads that only take what comes to them. Medians of five rounds.

#![allow(clippy::expect_used, reason = "a bench ends where it cannot go on")]

use std::{
    hint::black_box,
    sync::Arc,
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use mesh_grid::{
    Channel, ClientId, Context,
    clients::{Client, Clients, Opened},
    envelope::Message,
    rules::Rules,
};
use mesh_websocket::Opcode;
use serde_json::json;

const ROUNDS: usize = 5;
const SINKS: u64 = 100_000;
/// As many threads as serve clients on two processors.
const THREADS: usize = 4;
const SIZE: usize = 128;
/// Messages that one publisher says in a row.
const BATCH: usize = 32;

fn main() {
    let (clients, sinks) = filled();
    let room = [Channel::new("room").expect("a name")];
    println!("| {SINKS} sinks on {THREADS} threads, {SIZE} B | put into their outboxes | taken by all | delivered |");
    println!("|---|---:|---:|---:|");
    for batch in [1, BATCH] {
        let messages = vec![Message { opcode: Opcode::Text, payload: vec![b'x'; SIZE].into() }; batch];
        let rounds: Vec<_> = (0..ROUNDS).map(|_| round(&clients, &sinks, &room, &messages)).collect();
        let [put, taken] = [0, 1].map(|which| median(rounds.iter().map(|round| round[which]).collect()));
        let delivered = (SINKS as f64 * batch as f64) / (put + taken).as_secs_f64() / 1e6;
        println!("| {batch} at a time | {put:.1?} | {taken:.1?} | {delivered:.1} million /s |");
    }
}

/// Clients that are subscribed to the room, by their threads.
fn filled() -> (Clients, Vec<Vec<Arc<Client>>>) {
    let listener = serde_json::from_value(json!({"name": "bench"})).expect("a listener");
    let rules = Arc::new(Rules::compile(&listener).expect("rules"));
    let clients = Clients::new(THREADS);
    let room = [Channel::new("room").expect("a name")];
    let mut sinks = vec![Vec::new(); THREADS];
    for n in 0..SINKS {
        let shard = usize::try_from(n).expect("it fits") % THREADS;
        let client = Client::new(Opened {
            id: ClientId::new(n + 1).expect("an id"),
            shard,
            remote: ([127, 0, 0, 1], 1).into(),
            rules: Arc::clone(&rules),
            deflates: false,
            context: Context::default(),
        });
        clients.open(&client);
        clients.subscribe(&client, &room).expect("it is here");
        sinks[shard].push(client);
    }
    (clients, sinks)
}

/// How long it takes until all outboxes have the messages, and until each thread has taken its clients'.
fn round(clients: &Clients, sinks: &[Vec<Arc<Client>>], room: &[Channel], messages: &[Message]) -> [Duration; 2] {
    let begun = Instant::now();
    let reached = clients.publish(room, messages);
    let put = begun.elapsed();
    assert!(reached.iter().all(|reached| reached.sent as u64 == SINKS), "{reached:?}");
    let begun = Instant::now();
    let bytes: usize = thread::scope(|scope| {
        let threads: Vec<_> = sinks.iter().map(|sinks| scope.spawn(|| taken(sinks))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    // A message of this size has a head of four bytes.
    assert_eq!(bytes as u64, SINKS * messages.len() as u64 * (SIZE as u64 + 4));
    [put, begun.elapsed()]
}

fn taken(sinks: &[Arc<Client>]) -> usize {
    let each = sinks.iter().map(|client| {
        let outgoing = black_box(client.take(Waker::noop())).unwrap_or_default();
        let bytes = outgoing.frames.iter().fold(0, |bytes, frame| bytes + frame.len());
        client.written(bytes);
        bytes
    });
    each.sum()
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
