//! One session: its queues, the calls that wait in it, and what it holds of the budgets.
//!
//! Each call gets a ticket when it has to wait; when it is decided, its outcome lies ready under the ticket and its
//! waker goes out in [`Effects`]. So a message passes from push to pop within one step, and a cancelled call finds under
//! its ticket whether it was served, and hands that back.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use mesh_core::{NodeId, Topic};
use tokio::time::Instant;

use super::{
    budget::{Budget, Turn},
    message::{Charge, Draft, Message, Origin, Reader, Served},
    queues::{Queue, Waiter},
    room::{Coming, WaitingPush},
};

/// The number of a waiting call within its session.
pub(crate) type Ticket = u64;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Ordered, so that a topic's split packets stand beside it; only queues with something in them.
    pub(super) queues: BTreeMap<Topic, Queue>,
    pub(super) room: VecDeque<WaitingPush>,
    /// Calls that are decided and have not fetched it yet.
    pub(super) outcomes: BTreeMap<Ticket, Outcome>,
    /// The partners that may read what applications push here.
    pub(super) involved: Vec<NodeId>,
    /// Numbers messages and tickets.
    next: u64,
    pub(super) bytes: u64,
    pub(super) messages: usize,
    last_use: Instant,
    pub(super) closed: bool,
}

/// The world around one step.
pub(crate) struct Setting<'a> {
    pub(crate) now: Instant,
    pub(crate) bounds: &'a Bounds,
    pub(crate) node: &'a Arc<Budget>,
}

/// What a session may hold.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) session_bytes: u64,
    pub(crate) session_messages: usize,
    /// How long an unread message is kept; `None`: for ever.
    pub(crate) message_ttl: Option<Duration>,
}

/// What is to be done after a step, with no lock held.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Calls that are decided.
    pub(crate) wakers: Vec<Waker>,
    /// Budgets for which a push of this session waits.
    pub(crate) short: Vec<Short>,
    /// What was in messages that are gone: large ones take a while to free. Their room is free already.
    pub(crate) gone: Vec<Draft>,
    /// How many of them were too old.
    pub(crate) expired: usize,
}

/// A budget outside the session that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    Node,
    Route(NodeId),
}

/// How a waiting call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The push is in its queue.
    Entered,
    /// The pop got a message.
    Served(Served),
    /// The topic or session was released.
    Released,
}

/// What became of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Entered,
    Waiting(Ticket),
}

/// What became of a pop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    Served(Served),
    Waiting(Ticket),
}

impl Session {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            queues: BTreeMap::new(),
            room: VecDeque::new(),
            outcomes: BTreeMap::new(),
            involved: Vec::new(),
            next: 0,
            bytes: 0,
            messages: 0,
            last_use: now,
            closed: false,
        }
    }

    /// Takes a message in, or lets the push wait for room.
    pub(crate) fn push(&mut self, coming: Coming, waker: &Waker, setting: &Setting<'_>, fx: &mut Effects) -> Pushed {
        self.last_use = setting.now;
        if let Some(charge) = self.room_at_once(&coming, setting) {
            self.enter(coming.topic, coming.draft, charge, setting.now, fx);
            return Pushed::Entered;
        }
        let ticket = self.number();
        self.room.push_back(WaitingPush { ticket, coming, waker: waker.clone() });
        self.expire(setting, fx);
        self.settle(setting, Turn::Behind, fx);
        if self.outcomes.remove(&ticket).is_some() { Pushed::Entered } else { Pushed::Waiting(ticket) }
    }

    /// Leases the oldest message that `reader` takes, or lets the pop wait until `until`.
    pub(crate) fn pop(
        &mut self,
        topic: &Topic,
        reader: &Reader,
        until: Instant,
        waker: &Waker,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) -> Popped {
        if let Some(served) = self.lease(topic, reader, setting, fx) {
            return Popped::Served(served);
        }
        let ticket = self.number();
        let waiter = Waiter { ticket, reader: reader.clone(), until, waker: waker.clone() };
        self.queues.entry(topic.clone()).or_default().waiters.push_back(waiter);
        Popped::Waiting(ticket)
    }

    /// Leases the oldest message that `reader` takes, if there is one.
    pub(crate) fn lease(
        &mut self,
        topic: &Topic,
        reader: &Reader,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) -> Option<Served> {
        self.use_topic(topic, setting, fx);
        self.queues.get_mut(topic)?.lease(reader, &self.involved)
    }

    /// The oldest message that `reader` takes; it stays.
    pub(crate) fn look(
        &mut self,
        topic: &Topic,
        reader: &Reader,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) -> Option<Served> {
        self.use_topic(topic, setting, fx);
        self.queues.get(topic)?.look(reader, &self.involved)
    }

    /// How the call with `ticket` ended; a call that still waits is woken by `waker` from now on.
    pub(crate) fn outcome(&mut self, topic: &Topic, ticket: Ticket, waker: &Waker) -> Option<Outcome> {
        let outcome = self.outcomes.remove(&ticket);
        if outcome.is_none()
            && let Some(kept) = self.waker(topic, ticket)
            && !kept.will_wake(waker)
        {
            kept.clone_from(waker);
        }
        outcome
    }

    /// Ends the waiting of the call with `ticket`, and says what had become of it.
    pub(crate) fn give_up(
        &mut self,
        topic: &Topic,
        ticket: Ticket,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) -> Option<Outcome> {
        self.last_use = setting.now;
        if let Some(outcome) = self.outcomes.remove(&ticket) {
            return Some(outcome);
        }
        if let Ok(at) = self.room.binary_search_by_key(&ticket, |push| push.ticket) {
            self.room.remove(at);
            self.settle(setting, Turn::Behind, fx);
        } else if let Some(queue) = self.queues.get_mut(topic)
            && let Some(at) = queue.waiter(ticket)
        {
            queue.waiters.remove(at);
            self.forget_if_empty(topic);
        }
        None
    }

    /// The message of lease `seq` has arrived at its reader: it goes. `false` if it was released meanwhile.
    pub(crate) fn commit(&mut self, topic: &Topic, seq: u64, setting: &Setting<'_>, fx: &mut Effects) -> bool {
        self.last_use = setting.now;
        let Some(message) = self.queues.get_mut(topic).and_then(|queue| queue.end_lease(seq)) else { return false };
        self.discard(message, fx);
        self.forget_if_empty(topic);
        self.settle(setting, Turn::Behind, fx);
        true
    }

    /// The message of lease `seq` did not arrive: it goes back to its place, or to the oldest waiter that takes it.
    /// `false` if it was released meanwhile.
    pub(crate) fn hand_back(&mut self, topic: &Topic, seq: u64, setting: &Setting<'_>, fx: &mut Effects) -> bool {
        let Some(queue) = self.queues.get_mut(topic) else { return false };
        let Some(mut message) = queue.end_lease(seq) else { return false };
        message.redelivered = true;
        if let Some((waiter, served)) = queue.arrive(message, setting.now, &self.involved) {
            self.decide(waiter, Outcome::Served(served), fx);
        }
        true
    }

    /// From now on `partner` may read what applications push here.
    pub(crate) fn involve(&mut self, partner: &NodeId, now: Instant, fx: &mut Effects) {
        self.last_use = now;
        if self.involved.contains(partner) {
            return;
        }
        self.involved.push(partner.clone());
        let involved = &self.involved;
        let served: Vec<_> =
            self.queues.values_mut().flat_map(|queue| queue.serve_again(partner, now, involved)).collect();
        for (waiter, message) in served {
            self.decide(waiter, Outcome::Served(message), fx);
        }
    }

    /// Drops the messages that are too old, and lets those enter that waited for their room.
    pub(crate) fn expire(&mut self, setting: &Setting<'_>, fx: &mut Effects) {
        let Some(limit) = setting.bounds.message_ttl.and_then(|ttl| setting.now.checked_sub(ttl)) else { return };
        let gone: Vec<_> = self.queues.values_mut().flat_map(|queue| queue.expire(limit)).collect();
        if gone.is_empty() {
            return;
        }
        fx.expired += gone.len();
        for message in gone {
            self.discard(message, fx);
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.settle(setting, Turn::Behind, fx);
    }

    /// Whether nobody has used it for `idle`: no call, no lease, no waiter.
    pub(crate) fn is_idle(&self, now: Instant, idle: Duration) -> bool {
        now.saturating_duration_since(self.last_use) >= idle
            && self.room.is_empty()
            && self.outcomes.is_empty()
            && self.queues.values().all(|queue| queue.leased.is_empty() && queue.waiters.is_empty())
    }

    /// Whether it was released or has expired: callers look for its successor.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Puts a message with its room into its queue, or into the hands of the oldest waiter that takes it.
    pub(super) fn enter(&mut self, topic: Topic, draft: Draft, charge: Charge, now: Instant, fx: &mut Effects) {
        if let Origin::Partner(partner) = &draft.origin {
            self.involve(&partner.clone(), now, fx);
        }
        if let Some(numbered) = &draft.id {
            numbered.enters();
        }
        self.bytes += charge.bytes;
        self.messages += 1;
        let message = Message { seq: self.number(), since: now, redelivered: false, draft, charge };
        let queue = self.queues.entry(topic).or_default();
        if let Some((waiter, served)) = queue.arrive(message, now, &self.involved) {
            self.decide(waiter, Outcome::Served(served), fx);
        }
    }

    pub(super) fn discard(&mut self, message: Message, fx: &mut Effects) {
        self.bytes -= message.charge.bytes;
        self.messages -= 1;
        fx.gone.push(message.draft);
    }

    pub(super) fn decide(&mut self, waiter: Waiter, outcome: Outcome, fx: &mut Effects) {
        self.outcomes.insert(waiter.ticket, outcome);
        fx.wakers.push(waiter.waker);
    }

    fn use_topic(&mut self, topic: &Topic, setting: &Setting<'_>, fx: &mut Effects) {
        self.last_use = setting.now;
        let oldest = self.queues.get(topic).and_then(|queue| queue.ready.front()).map(|message| message.since);
        if let (Some(ttl), Some(since)) = (setting.bounds.message_ttl, oldest)
            && setting.now.saturating_duration_since(since) > ttl
        {
            self.expire(setting, fx);
        }
    }

    fn forget_if_empty(&mut self, topic: &Topic) {
        if self.queues.get(topic).is_some_and(Queue::is_empty) {
            self.queues.remove(topic);
        }
    }

    fn waker(&mut self, topic: &Topic, ticket: Ticket) -> Option<&mut Waker> {
        if let Ok(at) = self.room.binary_search_by_key(&ticket, |push| push.ticket) {
            return self.room.get_mut(at).map(|push| &mut push.waker);
        }
        let queue = self.queues.get_mut(topic)?;
        let at = queue.waiter(ticket)?;
        queue.waiters.get_mut(at).map(|waiter| &mut waiter.waker)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
