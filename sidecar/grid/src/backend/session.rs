//! One connection of a backend: the texts that wait for it, the deliveries that it has not acknowledged, and how many of its
//! requests in a row were none.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::Waker,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

use super::Permit;
use crate::{
    NodeNumber, Topic,
    elsewhere::Far,
    envelope::Event,
    queue::{ConsumerId, Given, Whence},
    wire::{Close, Opcode, encode},
};

/// A connection of a backend.
#[derive(Debug)]
pub struct Session {
    /// Its name among consumers.
    pub id: ConsumerId,
    /// What it may do.
    permit: ArcSwap<Permit>,
    state: Mutex<State>,
    /// Where its events go; `None`: to its own socket.
    far: Option<Far>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Outgoing>,
    /// What comes while a request is being answered: the answer is told first.
    behind_answer: Option<Vec<Outgoing>>,
    /// The topics that it consumes.
    topics: Vec<Topic>,
    /// Where deliveries that it acknowledges came from.
    tags: HashMap<u64, Delivery>,
    errors: u16,
    waker: Option<Waker>,
    /// Why it is to end, behind what waits.
    ending: Option<Close>,
    /// Why it is to end at once.
    revoked: Option<Close>,
}

/// A frame for a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The frame.
    pub frame: Bytes,
    /// The window that has room again once it is written.
    pub credit: Option<Credit>,
}

/// A window that has room again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Of this topic.
    pub topic: Topic,
    /// At that node; `None`: at this one.
    pub node: Option<NodeNumber>,
}

/// What an acknowledgement is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// A message of this node.
    Here(Topic),
    /// One of another node, by its tag there.
    At(NodeNumber, u64),
}

impl Session {
    /// A new connection.
    #[must_use]
    pub fn new(id: ConsumerId, permit: Permit) -> Arc<Self> {
        Self::with(id, permit, None)
    }

    /// A consumer of another node, which looks after what it may do.
    pub(crate) fn far(id: ConsumerId, far: Far) -> Arc<Self> {
        Self::with(id, Permit::local(), Some(far))
    }

    fn with(id: ConsumerId, permit: Permit, far: Option<Far>) -> Arc<Self> {
        Arc::new(Self { id, permit: ArcSwap::from_pointee(permit), state: Mutex::default(), far })
    }

    /// Where it is connected.
    #[must_use]
    pub fn whence(&self) -> Whence {
        if self.far.is_some() { Whence::Elsewhere } else { Whence::Here }
    }

    /// What it may do, now.
    #[must_use]
    pub fn permit(&self) -> Arc<Permit> {
        self.permit.load_full()
    }

    /// It may do something else from now on.
    pub fn set_permit(&self, permit: Permit) {
        self.permit.store(Arc::new(permit));
    }

    /// It is to end, behind what waits. The first reason counts.
    pub fn end(&self, close: Close) {
        self.change(|state| {
            state.ending.get_or_insert(close);
        });
    }

    /// It may be here no more: it is to end at once, and what waits is not for it.
    pub fn revoke(&self, close: Close) {
        self.change(|state| {
            state.revoked.get_or_insert(close);
        });
    }

    /// Why it may be here no more; `None`: it may.
    #[must_use]
    pub fn revoked(&self) -> Option<Close> {
        self.state.lock().revoked.clone()
    }

    /// Why it is to end; `None`: it is not. Asked when there is nothing more to take.
    #[must_use]
    pub fn ending(&self) -> Option<Close> {
        self.state.lock().ending.clone()
    }

    /// Puts an answer behind what waits.
    pub fn tell(&self, text: &str) {
        let frame = encode(Opcode::Text, text.as_bytes(), false);
        self.put([Outgoing { frame, credit: None }]);
    }

    /// A request is being answered: what it sets in motion waits for [`Session::answered`].
    pub fn answering(&self) {
        self.state.lock().behind_answer.get_or_insert_default();
    }

    /// Answers it, and lets go of what has come meanwhile.
    pub fn answered(&self, text: &str) {
        let frame = encode(Opcode::Text, text.as_bytes(), false);
        self.change(|state| {
            let behind = state.behind_answer.take().unwrap_or_default();
            state.waiting.push_back(Outgoing { frame, credit: None });
            state.waiting.extend(behind);
        });
    }

    /// Puts a control frame behind what waits.
    pub(crate) fn control(&self, opcode: Opcode, payload: &[u8]) {
        self.put([Outgoing { frame: encode(opcode, payload, false), credit: None }]);
    }

    /// Puts an event of a topic behind what waits.
    pub(crate) fn deliver(&self, topic: &Topic, given: &Given) {
        if let Some(tag) = given.tag {
            self.state.lock().tags.insert(tag, Delivery::Here(topic.clone()));
        }
        if let Some(far) = &self.far {
            return far.give(topic, given);
        }
        let credit = Credit { topic: topic.clone(), node: None };
        self.put_event(&given.event, given.tag, given.redelivered, credit);
    }

    /// Puts an event that came to another node behind what waits. `tag`: by which it is acknowledged here and there.
    pub(crate) fn deliver_from(
        &self,
        node: NodeNumber,
        topic: &Topic,
        event: &Event,
        tag: Option<(u64, u64)>,
        redelivered: bool,
    ) {
        if let Some((ours, theirs)) = tag {
            self.state.lock().tags.insert(ours, Delivery::At(node, theirs));
        }
        let credit = Credit { topic: topic.clone(), node: Some(node) };
        self.put_event(event, tag.map(|(ours, _)| ours), redelivered, credit);
    }

    fn put_event(&self, event: &Event, tag: Option<u64>, redelivered: bool, credit: Credit) {
        let frame = encode(Opcode::Text, event.for_consumer(tag, redelivered).as_bytes(), false);
        let outgoing = Outgoing { frame, credit: tag.is_none().then_some(credit) };
        let waker = {
            let mut state = self.state.lock();
            match &mut state.behind_answer {
                Some(behind) => return behind.push(outgoing),
                None => state.waiting.push_back(outgoing),
            }
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn put(&self, frames: impl IntoIterator<Item = Outgoing>) {
        self.change(|state| state.waiting.extend(frames));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.lock();
            change(&mut state);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes all that waits; where that is nothing, `waker` is woken when something comes.
    pub fn take(&self, waker: &Waker) -> VecDeque<Outgoing> {
        self.take_some(waker, usize::MAX).into()
    }

    /// Takes what waits, up to `bytes` and the frame that goes beyond.
    pub fn take_some(&self, waker: &Waker, bytes: usize) -> Vec<Outgoing> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.waker = Some(waker.clone());
        }
        let mut taken = 0;
        let within = state.waiting.iter().take_while(|outgoing| {
            let before = taken;
            taken += outgoing.frame.len();
            before < bytes
        });
        let count = within.count();
        state.waiting.drain(..count).collect()
    }

    /// The topics that it consumes.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.state.lock().topics.clone()
    }

    /// Notes what it consumes from now on.
    pub(crate) fn consumes(&self, topics: &[Topic]) {
        self.state.lock().topics.extend_from_slice(topics);
    }

    /// Notes what it consumes no more.
    pub(crate) fn consumes_no_more(&self, topics: &[Topic]) {
        self.state.lock().topics.retain(|known| !topics.contains(known));
    }

    /// Deliveries of these topics are others' from now on.
    pub(crate) fn forgets(&self, topics: &[Topic]) {
        let is_others = |delivery: &Delivery| matches!(delivery, Delivery::Here(topic) if topics.contains(topic));
        self.state.lock().tags.retain(|_, delivery| !is_others(delivery));
    }

    /// A delivery that it holds.
    pub(crate) fn holds(&self, tag: u64) -> Option<Delivery> {
        self.state.lock().tags.get(&tag).cloned()
    }

    /// A delivery was settled.
    pub(crate) fn settled(&self, tag: u64) {
        self.state.lock().tags.remove(&tag);
    }

    /// Counts a request: one that was none adds to those before, a good one begins anew. `true`: that was one too many (G-4).
    pub fn count(&self, is_error: bool, most: u16) -> bool {
        let mut state = self.state.lock();
        state.errors = if is_error { state.errors.saturating_add(1) } else { 0 };
        state.errors >= most
    }
}
