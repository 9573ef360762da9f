//! One topic: the messages that wait, and who consumes them (G-13 to G-17).
//!
//! A pure structure: no lock, no task, no clock. Whoever changed it calls [`Queue::give`] until it answers nothing, and carries
//! out what it answers.
//!
//! Consumers compete: each message goes to one of them, in turn, as long as its window has room. In ack mode a message stays
//! here until it is acknowledged, and goes back to its place when its consumer is lost.

mod consumers;
mod copies;

use std::collections::{BTreeMap, VecDeque};

use crds::Overflow;

use self::{consumers::Consumers, copies::Copy};
use crate::{
    ClientId, GridError,
    copies::Wanted,
    envelope::{Event, Window},
};

/// A connection of a backend that consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u64);

/// Where a consumer is connected: whoever is here is preferred to those of other nodes (G-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// To this node.
    Here,
    /// To another one.
    Elsewhere,
}

/// What a topic may hold, and what happens beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages that wait.
    pub messages: usize,
    /// Their bytes, and those of messages that are not written to their consumer or not acknowledged; the last one may go beyond.
    /// As many may wait for room.
    pub bytes: usize,
    /// What happens to one more.
    pub overflow: Overflow,
}

/// A message that waits for room takes memory beside its bytes, and its client may have gone.
const EACH: usize = 256;

/// One topic.
#[derive(Debug)]
pub struct Queue {
    bounds: Bounds,
    ready: VecDeque<Held>,
    /// Messages of clients that are not read until these have found room, in order of arrival.
    waiting: VecDeque<(ClientId, Held)>,
    /// Of these, with what each takes beside.
    waiting_bytes: usize,
    unacked: BTreeMap<u64, (ConsumerId, Held)>,
    /// Of what is ready, on its way or not acknowledged.
    bytes: usize,
    /// Of both: what the node was told of.
    counted: usize,
    consumers: Consumers,
    /// Whether copies are asked for.
    is_copied: bool,
    /// Whether it was consumed in ack mode last: it is still while its consumer starts anew.
    is_acknowledged: bool,
    wanted: Vec<Wanted>,
    /// Its tags, and the names of its copies, begin behind this.
    tags: u64,
    last_place: u64,
    last_tag: u64,
    resumed: Vec<ClientId>,
}

/// A message and its place in the topic.
#[derive(Debug)]
struct Held {
    place: u64,
    event: Event,
    redelivered: bool,
    copy: Copy,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for a consumer.
    Held,
    /// It waits, and the oldest one was dropped for it.
    DroppedOldest,
    /// It was dropped.
    DroppedNewest,
    /// It was not taken; its client is to be told. So is one that should wait for room, where too many do already.
    Rejected,
    /// It waits for room; its client is not read until [`Queue::resumed`] names it.
    Paused,
}

/// A message for a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The consumer.
    pub consumer: ConsumerId,
    /// What it acknowledges, in ack mode.
    pub tag: Option<u64>,
    /// The message.
    pub event: Event,
    /// Whether it was given out before.
    pub redelivered: bool,
}

impl Queue {
    /// An empty topic. Its tags begin behind `tags`, so that no two topics of a node have the same ones.
    #[must_use]
    pub fn new(bounds: Bounds, tags: u64) -> Self {
        Self {
            bounds,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unacked: BTreeMap::new(),
            bytes: 0,
            counted: 0,
            consumers: Consumers::default(),
            is_copied: false,
            is_acknowledged: false,
            wanted: Vec::new(),
            tags,
            last_place: 0,
            last_tag: tags,
            resumed: Vec::new(),
        }
    }

    /// The same; copies are asked for of what is consumed in ack mode.
    #[must_use]
    pub fn copied(mut self) -> Self {
        self.is_copied = true;
        self
    }

    /// Other bounds from now on. What is held stays.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.let_in();
    }

    /// Takes a message of `client` in. `overflow` is its listener's word, where it has one.
    pub fn push(&mut self, client: ClientId, event: Event, overflow: Option<Overflow>) -> Pushed {
        self.last_place += 1;
        let held = Held { place: self.last_place, event, redelivered: false, copy: Copy::None };
        if self.has_room() && self.waiting.is_empty() {
            self.add(held);
            return Pushed::Held;
        }
        match overflow.unwrap_or(self.bounds.overflow) {
            Overflow::DropOldest => {
                let mut given_up = 0;
                loop {
                    // What somebody is at work on is not dropped; where that alone fills the topic, there is no older one.
                    let Some(oldest) = self.ready.pop_front() else { return Pushed::DroppedNewest };
                    self.bytes -= oldest.event.size();
                    given_up += oldest.event.size();
                    self.forget(&oldest);
                    // A topic that holds more than it may, as after a take-over, gives no more than what comes takes.
                    if self.has_room() || given_up >= held.event.size() {
                        break;
                    }
                }
                self.add(held);
                Pushed::DroppedOldest
            }
            Overflow::DropNewest => Pushed::DroppedNewest,
            Overflow::Reject => Pushed::Rejected,
            Overflow::Pause if self.waiting_bytes >= self.bounds.bytes => Pushed::Rejected,
            Overflow::Pause => {
                self.waiting_bytes += EACH + held.event.size();
                self.waiting.push_back((client, held));
                Pushed::Paused
            }
        }
    }

    /// Lets a connection consume.
    ///
    /// # Errors
    /// [`GridError::AlreadyConsumed`] where it does already.
    pub fn attach(
        &mut self,
        (consumer, whence): (ConsumerId, Whence),
        window: Window,
        topic: &str,
    ) -> Result<(), GridError> {
        if self.consumers.attach(consumer, whence, window) {
            self.is_acknowledged = self.has_acknowledged();
            self.copy_waiting();
            Ok(())
        } else {
            Err(GridError::AlreadyConsumed(topic.to_owned()))
        }
    }

    /// Whether a connection consumes.
    #[must_use]
    pub fn is_consumed_by(&self, consumer: ConsumerId) -> bool {
        self.consumers.is_attached(consumer)
    }

    /// A connection consumes no more; what it has not acknowledged it still may (G-16). `false` where it did not consume.
    pub fn detach(&mut self, consumer: ConsumerId) -> bool {
        let was_there = self.consumers.detach(consumer);
        self.is_acknowledged = self.has_acknowledged();
        was_there
    }

    /// A connection has ended: what it has not acknowledged goes back.
    pub fn lose(&mut self, consumer: ConsumerId) {
        self.bytes -= self.consumers.lose(consumer);
        self.is_acknowledged = self.has_acknowledged();
        let lost = self.unacked.extract_if(.., |_, (holder, _)| *holder == consumer);
        let lost: Vec<Held> = lost.map(|(_, (_, held))| held).collect();
        lost.into_iter().for_each(|held| self.put_back(held));
        self.let_in();
    }

    /// So many messages that need no acknowledgement were written to a consumer's socket.
    pub fn written(&mut self, consumer: ConsumerId, messages: u32) {
        self.bytes -= self.consumers.written(consumer, messages);
        self.let_in();
    }

    /// A message was processed. `false` where the consumer holds no such one.
    pub fn ack(&mut self, consumer: ConsumerId, tag: u64) -> bool {
        let Some(held) = self.take_unacked(consumer, tag) else { return false };
        self.bytes -= held.event.size();
        self.forget(&held);
        self.let_in();
        true
    }

    /// A message was not processed: it goes back to its place, or is dropped. `false` where the consumer holds no such one.
    pub fn nack(&mut self, consumer: ConsumerId, tag: u64, again: bool) -> bool {
        let Some(held) = self.take_unacked(consumer, tag) else { return false };
        if again {
            self.put_back(held);
        } else {
            self.bytes -= held.event.size();
            self.forget(&held);
        }
        self.let_in();
        true
    }

    /// The next message that finds a consumer with room.
    pub fn give(&mut self) -> Option<Given> {
        if self.ready.is_empty() {
            return None;
        }
        let (consumer, acks) = self.consumers.next()?;
        let held = self.ready.pop_front()?;
        self.let_in();
        if !acks {
            self.consumers.sent(consumer, held.event.size());
            self.forget(&held);
            return Some(Given { consumer, tag: None, event: held.event, redelivered: held.redelivered });
        }
        self.last_tag += 1;
        let (event, redelivered) = (held.event.clone(), held.redelivered);
        self.unacked.insert(self.last_tag, (consumer, held));
        Some(Given { consumer, tag: Some(self.last_tag), event, redelivered })
    }

    /// The clients that may be read again.
    pub fn resumed(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.resumed)
    }

    /// Messages that wait for a consumer or for room.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.ready.len() + self.waiting.len()
    }

    /// Messages that are not acknowledged.
    #[must_use]
    pub fn unacked(&self) -> usize {
        self.unacked.len()
    }

    /// The bytes that it holds, and those at the last time that this was asked.
    pub fn count(&mut self) -> (usize, usize) {
        let held = self.bytes + self.waiting_bytes;
        (std::mem::replace(&mut self.counted, held), held)
    }

    /// Connections that consume.
    #[must_use]
    pub fn consumers(&self) -> usize {
        self.consumers.attached()
    }

    /// Whether nothing is lost when it is forgotten.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.depth() == 0 && self.unacked.is_empty() && self.consumers.is_empty()
    }

    fn has_room(&self) -> bool {
        self.ready.len() < self.bounds.messages && self.bytes < self.bounds.bytes
    }

    fn add(&mut self, mut held: Held) {
        self.copy(&mut held);
        self.bytes += held.event.size();
        self.ready.push_back(held);
    }

    fn let_in(&mut self) {
        while self.has_room()
            && let Some((client, held)) = self.waiting.pop_front()
        {
            self.waiting_bytes -= EACH + held.event.size();
            self.add(held);
            self.resumed.push(client);
        }
    }

    fn take_unacked(&mut self, consumer: ConsumerId, tag: u64) -> Option<Held> {
        if self.unacked.get(&tag).is_none_or(|(holder, _)| *holder != consumer) {
            return None;
        }
        self.consumers.free(consumer);
        self.unacked.remove(&tag).map(|(_, held)| held)
    }

    /// Puts a message back to its place, which is near the front, if it is ours still.
    fn put_back(&mut self, mut held: Held) {
        if held.copy == Copy::Theirs {
            self.bytes -= held.event.size();
            return;
        }
        held.redelivered = true;
        let place = self.ready.partition_point(|ready| ready.place < held.place);
        self.ready.insert(place, held);
    }
}

#[cfg(test)]
mod tests;
