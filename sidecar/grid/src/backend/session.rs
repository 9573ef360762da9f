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
    Topic,
    queue::{ConsumerId, Given},
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
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Outgoing>,
    /// What comes while a request is being answered: the answer is told first.
    behind_answer: Option<Vec<Outgoing>>,
    /// The topics that it consumes.
    topics: Vec<Topic>,
    /// Where deliveries that it acknowledges came from.
    tags: HashMap<u64, Topic>,
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
    /// The topic whose window has room again once it is written.
    pub credit: Option<Topic>,
}

impl Session {
    /// A new connection.
    #[must_use]
    pub fn new(id: ConsumerId, permit: Permit) -> Arc<Self> {
        Arc::new(Self { id, permit: ArcSwap::from_pointee(permit), state: Mutex::default() })
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

    /// Answers a request: what it sets in motion comes behind the answer.
    pub fn answer(&self, request: impl FnOnce() -> String) {
        self.state.lock().behind_answer.get_or_insert_default();
        let text = request();
        let frame = encode(Opcode::Text, text.as_bytes(), false);
        let waker = {
            let mut state = self.state.lock();
            let behind = state.behind_answer.take().unwrap_or_default();
            state.waiting.push_back(Outgoing { frame, credit: None });
            state.waiting.extend(behind);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Puts a control frame behind what waits.
    pub(crate) fn control(&self, opcode: Opcode, payload: &[u8]) {
        self.put([Outgoing { frame: encode(opcode, payload, false), credit: None }]);
    }

    /// Puts events of a topic behind what waits.
    pub(crate) fn deliver(&self, topic: &Topic, given: &Given) {
        let text = given.event.for_consumer(given.tag, given.redelivered);
        let frame = encode(Opcode::Text, text.as_bytes(), false);
        if let Some(tag) = given.tag {
            self.state.lock().tags.insert(tag, topic.clone());
        }
        let credit = given.tag.is_none().then(|| topic.clone());
        let outgoing = Outgoing { frame, credit };
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

    /// The topic of a delivery that it holds.
    pub(crate) fn topic_of(&self, tag: u64) -> Option<Topic> {
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
