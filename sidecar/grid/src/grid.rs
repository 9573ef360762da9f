//! The grid's service: what a backend's call does, and what becomes of a client's message. Plain types in and out; the fronts
//! read and write (Grid sections 4 to 6).

use std::{sync::Arc, time::Instant};

use crds::Grid as Config;
use serde_json::{json, value::RawValue};

use crate::{
    ClientId, GridError, Ids, NoIds, NodeNumber, Topic, Unsent,
    backend::{Permit, Session},
    clients::{Client, Clients},
    elsewhere,
    envelope::{Call, Event, Function, Happened, Message, Origin, Outcome},
    metrics::Metrics,
    purse::Purse,
    queue::Pushed,
    topics::{Settlement, Topics},
};

/// A node's grid.
#[derive(Debug)]
pub struct Grid {
    /// Who is connected.
    pub clients: Clients,
    /// What they sent, and who consumes it.
    pub topics: Topics,
    node: NodeNumber,
    /// What is counted.
    pub metrics: Metrics,
    node_name: String,
    ids: Ids,
    /// What clients have sent that is not whole, or is held back.
    pub(crate) unfinished: Arc<Purse>,
}

/// What all clients may leave unfinished together: any of them may begin a message, and send no more of it. A gateway has 512 MiB
/// beside the queues of port 7304; half of the rest is for topics, which have a bound of their own.
const UNFINISHED: usize = 128 << 20;

/// What became of a client's message.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It waits for a consumer.
    Done,
    /// It was dropped, as its topic says.
    Dropped,
    /// It was not taken: the client is to be told.
    Rejected(GridError),
    /// It waits for room: the client is not to be read until it is woken.
    Full,
}

impl Grid {
    /// A grid with nobody in it. `shards`: how many threads serve clients.
    #[must_use]
    pub fn new(config: &Config, node: (NodeNumber, &str), ids: impl Into<Ids>, shards: usize) -> Self {
        let (node, name) = node;
        let (clients, topics) = (Clients::new(shards), Topics::new(config));
        let metrics = Metrics::default();
        let unfinished = Arc::new(Purse::new(UNFINISHED));
        Self { clients, topics, node, metrics, node_name: name.to_owned(), ids: ids.into(), unfinished }
    }

    /// The number of this node.
    #[must_use]
    pub fn node(&self) -> NodeNumber {
        self.node
    }

    /// The next client's id.
    ///
    /// # Errors
    /// When none can be reserved.
    pub async fn issue_id(&self, now_ms: u64) -> Result<ClientId, NoIds> {
        self.ids.issue(now_ms).await
    }

    /// Other bounds from now on.
    pub fn configure(&self, config: &Config) {
        let resumed = self.topics.configure(config);
        self.resume(resumed);
    }

    /// Does what a backend asks for. Consuming needs a `session`: HTTP has none.
    ///
    /// # Errors
    /// With the code of Grid section 3.
    pub fn call(&self, permit: &Permit, session: Option<&Session>, call: Call) -> Outcome {
        let outcome = self.carry_out(permit, session, call);
        self.metrics.call(outcome.as_ref().map_or_else(GridError::code, |_| 0));
        outcome
    }

    fn carry_out(&self, permit: &Permit, session: Option<&Session>, call: Call) -> Outcome {
        permit.check(&call)?;
        let session = || session.ok_or_else(|| GridError::invalid("consuming needs a WebSocket: /ws/v1"));
        match call {
            Call::Ping => {}
            Call::Send(client, message) => self.send(client, &message)?,
            Call::Publish(channels, Message { opcode, payload }) => {
                let began = Instant::now();
                let reached = self.clients.publish(&channels, opcode, &payload);
                self.metrics.sending.observe(began.elapsed().as_secs_f64());
                self.metrics.sent(reached.sent, payload.len());
                self.metrics.unsent(Unsent::Slow, reached.slow);
                self.metrics.unsent(Unsent::TooLarge, reached.too_large);
                self.metrics.unsent(Unsent::Gone, reached.failed - reached.slow - reached.too_large);
                let elsewhere = elsewhere::publish(&channels);
                return Ok(json(&json!({"s": reached.sent + elsewhere.sent, "f": reached.failed + elsewhere.failed})));
            }
            Call::Pop(topics, window) => {
                let resumed = self.topics.pop(session()?, &topics, window)?;
                self.resume(resumed);
            }
            Call::Unpop(topics) => self.topics.unpop(session()?, topics)?,
            Call::Ack(tags) => self.settle(session()?, &tags, Settlement::Ack)?,
            Call::Nack(tags, true) => self.settle(session()?, &tags, Settlement::Again)?,
            Call::Nack(tags, false) => self.settle(session()?, &tags, Settlement::Drop)?,
            Call::Remote(client, function) => return self.apply(client, function),
        }
        Ok(json(&json!({"s": true})))
    }

    /// A backend may do something else from now on: what it consumes and may not, it does no more.
    pub fn permit(&self, session: &Session, permit: Permit) {
        session.set_permit(permit);
        let permit = session.permit();
        let not: Vec<Topic> = session.topics().into_iter().filter(|topic| !permit.may_consume(topic)).collect();
        let resumed = self.topics.leave(session, &not);
        self.resume(resumed);
    }

    /// A connection of a backend has gone.
    pub fn end_session(&self, session: &Session) {
        let resumed = self.topics.end(session);
        self.resume(resumed);
    }

    /// So many events of a topic were written to a backend.
    pub fn written(&self, session: &Session, topic: &Topic, events: u32) {
        let resumed = self.topics.written(session, topic, events);
        self.resume(resumed);
    }

    /// Puts what happened to a client into a topic.
    pub fn push(&self, client: &Client, topic: &Topic, happened: Happened<'_>, (seq, ts): (u64, u64)) -> Taken {
        let origin = Origin { node_name: &self.node_name, client: client.id, context: &client.context(), seq, ts };
        let event = Event::new(topic, origin, happened);
        // Set before, for the room may be there before the answer is.
        client.set_full(true);
        let done = self.topics.push(topic, client.id, event, client.rules.overflow());
        if done.pushed == Some(Pushed::Paused) {
            self.metrics.pushed(topic, &Pushed::Paused);
            self.resume(done.resumed);
            return Taken::Full;
        }
        client.set_full(false);
        self.resume(done.resumed);
        done.pushed.iter().for_each(|pushed| self.metrics.pushed(topic, pushed));
        match done.pushed {
            Some(Pushed::Rejected) => Taken::Rejected(GridError::RateLimited(format!("topic {topic} is full"))),
            None => Taken::Rejected(GridError::RateLimited("there are as many topics as there may be".into())),
            Some(Pushed::DroppedNewest) => Taken::Dropped,
            Some(_) => Taken::Done,
        }
    }

    fn send(&self, client: ClientId, message: &Message) -> Result<(), GridError> {
        let began = Instant::now();
        let sent = if client.node() == self.node {
            self.clients.send(client, message.opcode, &message.payload)
        } else {
            elsewhere::send(client)
        };
        self.metrics.sending.observe(began.elapsed().as_secs_f64());
        match sent {
            Ok(()) => self.metrics.sent(1, message.payload.len()),
            Err(unsent) => self.metrics.unsent(unsent, 1),
        }
        sent.map_err(|unsent| GridError::NotSent(unsent, client.to_string()))
    }

    fn settle(&self, session: &Session, tags: &[u64], settlement: Settlement) -> Result<(), GridError> {
        let resumed = self.topics.settle(session, tags, settlement)?;
        self.resume(resumed);
        Ok(())
    }

    fn apply(&self, id: ClientId, function: Function) -> Outcome {
        if id.node() != self.node {
            let unsent = elsewhere::call(id);
            return Err(GridError::CallFailed(format!("client {id}: {}", unsent.word())));
        }
        let client = self.clients.find(id);
        let client = client.ok_or_else(|| GridError::CallFailed(format!("no such client: {id}")))?;
        let failed = |e: crate::TooLarge| GridError::CallFailed(e.to_string());
        match function {
            Function::SetValue(key, value) => client.set_value(key, value).map_err(failed)?,
            Function::Set(entries) => client.set_context(entries).map_err(failed)?,
            Function::Merge(entries) => client.merge_context(entries).map_err(failed)?,
            Function::Subscribe(channels) => self.clients.subscribe(&client, &channels)?,
            Function::Unsubscribe(channels) => self.clients.unsubscribe(&client, &channels),
            Function::Close(close) => client.close(close),
            Function::Pause => client.set_paused(true),
            Function::Resume => client.set_paused(false),
            Function::Context => {
                return Ok(json(&json!({"s": true, "context": client.context()})));
            }
            Function::Channels => return Ok(json(&json!({"s": true, "channels": names(&client)}))),
            Function::Info => return Ok(self.info(&client)),
        }
        Ok(json(&json!({"s": true})))
    }

    /// What is known of a client.
    #[must_use]
    pub fn info(&self, client: &Client) -> Box<RawValue> {
        json(&json!({
            "s": true,
            "c": client.id.to_string(),
            "n": self.node.get(),
            "N": self.node_name,
            "listener": client.rules.listener.name,
            "remote": client.remote.to_string(),
            "since": client.id.issued_ms(),
            "channels": names(client),
            "waitingBytes": client.waiting_bytes(),
            "paused": client.is_paused(),
        }))
    }

    /// Lets clients be read again whose messages have found room.
    fn resume(&self, clients: Vec<ClientId>) {
        for client in clients.into_iter().filter_map(|id| self.clients.find(id)) {
            client.set_full(false);
            client.wake();
        }
    }
}

fn names(client: &Client) -> Vec<String> {
    client.channels().iter().map(ToString::to_string).collect()
}

fn json(value: &serde_json::Value) -> Box<RawValue> {
    // A value is written always: its keys are texts.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
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
            let (id, remote) =
                (self.grid.issue_id(NOW).now_or_never().unwrap().unwrap(), "10.0.0.1:1".parse().unwrap());
            let client =
                Client::new(Opened { id, shard: 0, remote, rules, deflates: false, context: Context::default() });
            self.grid.clients.open(&client);
            client
        }

        fn ask(&self, text: &str) -> Value {
            let request = Request::read(text);
            let outcome =
                request.call.and_then(|call| self.grid.call(&self.session.permit(), Some(&self.session), call));
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
        assert_eq!(bench.grid.call(&Permit::local(), None, call).unwrap_err().code(), 101);
    }
}
