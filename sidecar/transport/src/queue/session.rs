//! One session: its queues, the calls that wait in it, and what it holds of the budgets.
//!
//! Each call gets a ticket when it has to wait; when it is decided, its outcome lies ready under the ticket and its
//! waker goes out in [`Effects`]. So a message passes from push to pop within one step, and a cancelled call finds under
//! its ticket whether it was served, and hands that back. A waiting call that is neither here nor decided was released.
//!
//! No step takes longer for what else there is: what a release or the age frees goes out in [`Effects`] as it lies, and is
//! taken apart outside, in small steps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use mesh_core::{NodeId, Topic};
use tokio::time::Instant;

use super::{
    budget::{Budget, Charge, Turn},
    involved::Involved,
    keys::Keys,
    message::{Message, Origin, Reader, Served},
    queues::{Load, Queue},
    remains::Remains,
    room::{Coming, WaitingPush},
    topics::{Cursor, Topics},
    waiters::Waiter,
    writing::{Write, WritingPush},
};
use crate::{kept::Kept, log::LogError};

/// A queue's name, how much there is, and when its oldest message came.
pub(crate) type Look<'a> = (&'a Topic, Load, Option<Instant>);

/// The number of a waiting call within its session.
pub(crate) type Ticket = u64;

/// One session. An idle one is small: what few sessions need lies in boxes.
#[derive(Debug)]
pub(crate) struct Session {
    /// Only queues with something in them.
    pub(super) topics: Topics,
    /// Calls that wait for room, and what was decided.
    pub(super) calls: Option<Box<Calls>>,
    /// The partners that may read what applications push here.
    pub(super) involved: Involved,
    /// Numbers messages and tickets.
    next: u64,
    pub(super) load: Load,
    pub(super) last_use: Instant,
    pub(super) closed: bool,
    /// Whether it was closed as another gateway owns it.
    pub(super) moved: bool,
    /// Whether what is in it is kept until it is read, however long nobody uses it.
    pub(super) lasts: bool,
    /// Records that live as long as it does.
    #[allow(clippy::box_collection, reason = "an idle session must be small")]
    pub(super) records: Option<Box<Vec<Kept>>>,
}

/// The calls of a session that are under way, but for the pops that wait in queues.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Pushes that wait for room.
    pub(super) room: VecDeque<WaitingPush>,
    /// Pushes that wait for the disk.
    pub(super) writing: BTreeMap<Ticket, WritingPush>,
    /// Calls that are decided and have not fetched it yet.
    pub(super) outcomes: BTreeMap<Ticket, Outcome>,
    /// Where partners wait that are not involved: what is looked at once they are.
    hopeful: HashMap<NodeId, BTreeSet<Topic>, Keys>,
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
    /// What is gone and must be taken apart.
    pub(crate) remains: Remains,
    /// What is to be written to the log, in order.
    pub(crate) writes: Vec<Write>,
    /// Records of messages that are gone.
    pub(crate) unkept: Vec<Kept>,
    /// Partners that the session involves from now on.
    pub(crate) involved: Vec<NodeId>,
    /// How many messages were too old.
    pub(crate) expired: usize,
    /// How many messages went unread by a release or the session's end.
    pub(crate) dropped: usize,
    /// How many messages were given out that had been given out before.
    pub(crate) redelivered: usize,
}

/// A budget outside the session that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// The node's; and whose push it is that waits.
    Node(Origin),
    Route(NodeId),
}

/// Where a waiting call stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing<'a> {
    /// A push: in the line for room.
    Room,
    /// A pop: at a queue, until its time is up.
    Queue { topic: &'a Topic, reader: &'a Reader, until: Instant },
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
    /// Another gateway owns the session now.
    Moved,
    /// The push could not be written to disk.
    NotWritten(LogError),
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
            topics: Topics::default(),
            calls: None,
            involved: Involved::default(),
            next: 0,
            load: Load::default(),
            last_use: now,
            closed: false,
            moved: false,
            lasts: false,
            records: None,
        }
    }

    /// Takes a message in, or lets the push wait for room.
    pub(crate) fn push(&mut self, coming: Coming, waker: &Waker, setting: &Setting<'_>, fx: &mut Effects) -> Pushed {
        self.last_use = setting.now;
        if let Some(charge) = self.room_at_once(&coming, setting) {
            if coming.record.is_none() {
                self.enter(coming, charge, setting.now, fx);
                return Pushed::Entered;
            }
            let ticket = self.number();
            self.let_in(WaitingPush { ticket, coming, waker: waker.clone() }, charge, setting, fx);
            return Pushed::Waiting(ticket);
        }
        let ticket = self.number();
        self.calls().room.push_back(WaitingPush { ticket, coming, waker: waker.clone() });
        self.settle(setting, Turn::Behind, fx);
        if self.calls().outcomes.remove(&ticket).is_some() { Pushed::Entered } else { Pushed::Waiting(ticket) }
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
        self.topics.open(topic);
        self.at(topic, |queue, _| queue.waiters.add(waiter));
        if let Origin::Partner(partner) = &reader.who
            && !self.involved.has(partner)
        {
            self.calls().hopeful.entry(partner.clone()).or_default().insert(topic.clone());
        }
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
        let served = self.at(topic, |queue, involved| queue.lease(reader, involved))??;
        fx.redelivered += usize::from(served.redelivered);
        Some(served)
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
        self.topics.get(topic)?.look(reader, &self.involved)
    }

    /// How the call with `ticket` ended; a call that still waits is woken by `waker` from now on.
    pub(crate) fn outcome(
        &mut self,
        standing: Standing<'_>,
        ticket: Ticket,
        waker: &Waker,
        now: Instant,
    ) -> Option<Outcome> {
        if let Some(outcome) = self.calls.as_mut().and_then(|calls| calls.outcomes.remove(&ticket)) {
            return Some(outcome);
        }
        match self.waker(standing, ticket) {
            Some(kept) => {
                if !kept.will_wake(waker) {
                    kept.clone_from(waker);
                }
                None
            }
            None => self.gone(standing, now),
        }
    }

    /// Ends the waiting of the call with `ticket`, and says what had become of it.
    pub(crate) fn give_up(
        &mut self,
        standing: Standing<'_>,
        ticket: Ticket,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) -> Option<Outcome> {
        self.last_use = setting.now;
        if let Some(outcome) = self.calls.as_mut().and_then(|calls| calls.outcomes.remove(&ticket)) {
            return Some(outcome);
        }
        match standing {
            Standing::Room if self.give_up_writing(ticket) => None,
            Standing::Room => {
                let room = &mut self.calls().room;
                let Ok(at) = room.binary_search_by_key(&ticket, |push| push.ticket) else {
                    return self.gone(standing, setting.now);
                };
                fx.remains.pushes(room.remove(at).into_iter().collect());
                self.settle(setting, Turn::Behind, fx);
                None
            }
            Standing::Queue { topic, reader, .. } => {
                let waited = self.at(topic, |queue, _| queue.waiters.remove(reader, ticket)).flatten();
                self.hope_no_more(topic, reader);
                if waited.is_some() { None } else { self.gone(standing, setting.now) }
            }
        }
    }

    /// The message of lease `seq` has arrived at its reader: it goes. `false` if it was released meanwhile.
    pub(crate) fn commit(&mut self, topic: &Topic, seq: u64, setting: &Setting<'_>, fx: &mut Effects) -> bool {
        self.last_use = setting.now;
        let Some(mut message) = self.at(topic, |queue, _| queue.end_lease(seq)).flatten() else { return false };
        fx.unkept.extend(message.kept.take());
        fx.remains.message(message);
        self.settle(setting, Turn::Behind, fx);
        true
    }

    /// The message of lease `seq` did not arrive: it goes back to its place, or to the oldest waiter that takes it.
    /// `false` if it was released meanwhile.
    pub(crate) fn hand_back(&mut self, topic: &Topic, seq: u64, setting: &Setting<'_>, fx: &mut Effects) -> bool {
        let now = setting.now;
        let back = self.at(topic, |queue, involved| {
            let mut message = queue.end_lease(seq)?;
            message.redelivered = true;
            Some(queue.arrive(message, now, involved))
        });
        let Some(Some(served)) = back else { return false };
        self.decide(served, fx);
        true
    }

    /// From now on `partner` may read what applications push here.
    pub(crate) fn involve(&mut self, partner: &NodeId, now: Instant, fx: &mut Effects) {
        self.last_use = now;
        if !self.involved.add(partner) {
            return;
        }
        fx.involved.push(partner.clone());
        let Some(topics) = self.calls.as_mut().and_then(|calls| calls.hopeful.remove(partner)) else { return };
        for topic in topics {
            let served = self.at(&topic, |queue, involved| queue.serve_again(partner, now, involved));
            served.into_iter().flatten().for_each(|served| self.decide(Some(served), fx));
        }
    }

    /// Drops messages that are too old, of some queues from `cursor` on and `most` of each; answers where it goes on. Room
    /// that comes free is given at once.
    pub(crate) fn expire(
        &mut self,
        cursor: Cursor,
        most: usize,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) -> Option<Cursor> {
        let limit = setting.bounds.message_ttl.and_then(|ttl| setting.now.checked_sub(ttl))?;
        let (part, next) = self.topics.part(cursor);
        let old = part.into_iter().filter(|(_, queue)| queue.ready.oldest().is_some_and(|since| since < limit));
        let topics: Vec<Topic> = old.map(|(topic, _)| topic.clone()).collect();
        let mut goes_on = next;
        for topic in topics {
            if self.expire_queue(&topic, limit, most, fx) == most {
                goes_on = Some(cursor);
            }
        }
        self.settle(setting, Turn::Behind, fx);
        goes_on
    }

    /// Gives back what calls took that are over.
    pub(crate) fn tidy(&mut self) {
        if self.calls.as_ref().is_some_and(|calls| calls.is_empty() && calls.hopeful.is_empty()) {
            self.calls = None;
        }
    }

    /// Whether it was released or has expired: callers look for its successor.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Puts a message with its room into its queue, or into the hands of the oldest waiter that takes it.
    pub(super) fn enter(&mut self, coming: Coming, charge: Charge, now: Instant, fx: &mut Effects) {
        let Coming { topic, draft, loan, .. } = coming;
        fx.remains.loan(loan);
        if let Origin::Partner(partner) = &draft.origin {
            self.involve(&partner.clone(), now, fx);
        }
        let message = Message { seq: self.number(), since: now, redelivered: false, draft, charge, kept: None };
        self.arrive(&topic, Box::new(message), now, fx);
    }

    pub(super) fn arrive(&mut self, topic: &Topic, message: Box<Message>, now: Instant, fx: &mut Effects) {
        if let Some(numbered) = &message.draft.id {
            numbered.enters();
        }
        self.topics.open(topic);
        let served = self.at(topic, |queue, involved| queue.arrive(message, now, involved)).flatten();
        self.decide(served, fx);
    }

    /// One step within a queue. Keeps the sums, and forgets the queue once it is empty.
    pub(super) fn at<R>(&mut self, topic: &Topic, step: impl FnOnce(&mut Queue, &Involved) -> R) -> Option<R> {
        let queue = self.topics.get_mut(topic)?;
        let before = queue.load();
        let result = step(queue, &self.involved);
        let after = queue.load();
        self.load.change(before, after);
        if after == Load::default() {
            self.topics.remove(topic);
        }
        Some(result)
    }

    pub(super) fn calls(&mut self) -> &mut Calls {
        self.calls.get_or_insert_default()
    }

    fn decide(&mut self, served: Option<(Waiter, Served)>, fx: &mut Effects) {
        let Some((waiter, served)) = served else { return };
        fx.redelivered += usize::from(served.redelivered);
        self.calls().outcomes.insert(waiter.ticket, Outcome::Served(served));
        fx.wakers.push(waiter.waker);
    }

    fn use_topic(&mut self, topic: &Topic, setting: &Setting<'_>, fx: &mut Effects) {
        self.last_use = setting.now;
        let Some(limit) = setting.bounds.message_ttl.and_then(|ttl| setting.now.checked_sub(ttl)) else { return };
        if self.expire_queue(topic, limit, usize::MAX, fx) > 0 {
            self.settle(setting, Turn::Behind, fx);
        }
    }

    fn expire_queue(&mut self, topic: &Topic, limit: Instant, most: usize, fx: &mut Effects) -> usize {
        let gone = self.at(topic, |queue, _| queue.expire(limit, most)).unwrap_or_default();
        let number = gone.len();
        fx.expired += number;
        gone.into_iter().for_each(|message| fx.remains.message(message));
        number
    }

    /// A partner's call left its queue: where none of its calls waits there is nothing to be looked at later.
    fn hope_no_more(&mut self, topic: &Topic, reader: &Reader) {
        let (Origin::Partner(partner), Some(calls)) = (&reader.who, &mut self.calls) else { return };
        if self.topics.get(topic).is_some_and(|queue| queue.waiters.has(partner)) {
            return;
        }
        if let Some(topics) = calls.hopeful.get_mut(partner) {
            topics.remove(topic);
            if topics.is_empty() {
                calls.hopeful.remove(partner);
            }
        }
    }

    /// What a call is to hear that stands nowhere any more and was not decided: it was released, or the session is another gateway's,
    /// unless its time is up.
    fn gone(&self, standing: Standing<'_>, now: Instant) -> Option<Outcome> {
        match standing {
            Standing::Queue { until, .. } if until <= now => None,
            Standing::Room | Standing::Queue { .. } if self.moved => Some(Outcome::Moved),
            Standing::Room | Standing::Queue { .. } => Some(Outcome::Released),
        }
    }

    fn waker(&mut self, standing: Standing<'_>, ticket: Ticket) -> Option<&mut Waker> {
        match standing {
            Standing::Room => {
                let room = &mut self.calls.as_mut()?.room;
                match room.binary_search_by_key(&ticket, |push| push.ticket) {
                    Ok(at) => self.calls.as_mut()?.room.get_mut(at).map(|push| &mut push.waker),
                    Err(_) => self.writing_waker(ticket),
                }
            }
            Standing::Queue { topic, reader, .. } => self.topics.get_mut(topic)?.waiters.waker(reader, ticket),
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.room.is_empty() && self.writing.is_empty() && self.outcomes.is_empty()
    }
}

impl Load {
    /// Follows a part of it from `before` to `after`.
    pub(super) fn change(&mut self, before: Self, after: Self) {
        self.messages = self.messages + after.messages - before.messages;
        self.leased = self.leased + after.leased - before.leased;
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.waiters = self.waiters + after.waiters - before.waiters;
    }
}
