//! The core against a naive model: random operations, and after each the whole state compared.
//!
//! The model keeps flat lists and searches them; it has no queues, no order beyond numbers, and no permits.

use std::{collections::BTreeMap, task::Waker, time::Duration};

use bytes::Bytes;
use mesh_core::{NodeId, Topic};
use proptest::prelude::*;
use tokio::time::Instant;

mod naive;

use self::naive::{Entry, Model, Waits};
use super::{
    Bounds, Budget, Coming, Draft, Effects, Loan, Origin, Outcome, Popped, Pushed, Reader, Releasing, Session, Setting,
    Standing, Ticket, Turn, queues::Load, take_both,
};

const TOPICS: [&str; 4] = ["t", "t-mesh-split-1", "tt", ""];
const SESSION_BYTES: u64 = 2500;
const NODE_BYTES: u64 = 2200;
const ROUTE_BYTES: u64 = 900;
const MESSAGES: usize = 7;

#[derive(Clone, Debug)]
enum Operation {
    Push { topic: usize, size: usize, who: u8, source: u8, lent: u8 },
    Pop { topic: usize, who: u8, source: u8, over: bool },
    Lease { topic: usize, who: u8 },
    Look { topic: usize, who: u8 },
    Commit(prop::sample::Index),
    HandBack(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Fetch(prop::sample::Index),
    Release { topic: usize, who: u8 },
    Involve { who: u8 },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let (topic, who) = (0..TOPICS.len(), 0..3u8);
    prop_oneof![
        6 => (topic.clone(), 0..900usize, who.clone(), 0..3u8, 0..5u8)
            .prop_map(|(topic, size, who, source, lent)| Push { topic, size, who, source, lent }),
        5 => (topic.clone(), who.clone(), 0..3u8, prop::bool::weighted(0.1))
            .prop_map(|(topic, who, source, over)| Pop { topic, who, source, over }),
        1 => (topic.clone(), who.clone()).prop_map(|(topic, who)| Lease { topic, who }),
        1 => (topic.clone(), who.clone()).prop_map(|(topic, who)| Look { topic, who }),
        3 => any::<prop::sample::Index>().prop_map(Commit),
        2 => any::<prop::sample::Index>().prop_map(HandBack),
        2 => any::<prop::sample::Index>().prop_map(GiveUp),
        2 => any::<prop::sample::Index>().prop_map(Fetch),
        1 => (topic, who.clone()).prop_map(|(topic, who)| Release { topic, who }),
        1 => (1..3u8).prop_map(|who| Involve { who }),
    ]
}

fn node(number: u8) -> NodeId {
    NodeId::new(&format!("LX-{number}"))
}

fn origin(who: u8) -> Origin {
    if who == 0 { Origin::Application } else { Origin::Partner(node(who)) }
}

fn reader(who: u8, source: u8) -> Reader {
    Reader { who: origin(who), source: (source > 0).then(|| node(source)) }
}

/// The core and the model, side by side.
struct Pair {
    session: Session,
    model: Model,
    node: std::sync::Arc<Budget>,
    route: std::sync::Arc<Budget>,
    bounds: Bounds,
    now: Instant,
    /// The calls that wait: at which topic, and how they read; pushes do not.
    calls: BTreeMap<Ticket, Call>,
}

#[derive(Clone, Debug)]
struct Call {
    topic: Topic,
    reader: Option<Reader>,
    until: Instant,
}

impl Call {
    fn standing(&self) -> Standing<'_> {
        match &self.reader {
            Some(reader) => Standing::Queue { topic: &self.topic, reader, until: self.until },
            None => Standing::Room,
        }
    }
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let bounds = Bounds { session_bytes: SESSION_BYTES, session_messages: MESSAGES, message_ttl: None };
        Self {
            session: Session::new(now),
            model: Model::default(),
            node: Budget::new(NODE_BYTES),
            route: Budget::new(ROUTE_BYTES),
            bounds,
            now,
            calls: BTreeMap::new(),
        }
    }

    fn step<R>(&mut self, step: impl FnOnce(&mut Session, &Setting<'_>, &mut Effects) -> R) -> R {
        let setting = Setting { now: self.now, bounds: &self.bounds, node: &self.node };
        step(&mut self.session, &setting, &mut Effects::default())
    }

    fn run(&mut self, operation: &Operation) {
        match *operation {
            Operation::Push { topic, size, who, source, lent } => self.push(topic, size, who, source, lent),
            Operation::Pop { topic, who, source, over } => self.pop(topic, who, source, over),
            Operation::Lease { topic, who } => {
                let leased = self.step(|s, at, fx| s.lease(&name(topic), &reader(who, 0), at, fx)).map(|m| m.seq);
                let expected = self.model.find(topic, who, 0);
                expected.into_iter().for_each(|seq| self.model.entry(seq).leased = true);
                assert_eq!(leased, expected);
            }
            Operation::Look { topic, who } => {
                let seen = self.step(|s, at, fx| s.look(&name(topic), &reader(who, 0), at, fx)).map(|m| m.seq);
                assert_eq!(seen, self.model.find(topic, who, 0));
            }
            Operation::Commit(ref index) => self.commit(index),
            Operation::HandBack(ref index) => self.hand_back(index),
            Operation::GiveUp(ref index) => self.give_up(index),
            Operation::Fetch(ref index) => self.fetch(index),
            Operation::Release { topic, who } => {
                let mut at = Some(Releasing::Start);
                while let Some(here) = at {
                    at = self.step(|s, at, fx| s.release(&name(topic), &origin(who), &here, at, fx));
                }
                self.model.release(topic, who);
            }
            Operation::Involve { who } => {
                self.step(|s, at, fx| s.involve(&node(who), at.now, fx));
                if !self.model.involved.contains(&who) {
                    self.model.involved.push(who);
                    self.model.serve();
                }
            }
        }
        self.turns();
        self.compare();
    }

    /// What a step left of messages and loans is gone now; those have their turns who wait for its room.
    fn turns(&mut self) {
        while self.step(|s, at, fx| {
            s.settle(at, Turn::Front, fx);
            !fx.wakers.is_empty()
        }) {}
        self.model.late = (0, 0);
        while self.model.rest(1) {
            self.model.late = (0, 0);
        }
    }

    fn push(&mut self, topic: usize, size: usize, who: u8, source: u8, lent: u8) {
        let draft = Draft {
            payload: Bytes::from(vec![0; size]),
            metadata: None,
            source: (source > 0).then(|| node(source)),
            origin: origin(who),
            id: None,
        };
        let size = draft.cost();
        let route = (who == 1).then(|| self.route.clone());
        // Some bodies have their room before they come: a half, all of it, or more than the message needs.
        let lent = size * u64::from(lent) / 2;
        let permits = (lent > 0).then(|| take_both(lent, &self.node, route.as_ref(), Turn::Behind).ok()).flatten();
        let lent = if permits.is_some() { lent } else { 0 };
        let loan = permits.map(|(node, route)| Loan::new(node, route));
        let coming = Coming { topic: name(topic), draft, route, loan, record: None };
        let pushed = self.step(|s, at, fx| s.push(coming, Waker::noop(), at, fx));
        let entry = Entry { seq: 0, topic, size, who, source, leased: false, redelivered: false };
        assert_eq!(pushed, self.model.push(entry, lent));
        if let Pushed::Waiting(ticket) = pushed {
            self.calls.insert(ticket, Call { topic: name(topic), reader: None, until: self.now });
        }
    }

    fn pop(&mut self, topic: usize, who: u8, source: u8, over: bool) {
        let until = if over { self.now } else { self.now + Duration::from_secs(1) };
        let popped = self.step(|s, at, fx| s.pop(&name(topic), &reader(who, source), until, Waker::noop(), at, fx));
        match (popped, self.model.find(topic, who, source)) {
            (Popped::Served(served), Some(seq)) => {
                let entry = self.model.entry(seq);
                entry.leased = true;
                assert_eq!((served.seq, served.redelivered), (seq, entry.redelivered));
            }
            (Popped::Waiting(ticket), None) => {
                assert_eq!(ticket, self.model.number());
                self.model.waiters.push(Waits { ticket, topic, who, source, over });
                self.calls.insert(ticket, Call { topic: name(topic), reader: Some(reader(who, source)), until });
            }
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, index: &prop::sample::Index) {
        let leased = self.model.fetched();
        let Some(entry) = (!leased.is_empty()).then(|| index.get(&leased)) else { return };
        assert!(self.step(|s, at, fx| s.commit(&name(entry.topic), entry.seq, at, fx)));
        self.model.entries.retain(|e| e.seq != entry.seq);
        self.model.rest(usize::MAX);
    }

    fn hand_back(&mut self, index: &prop::sample::Index) {
        let leased = self.model.fetched();
        let Some(entry) = (!leased.is_empty()).then(|| index.get(&leased)) else { return };
        self.back(&name(entry.topic), entry.seq);
    }

    fn back(&mut self, topic: &Topic, seq: u64) {
        let there = self.model.entries.iter().any(|e| e.seq == seq);
        assert_eq!(self.step(|s, at, fx| s.hand_back(topic, seq, at, fx)), there);
        if there {
            let entry = self.model.entry(seq);
            (entry.leased, entry.redelivered) = (false, true);
            self.model.serve();
        }
    }

    /// What a caller does that goes away: whatever it was served goes back.
    fn give_up(&mut self, index: &prop::sample::Index) {
        let Some((ticket, call)) = self.any_call(index) else { return };
        let outcome = self.step(|s, at, fx| s.give_up(call.standing(), ticket, at, fx));
        let expected = self.expected(ticket);
        assert_eq!(outcome.as_ref().map(kind), expected);
        if outcome.is_none() {
            self.model.waiters.retain(|w| w.ticket != ticket);
            if let Some(at) = self.model.pushes.iter().position(|(t, ..)| *t == ticket) {
                let (_, entry, lent) = self.model.pushes.remove(at);
                self.model.give_back_later(&entry, lent);
            }
            self.model.rest(usize::MAX);
        }
        if let Some(Outcome::Served(served)) = outcome {
            self.back(&call.topic, served.seq);
        }
    }

    fn fetch(&mut self, index: &prop::sample::Index) {
        let Some((ticket, call)) = self.any_call(index) else { return };
        let outcome = self.session.outcome(call.standing(), ticket, Waker::noop(), self.now);
        let expected = self.expected(ticket);
        assert_eq!(outcome.as_ref().map(kind), expected);
        if outcome.is_none() {
            self.calls.insert(ticket, call);
        }
    }

    fn any_call(&mut self, index: &prop::sample::Index) -> Option<(Ticket, Call)> {
        let tickets: Vec<_> = self.calls.keys().copied().collect();
        let ticket = (!tickets.is_empty()).then(|| *index.get(&tickets))?;
        self.calls.remove(&ticket).map(|call| (ticket, call))
    }

    fn expected(&mut self, ticket: Ticket) -> Option<Kind> {
        if let Some(at) = self.model.released.iter().position(|t| *t == ticket) {
            self.model.released.remove(at);
            return Some(Kind::Released);
        }
        self.model.outcomes.remove(&ticket).map(|outcome| outcome.map_or(Kind::Entered, Kind::Served))
    }

    fn compare(&self) {
        let (session, model) = (&self.session, &self.model);
        for topic in 0..TOPICS.len() {
            let queue = session.topics.get(&name(topic));
            let of = |leased| move |e: &&Entry| e.topic == topic && e.leased == leased;
            let numbers = |leased| {
                let mut all: Vec<_> = model.entries.iter().filter(of(leased)).map(|e| (e.seq, e.redelivered)).collect();
                all.sort_unstable();
                all
            };
            assert_eq!(queue.map(|q| q.ready.numbers()).unwrap_or_default(), numbers(false), "ready in {topic}");
            let leased: Vec<_> = queue.iter().flat_map(|q| q.leased.iter()).map(|m| (m.seq, m.redelivered)).collect();
            assert_eq!(leased, numbers(true), "leased in {topic}");
            let waiters = queue.map(|q| q.waiters.tickets(self.now)).unwrap_or_default();
            let expected = model.waiters.iter().filter(|w| w.topic == topic && !w.over).map(|w| w.ticket);
            assert_eq!(waiters, expected.collect::<Vec<_>>(), "waiters in {topic}");
            assert!(queue.is_none_or(|q| !q.is_empty()), "an empty queue is kept");
        }
        let calls = session.calls.as_deref();
        let pushes: Vec<_> = calls.iter().flat_map(|calls| &calls.room).map(|p| p.ticket).collect();
        assert_eq!(pushes, model.pushes.iter().map(|(t, ..)| *t).collect::<Vec<_>>());
        let load = session.load();
        assert_eq!((load.bytes, load.messages), (model.used(|_| true), model.entries.len()));
        assert_eq!(load.leased, model.entries.iter().filter(|e| e.leased).count());
        let lent = model.lent(|_| true);
        assert_eq!((self.node.used(), self.node.messages()), (load.bytes + lent, load.messages));
        assert_eq!(self.node.lent(), lent);
        assert_eq!(self.route.used(), model.used(|e| e.who == 1) + model.lent(|e| e.who == 1));
        assert_eq!(calls.map_or(0, |calls| calls.outcomes.len()), model.outcomes.len());
    }
}

#[derive(Debug, PartialEq)]
enum Kind {
    Entered,
    Served(u64),
    Released,
}

fn kind(outcome: &Outcome) -> Kind {
    match outcome {
        Outcome::Entered => Kind::Entered,
        Outcome::Served(served) => Kind::Served(served.seq),
        Outcome::NotWritten(why) => panic!("nothing is written here: {why}"),
        Outcome::Moved => panic!("nobody else has it here"),
        Outcome::Released => Kind::Released,
    }
}

fn name(topic: usize) -> Topic {
    Topic::new(TOPICS[topic])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_core_does_what_a_naive_model_does(operations in prop::collection::vec(operation(), 1..80)) {
        let mut pair = Pair::new();
        for operation in operations {
            pair.run(&operation);
        }
        pair.step(|session, setting, fx| {
            session.settle(setting, Turn::Front, fx);
            session.close(fx);
        });
        prop_assert_eq!((pair.session.load(), pair.node.used(), pair.route.used()), (Load::default(), 0, 0));
        prop_assert_eq!((pair.node.messages(), pair.node.lent()), (0, 0));
        prop_assert!(pair.session.waiting_pushes() == 0 && pair.session.topics.len() == 0);
    }
}
