//! What a backend's calls do, and what becomes of a client's message.

#![allow(clippy::needless_pass_by_value, reason = "a table reads better without references")]

use std::task::Waker;

use futures::FutureExt;
use serde_json::Value;

use super::*;
use crate::{
    EPOCH_MS, Mint,
    clients::Opened,
    context::Context,
    envelope::{Request, answer},
    rules::Rules,
    wire::{Data, Opcode, Part},
};

const NOW: u64 = EPOCH_MS + 5000;

struct Bench {
    grid: Grid,
    session: Arc<Session>,
}

impl Bench {
    fn new(config: Value) -> Self {
        let mut mint = Mint::new(NodeNumber::default(), NOW);
        mint.reserve(NOW + 1000);
        let grid = Grid::new(&serde_json::from_value(config).unwrap(), (NodeNumber::default(), "grid-0"), mint, 2);
        let session = grid.topics.open(Permit::local());
        Self { grid, session }
    }

    fn client(&self, listener: Value) -> Arc<Client> {
        let mut all = json!({"name": "x"});
        all.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
        let rules = Arc::new(Rules::compile(&serde_json::from_value(all).unwrap()).unwrap());
        let (id, remote) = (self.grid.issue_id(NOW).now_or_never().unwrap().unwrap(), "10.0.0.1:1".parse().unwrap());
        let client = Client::new(Opened { id, shard: 0, remote, rules, deflates: false, context: Context::default() });
        self.grid.clients.open(&client);
        client
    }

    fn ask(&self, text: &str) -> Value {
        let request = Request::read(text);
        let outcome = request.call.and_then(|call| {
            let called = self.grid.call(&self.session.permit(), Some(&self.session), call).now_or_never();
            called.expect("nobody else to wait for")
        });
        serde_json::from_str(&answer(&outcome, request.id.as_ref())).unwrap()
    }

    fn call(&self, client: &Client, function: &str, arguments: Value) -> Value {
        let p = json!({"c": client.id.to_string(), "f": function, "a": arguments});
        self.ask(&json!({"m": "conn.call", "p": p, "i": 12345}).to_string())
    }

    fn push(&self, client: &Client, text: &str) -> Taken {
        let part = Part { opcode: Opcode::Text, data: Data::Text(text.into()), fin: true };
        self.grid.push(client, &Topic::new("topic1").unwrap(), Happened::Message(&part), (1, NOW))
    }
}

fn done(i: Value) -> Value {
    json!({"E": null, "r": {"s": true}, "i": i})
}

fn code(answer: &Value) -> u64 {
    answer["E"]["c"].as_u64().unwrap_or_default()
}

#[test]
fn the_examples_of_the_seed_are_answered_as_there() {
    let bench = Bench::new(json!({}));
    let client = bench.client(json!({}));
    assert_eq!(bench.ask(r#"{"m":"queue.pop","p":{"t":["topic1"]},"i":12345}"#), done(json!(12345)));
    let again = bench.ask(r#"{"m":"queue.pop","p":{"t":["topic1"]},"i":12345}"#);
    assert_eq!((code(&again), &again["i"]), (202, &json!(12345)));
    assert_eq!(bench.call(&client, "set_context_value", json!(["user_id", 10000])), done(json!(12345)));
    assert_eq!(bench.call(&client, "set_context", json!([{"user_id": 10000}])), done(json!(12345)));
    assert_eq!(bench.call(&client, "subscribe", json!(["channel1", "channel2"])), done(json!(12345)));
    let publish = r#"{"m":"mesh.publish","p":{"c":"channel1","d":"data"},"i":12345}"#;
    assert_eq!(bench.ask(publish), json!({"E": null, "r": {"s": 1, "f": 0}, "i": 12345}));
    assert_eq!(bench.call(&client, "unsubscribe", json!(["channel1", "channel2"])), done(json!(12345)));
    assert_eq!(bench.ask(publish)["r"], json!({"s": 0, "f": 0}));
    let send = json!({"m": "mesh.send", "p": {"c": client.id.to_string(), "d": "data"}, "id": 12345});
    assert_eq!(bench.ask(&send.to_string()), done(json!(12345)));
    assert_eq!(bench.ask(r#"{"m":"queue.unpop","p":{},"i":12345}"#), done(json!(12345)));
    let gone = bench.ask(r#"{"m":"mesh.send","p":{"c":"1463786910324359168","d":"data"},"id":12345}"#);
    assert_eq!((code(&gone), &gone["E"]["k"], gone.get("r")), (401, &json!("gone"), None));
}

#[test]
fn functions_of_a_connection_show_and_change_it() {
    let bench = Bench::new(json!({}));
    let client = bench.client(json!({"limits": {"contextBytes": "40", "channels": 2}}));
    bench.call(&client, "set_context", json!([{"a": 1}]));
    bench.call(&client, "merge_context", json!([{"b": 2}]));
    bench.call(&client, "subscribe", json!(["x"]));
    assert_eq!(bench.call(&client, "get_context", json!([]))["r"]["context"], json!({"a": 1, "b": 2}));
    assert_eq!(bench.call(&client, "channels", json!([]))["r"]["channels"], json!(["x"]));
    assert_eq!(bench.call(&client, "info", json!([]))["r"]["remote"], json!("10.0.0.1:1"));
    bench.call(&client, "pause", json!([]));
    assert!(client.is_paused());
    bench.call(&client, "resume", json!([]));
    assert!(!client.is_paused());
    let refused = [
        bench.call(&client, "merge_context", json!([{"c": "x".repeat(40)}])),
        bench.call(&client, "subscribe", json!(["y", "z"])),
        bench.call(&client, "fly", json!([])),
        bench.ask(r#"{"m":"conn.call","p":{"c":"99","f":"info"}}"#),
        // Of node 1, and there is none.
        bench.ask(r#"{"m":"conn.call","p":{"c":"4096","f":"info"}}"#),
    ];
    assert!(refused.iter().all(|answer| code(answer) == 301), "{refused:?}");
    let elsewhere = bench.ask(r#"{"m":"mesh.send","p":{"c":"4096","d":"x"}}"#);
    assert_eq!((code(&elsewhere), &elsewhere["E"]["k"]), (401, &json!("unreachable")));
    bench.call(&client, "close", json!([3000, "bye"]));
    let close = client.take(Waker::noop()).unwrap().close.unwrap();
    assert_eq!((close.code.unwrap().get(), &*close.reason), (3000, "bye"));
}

#[test]
fn a_client_whose_topic_is_full_is_told_or_waits_as_its_listener_says() {
    let bench = Bench::new(json!({"topics": {"messages": 1}}));
    let (told, waits) = (bench.client(json!({})), bench.client(json!({"overflow": "pause"})));
    assert_eq!(bench.push(&told, "1"), Taken::Done);
    assert!(matches!(bench.push(&told, "2"), Taken::Rejected(e) if e.code() == 503));
    assert_eq!(bench.push(&waits, "3"), Taken::Full);
    assert!(waits.is_full() && !told.is_full());
    bench.ask(r#"{"m":"queue.pop","p":{"t":["topic1"]}}"#);
    assert!(!waits.is_full());
    assert_eq!(bench.session.take(Waker::noop()).len(), 2);
}

#[test]
fn who_may_consume_a_topic_no_more_does_not() {
    let bench = Bench::new(json!({}));
    let client = bench.client(json!({}));
    bench.ask(r#"{"m":"queue.pop","p":{"t":["topic1","topic2"]}}"#);
    let permit = |user: Value| Permit::of(&serde_json::from_value(user).unwrap()).unwrap();
    let user = json!({"name": "u", "role": "write", "topics": ["topic2"], "secretRef": {"name": "s"}});
    bench.grid.permit(&bench.session, permit(user));
    bench.push(&client, "not for it");
    assert_eq!(bench.session.topics(), [Topic::new("topic2").unwrap()]);
    assert_eq!(bench.session.take(Waker::noop()).len(), 0);
    let reader = json!({"name": "u", "role": "read", "secretRef": {"name": "s"}});
    bench.grid.permit(&bench.session, permit(reader));
    assert_eq!(bench.session.topics(), []);
}

#[test]
fn consuming_needs_a_session() {
    let bench = Bench::new(json!({}));
    let call = Request::read(r#"{"m":"queue.pop","p":{"t":["a"]}}"#).call.unwrap();
    assert_eq!(bench.grid.call(&Permit::local(), None, call).now_or_never().unwrap().unwrap_err().code(), 101);
}
