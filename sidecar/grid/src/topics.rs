//! All topics of a node, and the way from a client's message to a consumer.
//!
//! Topics are made by use, up to a bound; one that nobody uses gives way to a new one. Locks are taken in this order: the table,
//! one topic, the sessions, one session.

mod copied;

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crds::{Grid as Config, Overflow, TopicDefaults, TopicOverride};
use parking_lot::{Mutex, RwLock};

use crate::{
    ClientId, GridError, NodeNumber, Topic,
    backend::{Delivery, Session},
    copies::Copies,
    elsewhere::Far,
    envelope::{Event, Window},
    purse::Purse,
    queue::{Bounds, ConsumerId, Pushed, Queue},
};

/// All topics.
#[derive(Debug)]
pub struct Topics {
    table: Mutex<HashMap<Topic, Arc<Mutex<Queue>>>>,
    sessions: RwLock<HashMap<ConsumerId, Arc<Session>>>,
    settings: RwLock<Settings>,
    /// What they hold together.
    purse: Purse,
    /// Topics that were made: each has tags of its own, behind those of messages of other nodes.
    made: AtomicU64,
    last_session: AtomicU64,
    /// Before the first tag of all: another process gives out others, so that a tag of before is none of a message here.
    first_tag: u64,
    last_tag_elsewhere: AtomicU64,
    /// Where copies of what is consumed in ack mode are kept, if anywhere.
    copies: OnceLock<Arc<dyn Copies>>,
}

#[derive(Clone, Debug, Default)]
struct Settings {
    defaults: TopicDefaults,
    overrides: Vec<TopicOverride>,
    /// The names that the configuration has: these topics have their place, whoever makes up others.
    named: HashSet<String>,
}

/// What a topic holds in bytes at most: end users fill it, and a node has to bear several that are full. Whoever wants more messages
/// of it than fit at a KiB each has them.
const BYTES: usize = 64 << 20;
const BYTES_OF_MESSAGE: usize = 1 << 10;
/// Topics that may be full at the same time, if they hold what the largest of them may.
const FULL: usize = 4;
/// Why a topic that the configuration disables cannot be consumed.
const DISABLED: &str = "it is disabled";
/// Tags of a topic: more than it can give out in a thousand years.
const TAGS_OF_TOPIC: u64 = 1 << 40;

/// A topic and its queue.
type Named = (Topic, Arc<Mutex<Queue>>);

/// What one topic holds, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRow {
    /// The topic.
    pub topic: Topic,
    /// Messages that wait.
    pub depth: usize,
    /// Messages that are not acknowledged.
    pub unacked: usize,
    /// Connections that consume.
    pub consumers: usize,
}

/// What became of a message, and whom to read again.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// What became of it; `None`: there are too many topics for its own.
    pub pushed: Option<Pushed>,
    /// Clients that may be read again.
    pub resumed: Vec<ClientId>,
}

/// Why topics are not consumed, and whom to read again all the same: some may have given messages out before they were refused.
#[derive(Debug, PartialEq, Eq)]
pub struct NotPopped {
    /// Why.
    pub error: GridError,
    /// Clients that may be read again.
    pub resumed: Vec<ClientId>,
}

impl From<GridError> for NotPopped {
    fn from(error: GridError) -> Self {
        Self { error, resumed: Vec::new() }
    }
}

impl Settings {
    fn of_config(config: &Config) -> Self {
        let of_listeners = config.effective_listeners().into_iter().flat_map(|listener| {
            let rules = listener.rules.into_iter().map(|rule| rule.topic);
            rules.chain([listener.events.handshake, listener.events.close])
        });
        let (defaults, overrides) = (config.topics.clone(), config.topic_overrides.clone());
        // A listener without rules has one topic.
        let named = of_listeners.chain(overrides.iter().map(|own| own.name.clone())).chain(["default".to_owned()]);
        let named = named.collect();
        Self { defaults, overrides, named }
    }

    fn of(&self, topic: &Topic) -> Option<&TopicOverride> {
        self.overrides.iter().find(|known| known.name == topic.as_str())
    }

    /// What all topics hold together at most.
    fn most_bytes(&self) -> usize {
        let overrides = self.overrides.iter().filter_map(|own| own.messages);
        let messages = overrides.chain([self.defaults.messages]).max().unwrap_or_default();
        bytes_of(usize::try_from(messages).unwrap_or(usize::MAX)).saturating_mul(FULL)
    }

    fn bounds(&self, topic: &Topic) -> Bounds {
        let own = self.of(topic);
        let messages = own.and_then(|own| own.messages).unwrap_or(self.defaults.messages);
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        Bounds { messages, bytes: bytes_of(messages), overflow: self.overflow(topic) }
    }

    fn overflow(&self, topic: &Topic) -> Overflow {
        self.of(topic).and_then(|own| own.overflow).unwrap_or(self.defaults.overflow)
    }

    fn disables(&self, topic: &Topic) -> bool {
        self.of(topic).is_some_and(|own| own.disabled)
    }
}

fn not_consumed(topic: &Topic, reason: &'static str) -> GridError {
    GridError::NotConsumed { topic: topic.to_string(), reason }
}

/// What a topic of so many messages holds.
fn bytes_of(messages: usize) -> usize {
    BYTES.max(messages.saturating_mul(BYTES_OF_MESSAGE))
}

impl Topics {
    /// Topics with the bounds of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        // Random, and below the tags of topics.
        let first_tag = RandomState::new().hash_one(()) % TAGS_OF_TOPIC;
        let topics = Self {
            table: Mutex::default(),
            sessions: RwLock::default(),
            settings: RwLock::default(),
            purse: Purse::new(0),
            made: AtomicU64::new(1),
            last_session: AtomicU64::new(0),
            first_tag,
            last_tag_elsewhere: AtomicU64::new(first_tag),
            copies: OnceLock::new(),
        };
        topics.configure(config);
        topics
    }

    /// Other bounds from now on. Answers the clients that may be read again.
    pub fn configure(&self, config: &Config) -> Vec<ClientId> {
        let settings = Settings::of_config(config);
        self.purse.set_most(settings.most_bytes());
        *self.settings.write() = settings.clone();
        let all: Vec<_> = self.table.lock().iter().map(|(topic, queue)| (topic.clone(), Arc::clone(queue))).collect();
        let mut resumed = Vec::new();
        for (topic, queue) in all {
            let mut queue = queue.lock();
            queue.set_bounds(settings.bounds(&topic));
            self.give(&topic, &mut queue);
            resumed.extend(queue.resumed());
        }
        resumed
    }

    /// What becomes of a message that finds the topic full.
    pub(crate) fn overflow(&self, topic: &Topic) -> Overflow {
        self.settings.read().overflow(topic)
    }

    /// A connection of a backend has come.
    pub fn open(&self, permit: crate::backend::Permit) -> Arc<Session> {
        self.open_as(|id| Session::new(id, permit))
    }

    /// A consumer of another node consumes here, too.
    pub(crate) fn open_far(&self, far: Far) -> Arc<Session> {
        self.open_as(|id| Session::far(id, far))
    }

    fn open_as(&self, make: impl FnOnce(ConsumerId) -> Arc<Session>) -> Arc<Session> {
        let id = ConsumerId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        let session = make(id);
        self.sessions.write().insert(id, Arc::clone(&session));
        session
    }

    /// The connection of that name.
    pub(crate) fn session(&self, id: ConsumerId) -> Option<Arc<Session>> {
        self.sessions.read().get(&id).cloned()
    }

    /// By which a message of another node is acknowledged here.
    pub(crate) fn tag(&self) -> u64 {
        self.last_tag_elsewhere.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A connection of a backend has gone: what it has not acknowledged goes to others. It may also have a place in topics that it
    /// consumes no more, for what was on its way then.
    pub fn end(&self, session: &Session) -> Vec<ClientId> {
        self.sessions.write().remove(&session.id);
        self.each(&self.all(), |queue| queue.lose(session.id))
    }

    /// A connection may consume some topics no more: what it has not acknowledged goes to others, and is not its own to settle.
    pub fn leave(&self, session: &Session, topics: &[Topic]) -> Vec<ClientId> {
        session.consumes_no_more(topics);
        session.forgets(topics);
        self.each(topics, |queue| queue.lose(session.id))
    }

    /// Puts a client's message into a topic.
    pub fn push(&self, topic: &Topic, client: ClientId, event: Event, overflow: Option<Overflow>) -> Done {
        let Some(queue) = self.of(topic) else { return Done { pushed: None, resumed: Vec::new() } };
        if !self.purse.has_room(event.size()) {
            return Done { pushed: Some(Pushed::Rejected), resumed: Vec::new() };
        }
        let mut queue = queue.lock();
        let pushed = queue.push(client, event, overflow);
        self.give(topic, &mut queue);
        Done { pushed: Some(pushed), resumed: queue.resumed() }
    }

    /// Lets a connection consume topics: all of them or none (G-17).
    ///
    /// # Errors
    /// 202 where it consumes one already, 201 where one cannot be consumed.
    pub fn pop(&self, session: &Session, topics: &[Topic], window: Window) -> Result<Vec<ClientId>, NotPopped> {
        let queues = self.wanted(session, topics)?;
        self.consume(session, queues, window)
    }

    /// The queues of topics that a connection wants to consume, each once.
    fn wanted(&self, session: &Session, topics: &[Topic]) -> Result<Vec<Named>, GridError> {
        let mut wanted: Vec<&Topic> = Vec::new();
        for topic in topics {
            if !wanted.contains(&topic) {
                wanted.push(topic);
            }
        }
        if let Some(known) = session.topics().iter().find(|known| wanted.contains(known)) {
            return Err(GridError::AlreadyConsumed(known.to_string()));
        }
        let mut queues = Vec::new();
        for topic in wanted {
            if self.settings.read().disables(topic) {
                return Err(not_consumed(topic, DISABLED));
            }
            let many = || not_consumed(topic, "there are as many topics as there may be");
            queues.push((topic.clone(), self.of(topic).ok_or_else(many)?));
        }
        Ok(queues)
    }

    fn consume(&self, session: &Session, queues: Vec<Named>, window: Window) -> Result<Vec<ClientId>, NotPopped> {
        let topics: Vec<Topic> = queues.iter().map(|(topic, _)| topic.clone()).collect();
        let mut resumed = Vec::new();
        for (topic, queue) in queues {
            session.consumes(std::slice::from_ref(&topic));
            let mut queue = queue.lock();
            if let Err(error) = queue.attach((session.id, session.whence()), window, topic.as_str()) {
                return Err(NotPopped { error, resumed });
            }
            self.give(&topic, &mut queue);
            resumed.extend(queue.resumed());
        }
        // The settings may be others since they were asked, and whoever changed them did not see this consumer.
        if let Some(topic) = self.cease_disabled(session).iter().find(|topic| topics.contains(topic)) {
            self.cease(session, &topics);
            return Err(NotPopped { error: not_consumed(topic, DISABLED), resumed });
        }
        Ok(resumed)
    }

    /// Nobody consumes a disabled topic any more; what is on its way is finished. Answers the connections that did.
    pub(crate) fn enforce_disabled(&self) -> Vec<Arc<Session>> {
        let all: Vec<_> = self.sessions.read().values().cloned().collect();
        all.into_iter().filter(|session| !self.cease_disabled(session).is_empty()).collect()
    }

    /// Which of its topics a connection consumes no more.
    fn cease_disabled(&self, session: &Session) -> Vec<Topic> {
        let consumed = session.topics();
        let ended: Vec<Topic> = {
            let settings = self.settings.read();
            consumed.into_iter().filter(|topic| settings.disables(topic)).collect()
        };
        self.cease(session, &ended);
        ended
    }

    /// A connection consumes some topics no more, or all (G-16).
    ///
    /// # Errors
    /// 203 where it consumed none of them, and the configuration is strict about that.
    pub fn unpop(&self, session: &Session, topics: Option<Vec<Topic>>) -> Result<(), GridError> {
        let consumed = session.topics();
        let ended: Vec<Topic> = match topics {
            None => consumed,
            Some(named) => consumed.into_iter().filter(|topic| named.contains(topic)).collect(),
        };
        if ended.is_empty() && self.settings.read().defaults.strict_unpop {
            return Err(GridError::NotConsuming);
        }
        self.cease(session, &ended);
        Ok(())
    }

    /// A connection consumes some topics no more; what is on its way to it is finished.
    pub(crate) fn cease(&self, session: &Session, topics: &[Topic]) {
        self.each(topics, |queue| {
            queue.detach(session.id);
        });
        session.consumes_no_more(topics);
    }

    /// Deliveries were processed: all of them, or none where one is unknown (G-15).
    ///
    /// # Errors
    /// 504 with the first unknown tag.
    pub fn settle(&self, session: &Session, tags: &[u64], settlement: Settlement) -> Result<Settled, GridError> {
        let named = |tag: &u64| session.holds(*tag).map(|held| (*tag, held)).ok_or(GridError::UnknownTag(*tag));
        let held = tags.iter().map(named).collect::<Result<Vec<_>, _>>()?;
        let mut settled = Settled::default();
        for (tag, delivery) in held {
            session.settled(tag);
            let topic = match delivery {
                Delivery::Here(topic) => topic,
                Delivery::At(node, theirs) => {
                    settled.elsewhere.push((node, theirs));
                    continue;
                }
            };
            settled.resumed.extend(self.each(&[topic], |queue| {
                match settlement {
                    Settlement::Ack => queue.ack(session.id, tag),
                    Settlement::Again => queue.nack(session.id, tag, true),
                    Settlement::Drop => queue.nack(session.id, tag, false),
                };
            }));
        }
        Ok(settled)
    }

    /// So many events of a topic were written to a consumer.
    pub fn written(&self, session: &Session, topic: &Topic, events: u32) -> Vec<ClientId> {
        self.each(std::slice::from_ref(topic), |queue| queue.written(session.id, events))
    }

    /// All topics, in the order of their names.
    #[must_use]
    pub fn rows(&self) -> Vec<TopicRow> {
        let all: Vec<_> = self.table.lock().iter().map(|(topic, queue)| (topic.clone(), Arc::clone(queue))).collect();
        let row = |(topic, queue): Named| {
            let queue = queue.lock();
            TopicRow { topic, depth: queue.depth(), unacked: queue.unacked(), consumers: queue.consumers() }
        };
        let mut rows: Vec<TopicRow> = all.into_iter().map(row).collect();
        rows.sort_unstable_by(|a, b| a.topic.as_str().cmp(b.topic.as_str()));
        rows
    }

    /// Connections of backends.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.read().len()
    }

    /// The queue of a topic; `None` where there are too many for a new one.
    fn of(&self, topic: &Topic) -> Option<Arc<Mutex<Queue>>> {
        let mut table = self.table.lock();
        if let Some(queue) = table.get(topic) {
            return Some(Arc::clone(queue));
        }
        let settings = self.settings.read();
        let most = usize::from(settings.defaults.count);
        let is_named = |topic: &Topic| settings.named.contains(topic.as_str());
        if !is_named(topic) && table.len() >= most {
            table.retain(|_, queue| Arc::strong_count(queue) > 1 || !queue.lock().is_unused());
            if table.keys().filter(|topic| !is_named(topic)).count() >= most {
                return None;
            }
        }
        let tags = self.first_tag + self.made.fetch_add(1, Ordering::Relaxed) * TAGS_OF_TOPIC;
        let queue = Arc::new(Mutex::new(self.make(settings.bounds(topic), tags)));
        table.insert(topic.clone(), Arc::clone(&queue));
        Some(queue)
    }

    fn make(&self, bounds: Bounds, tags: u64) -> Queue {
        let queue = Queue::new(bounds, tags);
        if self.copies.get().is_some() { queue.copied() } else { queue }
    }

    fn all(&self) -> Vec<Topic> {
        self.table.lock().keys().cloned().collect()
    }

    /// Changes topics that are there, and gives out what that makes room for.
    fn each(&self, topics: &[Topic], mut change: impl FnMut(&mut Queue)) -> Vec<ClientId> {
        let mut resumed = Vec::new();
        for topic in topics {
            let Some(queue) = self.table.lock().get(topic).cloned() else { continue };
            let mut queue = queue.lock();
            change(&mut queue);
            self.give(topic, &mut queue);
            resumed.extend(queue.resumed());
        }
        resumed
    }

    fn give(&self, topic: &Topic, queue: &mut Queue) {
        let sessions = self.sessions.read();
        while let Some(given) = queue.give() {
            match sessions.get(&given.consumer) {
                Some(session) => session.deliver(topic, &given),
                // It has gone, and is about to be taken out of this topic: what it would have got goes back there and then.
                None => queue.lose(given.consumer),
            }
        }
        self.copy_wanted(topic, queue);
        let (before, now) = queue.count();
        self.purse.count(before, now);
    }
}

/// What became of acknowledgements.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Clients that may be read again.
    pub resumed: Vec<ClientId>,
    /// Those of messages of other nodes, by their tags there.
    pub elsewhere: Vec<(NodeNumber, u64)>,
}

/// How a delivery was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was processed.
    Ack,
    /// It was not: it is given out again.
    Again,
    /// It was not, and is dropped.
    Drop,
}

#[cfg(test)]
mod tests;
