//! Two grids in one process, joined in memory: what crosses nodes needs no network to be shown.

use std::{
    collections::HashMap,
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use futures::future::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::{
    EPOCH_MS, Grid, Mint, Topic,
    backend::{Permit, Session},
    clients::{Client, Opened},
    context::Context,
    envelope::{Happened, Request, answer},
    rules::Rules,
    wire::{Data, Opcode, Part},
};

const NOW: u64 = EPOCH_MS + 5000;

/// Another node, and the way there for notices, with their sender.
type Other = (Weak<Grid>, UnboundedSender<(NodeNumber, Notice)>);

/// One node's end of what joins two.
#[derive(Debug, Default)]
struct Joined {
    node: NodeNumber,
    others: Mutex<HashMap<NodeNumber, Other>>,
    /// Whoever is asked does not answer, and hears nothing.
    is_cut: AtomicBool,
}

impl Backplane for Joined {
    fn nodes(&self) -> Vec<NodeNumber> {
        self.others.lock().keys().copied().collect()
    }

    fn ask(&self, node: NodeNumber, question: Question) -> BoxFuture<'static, Option<Answer>> {
        let grid = self.others.lock().get(&node).and_then(|(grid, _)| grid.upgrade());
        let is_cut = self.is_cut.load(Ordering::Relaxed);
        async move {
            if is_cut {
                return std::future::pending().await;
            }
            Some(grid?.asked(question))
        }
        .boxed()
    }

    fn tell(&self, node: NodeNumber, notice: Notice) {
        if let Some((_, tells)) = self.others.lock().get(&node).filter(|_| !self.is_cut.load(Ordering::Relaxed)) {
            tells.send((self.node, notice)).unwrap();
        }
    }
}

/// A node, with a backend at it.
struct Node {
    grid: Arc<Grid>,
    joined: Arc<Joined>,
    session: Arc<Session>,
}

impl Node {
    fn new(number: u16) -> Self {
        let node = NodeNumber::new(number).unwrap();
        let joined = Arc::new(Joined { node, ..Joined::default() });
        let mut mint = Mint::new(node, NOW);
        mint.reserve(NOW + 1000);
        let name = format!("grid-{number}");
        let backplane = Arc::clone(&joined) as Arc<dyn Backplane>;
        let grid = Arc::new(Grid::among(&crds::Grid::default(), (node, &name), mint, 2, backplane));
        let session = grid.topics.open(Permit::local());
        Self { grid, joined, session }
    }

    fn number(&self) -> NodeNumber {
        self.grid.node()
    }

    /// What this one tells `other` arrives there, in order.
    fn knows(&self, other: &Self) {
        let (tells, mut told) = unbounded_channel();
        self.joined.others.lock().insert(other.number(), (Arc::downgrade(&other.grid), tells));
        let grid = Arc::clone(&other.grid);
        tokio::spawn(async move {
            while let Some((from, notice)) = told.recv().await {
                grid.told(from, notice);
            }
        });
    }

    fn client(&self) -> Arc<Client> {
        let listener = json!({"name": "x", "limits": {"messageBytes": "1Ki"}});
        let rules = Arc::new(Rules::compile(&serde_json::from_value(listener).unwrap()).unwrap());
        let id = self.grid.issue_id(NOW).now_or_never().unwrap().unwrap();
        let remote = "10.0.0.1:1".parse().unwrap();
        let client = Client::new(Opened { id, shard: 0, remote, rules, deflates: false, context: Context::default() });
        self.grid.clients.open(&client);
        client
    }

    async fn asks_as(&self, session: &Arc<Session>, m: &str, p: Value) -> Value {
        let request = Request::read(&json!({"m": m, "p": p, "i": 1}).to_string());
        let outcome = self.grid.call(&session.permit(), Some(session), request.call.unwrap()).await;
        serde_json::from_str(&answer(&outcome, request.id.as_ref())).unwrap()
    }

    async fn asks(&self, m: &str, p: Value) -> Value {
        self.asks_as(&self.session, m, p).await
    }

    /// A client of this node says something.
    fn hears(&self, client: &Client, text: &str) {
        let part = Part { opcode: Opcode::Text, data: Data::Text(text.into()), fin: true };
        self.grid.push(client, &Topic::new("t").unwrap(), Happened::Message(&part), (1, NOW));
    }

    fn depth(&self) -> (usize, usize) {
        self.grid
            .topics
            .rows()
            .iter()
            .find(|row| row.topic.as_str() == "t")
            .map_or((0, 0), |row| (row.depth, row.unacked))
    }
}

async fn pair() -> [Node; 2] {
    let [one, two] = [Node::new(0), Node::new(1)];
    one.knows(&two);
    two.knows(&one);
    [one, two]
}

/// Lets everything that is told arrive.
async fn settles() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// What waits for a backend: the text of each event, its tag, and whether it is a repeat. It has been written then.
fn written(node: &Node, session: &Session) -> Vec<(String, Option<u64>, bool)> {
    let mut events = Vec::new();
    for outgoing in session.take(Waker::noop()) {
        let head = if outgoing.frame[1] < 126 { 2 } else { 4 };
        let event: Value = serde_json::from_slice(&outgoing.frame[head..]).unwrap();
        let p = &event["p"];
        let text = p["d"]["frame"]["data"].as_str().unwrap().to_owned();
        events.push((text, p["k"].as_u64(), p["redelivered"].as_bool().unwrap_or_default()));
        outgoing.credit.iter().for_each(|credit| node.grid.written(session, credit, 1));
    }
    events
}

fn texts(events: &[(String, Option<u64>, bool)]) -> Vec<&str> {
    events.iter().map(|(text, ..)| text.as_str()).collect()
}

const CONSUME: &str = "queue.pop";

#[tokio::test(start_paused = true)]
async fn clients_of_another_node_are_sent_to_and_called_and_one_that_is_silent_cannot_be_reached() {
    let [one, two] = pair().await;
    let client = two.client();
    let c = client.id.to_string();
    assert_eq!(one.asks("mesh.send", json!({"c": c, "d": "hello"})).await["r"], json!({"s": true}));
    assert_eq!(client.take(Waker::noop()).unwrap().frames.iter().next().unwrap()[2..], *b"hello");
    let word = async |p: Value| one.asks("mesh.send", p).await["E"]["k"].clone();
    assert_eq!(word(json!({"c": c, "d": "x".repeat(1025)})).await, "too_large");
    assert_eq!(word(json!({"c": "4097", "d": "x"})).await, "gone");
    assert_eq!(word(json!({"c": "8193", "d": "x"})).await, "unreachable", "there is no node 2");
    let call = json!({"c": c, "f": "set_context_value", "a": ["user_id", 7]});
    assert_eq!(one.asks("conn.call", call).await["r"], json!({"s": true}));
    let context = one.asks("conn.call", json!({"c": c, "f": "get_context"})).await;
    assert_eq!(context["r"]["context"], json!({"user_id": 7}));
    let gone = json!({"c": "4097", "f": "info"});
    assert_eq!(one.asks("conn.call", gone).await["E"]["c"], 301);
    one.joined.is_cut.store(true, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    assert_eq!(word(json!({"c": c, "d": "x"})).await, "unreachable");
    assert_eq!(one.asks("conn.call", json!({"c": c, "f": "info"})).await["E"]["c"], 301);
    assert_eq!(began.elapsed(), 2 * PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_publication_reaches_all_nodes_and_a_silent_one_counts_as_it_was_last_known() {
    let [one, two] = pair().await;
    let clients = [one.client(), two.client(), two.client()];
    for (node, client) in [&one, &two, &two].into_iter().zip(&clients) {
        node.grid.clients.subscribe(client, &[Channel::new("room").unwrap()]).unwrap();
    }
    let publish = json!({"c": "room", "d": "all"});
    assert_eq!(one.asks("mesh.publish", publish.clone()).await["r"], json!({"s": 3, "f": 0}));
    assert_eq!(one.asks("mesh.publish", json!({"c": "nobody", "d": "x"})).await["r"], json!({"s": 0, "f": 0}));
    one.joined.is_cut.store(true, Ordering::Relaxed);
    assert_eq!(one.asks("mesh.publish", publish.clone()).await["r"], json!({"s": 1, "f": 2}));
    one.joined.others.lock().clear();
    one.grid.left(two.number());
    assert_eq!(one.asks("mesh.publish", publish).await["r"], json!({"s": 1, "f": 0}), "it is no more");
}

#[tokio::test]
async fn a_consumer_gets_what_came_to_another_node_once_and_within_its_window() {
    let [one, two] = pair().await;
    let client = one.client();
    two.asks(CONSUME, json!({"t": ["t"], "w": 2})).await;
    settles().await;
    for text in ["1", "2", "3"] {
        one.hears(&client, text);
    }
    settles().await;
    assert_eq!(one.depth(), (1, 0), "the window is full");
    assert_eq!(texts(&written(&two, &two.session)), ["1", "2"]);
    settles().await;
    assert_eq!(texts(&written(&two, &two.session)), ["3"]);
    assert_eq!(one.depth(), (0, 0));
    // Whoever is connected where a message comes is preferred, as long as he has room.
    one.asks(CONSUME, json!({"t": ["t"], "w": 1})).await;
    one.hears(&client, "4");
    one.hears(&client, "5");
    settles().await;
    assert_eq!(texts(&written(&one, &one.session)), ["4"]);
    assert_eq!(texts(&written(&two, &two.session)), ["5"]);
    two.asks("queue.unpop", json!({})).await;
    settles().await;
    one.hears(&client, "6");
    one.hears(&client, "7");
    settles().await;
    assert_eq!((texts(&written(&one, &one.session)), written(&two, &two.session).len()), (vec!["6"], 0));
}

#[tokio::test]
async fn what_a_consumer_of_another_node_holds_is_acknowledged_there_and_comes_back_when_it_goes() {
    let [one, two] = pair().await;
    let client = one.client();
    two.asks(CONSUME, json!({"t": ["t"], "a": true})).await;
    settles().await;
    for text in ["1", "2", "3"] {
        one.hears(&client, text);
    }
    settles().await;
    let got = written(&two, &two.session);
    let tags: Vec<u64> = got.iter().map(|(_, tag, _)| tag.unwrap()).collect();
    assert_eq!((texts(&got), one.depth()), (vec!["1", "2", "3"], (0, 3)));
    assert_eq!(two.asks("queue.ack", json!({"k": tags[0]})).await["r"], json!({"s": true}));
    assert_eq!(two.asks("queue.ack", json!({"k": tags[0]})).await["E"]["c"], 504, "twice");
    two.asks("queue.nack", json!({"k": tags[1]})).await;
    settles().await;
    let again = written(&two, &two.session);
    assert_eq!(again.iter().map(|(text, _, again)| (text.as_str(), *again)).collect::<Vec<_>>(), [("2", true)]);
    two.grid.end_session(&two.session);
    settles().await;
    assert_eq!(one.depth(), (2, 0), "what it held is back");
    one.asks(CONSUME, json!({"t": ["t"], "a": true})).await;
    assert_eq!(texts(&written(&one, &one.session)), ["2", "3"]);
}

#[tokio::test]
async fn what_a_node_held_goes_to_others_when_it_is_no_more_and_who_comes_later_is_told_who_consumes() {
    let [one, two] = [Node::new(0), Node::new(1)];
    two.asks(CONSUME, json!({"t": ["t"], "a": true})).await;
    one.knows(&two);
    two.knows(&one);
    two.grid.joined(one.number());
    settles().await;
    let client = one.client();
    one.hears(&client, "1");
    settles().await;
    assert_eq!((texts(&written(&two, &two.session)), one.depth()), (vec!["1"], (0, 1)));
    one.grid.left(two.number());
    assert_eq!(one.depth(), (1, 0));
    // It comes again: it begins anew, and its old acknowledgements are of nothing.
    two.grid.joined(one.number());
    settles().await;
    let again = written(&two, &two.session);
    assert_eq!((again[0].0.as_str(), again[0].2), ("1", true));
    two.asks("queue.ack", json!({"k": again[0].1})).await;
    settles().await;
    assert_eq!(one.depth(), (0, 0));
}

#[tokio::test]
async fn a_message_for_a_consumer_that_has_just_gone_comes_back() {
    let [one, two] = pair().await;
    let client = one.client();
    two.asks(CONSUME, json!({"t": ["t"], "a": true})).await;
    settles().await;
    two.joined.is_cut.store(true, Ordering::Relaxed);
    two.grid.end_session(&two.session);
    two.joined.is_cut.store(false, Ordering::Relaxed);
    one.hears(&client, "1");
    settles().await;
    assert_eq!(one.depth(), (1, 0), "the node said that nobody is there");
}
