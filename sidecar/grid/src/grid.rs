//! The grid's service: what a backend's call does, and what becomes of a client's message. Plain types in and out; the fronts
//! read and write (Grid sections 4 to 6).

use std::{sync::Arc, time::Instant};

use crds::Grid as Config;
use serde_json::{json, value::RawValue};

use crate::{
    Channel, ClientId, GridError, Ids, NoIds, NodeNumber, Topic, Unsent,
    backend::{Credit, Permit, Session},
    clients::{Client, Clients, Reached},
    elsewhere::{Alone, Backplane, Elsewhere},
    envelope::{Call, Event, Function, Happened, Message, Origin, Outcome},
    metrics::Metrics,
    now_ms,
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
    pub(crate) elsewhere: Elsewhere,
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
        Self::among(config, node, ids, shards, Arc::new(Alone))
    }

    /// The same, joined with others by `backplane`.
    #[must_use]
    pub fn among(
        config: &Config,
        node: (NodeNumber, &str),
        ids: impl Into<Ids>,
        shards: usize,
        backplane: Arc<dyn Backplane>,
    ) -> Self {
        let (node, name) = node;
        let (clients, topics) = (Clients::new(shards), Topics::new(config));
        clients.set_most_waiting(out_queues(config));
        let metrics = Metrics::default();
        let unfinished = Arc::new(Purse::new(UNFINISHED));
        let (node_name, elsewhere) = (name.to_owned(), Elsewhere::new(backplane));
        Self { clients, topics, node, metrics, node_name, ids: ids.into(), elsewhere, unfinished }
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
        self.clients.set_most_waiting(out_queues(config));
        let resumed = self.topics.configure(config);
        self.resume(resumed);
        for session in self.topics.enforce_disabled() {
            self.elsewhere.keeps(session.id, &session.topics());
        }
    }

    /// Does what a backend asks for. Consuming needs a `session`: HTTP has none.
    ///
    /// # Errors
    /// With the code of Grid section 3.
    pub async fn call(&self, permit: &Permit, session: Option<&Session>, call: Call) -> Outcome {
        let outcome = self.carry_out(permit, session, call).await;
        self.metrics.call(outcome.as_ref().map_or_else(GridError::code, |_| 0));
        outcome
    }

    /// Counts a request that is no call, or that is not carried out now, among the calls.
    ///
    /// # Errors
    /// What it was refused for.
    pub fn refuse(&self, e: GridError) -> Outcome {
        self.metrics.call(e.code());
        Err(e)
    }

    /// Publishes messages to the same channels, as so many calls would that come one after another. What came of each.
    pub async fn publish(&self, permit: &Permit, channels: Vec<Channel>, messages: Vec<Message>) -> Vec<Outcome> {
        let outcomes: Vec<Outcome> = match permit.check_publishing(&channels) {
            Ok(()) => self.published(channels, messages).await.into_iter().map(Ok).collect(),
            Err(e) => vec![Err(e); messages.len()],
        };
        outcomes.iter().for_each(|outcome| self.metrics.call(outcome.as_ref().map_or_else(GridError::code, |_| 0)));
        outcomes
    }

    /// Whether somebody may hear what is said in one of `channels`: a subscriber of this node, or one of another.
    #[must_use]
    pub fn is_heard(&self, channels: &[Channel]) -> bool {
        self.elsewhere.nodes() > 0 || channels.iter().any(|channel| self.clients.subscribers(channel) > 0)
    }

    /// Publishes what the node itself has to say, by nobody's leave. Whom it does not reach is counted as for a backend's publication.
    pub async fn announce(&self, channels: Vec<Channel>, text: String) {
        let message = Message { opcode: crate::wire::Opcode::Text, payload: text.into() };
        drop(self.published(channels, vec![message]).await);
    }

    async fn carry_out(&self, permit: &Permit, session: Option<&Session>, call: Call) -> Outcome {
        permit.check(&call)?;
        let session = || session.ok_or_else(|| GridError::invalid("consuming needs a WebSocket: /ws/v1"));
        match call {
            Call::Ping => {}
            Call::Send(client, message) => self.send(client, message).await?,
            Call::Publish(channels, message) => {
                return Ok(self.published(channels, vec![message]).await.pop().unwrap_or_default());
            }
            Call::Pop(topics, window) => {
                let session = session()?;
                let resumed = self.topics.pop(session, &topics, window).map_err(|not| {
                    self.resume(not.resumed);
                    not.error
                })?;
                self.elsewhere.consumes(session.id, &topics, window);
                self.resume(resumed);
            }
            Call::Unpop(topics) => {
                let session = session()?;
                self.topics.unpop(session, topics)?;
                self.elsewhere.keeps(session.id, &session.topics());
            }
            Call::Ack(tags) => self.settle(session()?, &tags, Settlement::Ack)?,
            Call::Nack(tags, true) => self.settle(session()?, &tags, Settlement::Again)?,
            Call::Nack(tags, false) => self.settle(session()?, &tags, Settlement::Drop)?,
            Call::Remote(client, function) if client.node() == self.node => return self.apply_here(client, function),
            Call::Remote(client, function) => return self.elsewhere.call(client, function).await,
        }
        Ok(json(&json!({"s": true})))
    }

    /// A backend may do something else from now on: what it consumes and may not, it does no more.
    pub fn permit(&self, session: &Session, permit: Permit) {
        session.set_permit(permit);
        let permit = session.permit();
        let not: Vec<Topic> = session.topics().into_iter().filter(|topic| !permit.may_consume(topic)).collect();
        let resumed = self.topics.leave(session, &not);
        self.elsewhere.keeps(session.id, &session.topics());
        self.resume(resumed);
    }

    /// A connection of a backend has gone.
    pub fn end_session(&self, session: &Session) {
        let resumed = self.topics.end(session);
        self.elsewhere.gone(session.id);
        self.resume(resumed);
    }

    /// So many events were written to a backend.
    pub fn written(&self, session: &Session, credit: &Credit, events: u32) {
        match credit.node {
            Some(node) => self.elsewhere.written(node, session.id, &credit.topic, events),
            None => self.resume(self.topics.written(session, &credit.topic, events)),
        }
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
        // Where there are too many topics for its own it is rejected, too.
        self.metrics.pushed(topic, done.pushed.as_ref().unwrap_or(&Pushed::Rejected));
        match done.pushed {
            Some(Pushed::Rejected) => Taken::Rejected(GridError::RateLimited(format!("topic {topic} is full"))),
            None => Taken::Rejected(GridError::RateLimited("there are as many topics as there may be".into())),
            Some(Pushed::DroppedNewest) => Taken::Dropped,
            Some(_) => Taken::Done,
        }
    }

    /// Publishes what is permitted; the `r` of each message's answer.
    async fn published(&self, channels: Vec<Channel>, messages: Vec<Message>) -> Vec<Box<RawValue>> {
        let here = self.publish_here(&channels, &messages);
        let elsewhere = self.elsewhere.publish(channels, messages).await;
        let each = here.into_iter().zip(elsewhere).map(|(here, elsewhere)| here.and(elsewhere));
        each.map(|reached| json(&json!({"s": reached.sent, "f": reached.failed}))).collect()
    }

    async fn send(&self, client: ClientId, message: Message) -> Result<(), GridError> {
        let sent = if client.node() == self.node {
            self.send_here(client, &message)
        } else {
            let began = Instant::now();
            let sent = self.elsewhere.send(client, message).await;
            self.metrics.forwarding.observe(began.elapsed().as_secs_f64());
            // Of the other reasons the node keeps the count that has the client.
            if sent == Err(Unsent::Unreachable) {
                self.metrics.unsent(Unsent::Unreachable, 1);
            }
            sent
        };
        sent.map_err(|unsent| GridError::NotSent(unsent, client.to_string()))
    }

    /// Sends to a client of this node.
    pub(crate) fn send_here(&self, client: ClientId, message: &Message) -> Result<(), Unsent> {
        let began = Instant::now();
        let sent = self.clients.send(client, message.opcode, &message.payload);
        self.metrics.sending.observe(began.elapsed().as_secs_f64());
        match sent {
            Ok(()) => self.metrics.sent(1, message.payload.len()),
            Err(unsent) => self.metrics.unsent(unsent, 1),
        }
        sent
    }

    /// Publishes to the subscribers at this node.
    pub(crate) fn publish_here(&self, channels: &[Channel], messages: &[Message]) -> Vec<Reached> {
        let began = Instant::now();
        let all = self.clients.publish(channels, messages);
        let took = began.elapsed().as_secs_f64();
        for (message, reached) in messages.iter().zip(&all) {
            self.metrics.sending.observe(took);
            self.metrics.sent(reached.sent, message.payload.len());
            self.metrics.unsent(Unsent::Slow, reached.slow);
            self.metrics.unsent(Unsent::TooLarge, reached.too_large);
            self.metrics.unsent(Unsent::Gone, reached.failed - reached.slow - reached.too_large);
        }
        all
    }

    fn settle(&self, session: &Session, tags: &[u64], settlement: Settlement) -> Result<(), GridError> {
        let settled = self.topics.settle(session, tags, settlement)?;
        self.elsewhere.settled(session.id, &settled.elsewhere, settlement);
        self.resume(settled.resumed);
        Ok(())
    }

    /// Calls a function of a client of this node.
    pub(crate) fn apply_here(&self, id: ClientId, function: Function) -> Outcome {
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
            // Ids may be ahead of the clock, for they never come twice.
            "since": client.id.issued_ms().min(now_ms()),
            "channels": names(client),
            "waitingBytes": client.waiting_bytes(),
            "paused": client.is_paused(),
        }))
    }

    /// Lets clients be read again whose messages have found room.
    pub(crate) fn resume(&self, clients: Vec<ClientId>) {
        for client in clients.into_iter().filter_map(|id| self.clients.find(id)) {
            client.set_full(false);
            client.wake();
        }
    }
}

fn out_queues(config: &Config) -> usize {
    usize::try_from(config.out_queues_bytes.bytes()).unwrap_or(usize::MAX)
}

fn names(client: &Client) -> Vec<String> {
    client.channels().iter().map(ToString::to_string).collect()
}

fn json(value: &serde_json::Value) -> Box<RawValue> {
    // A value is written always: its keys are texts.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
