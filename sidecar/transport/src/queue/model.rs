//! The core against a naive model: random operations, and after each the whole state compared.
//!
//! The model keeps flat lists and searches them; it has no queues, no order beyond numbers, and no permits.

use std::{collections::BTreeMap, task::Waker, time::Duration};

use bytes::Bytes;
use mesh_core::{NodeId, Topic};
use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    Bounds, Budget, Coming, Draft, Effects, Origin, Outcome, Popped, Pushed, Reader, Session, Setting, Ticket, Turn,
};

const TOPICS: [&str; 4] = ["t", "t-mesh-split-1", "tt", ""];
const SESSION_BYTES: u64 = 2500;
const NODE_BYTES: u64 = 2200;
const ROUTE_BYTES: u64 = 900;
const MESSAGES: usize = 7;

#[derive(Clone, Debug)]
enum Operation {
    Push { topic: usize, size: usize, who: u8, source: u8 },
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
        6 => (topic.clone(), 0..900usize, who.clone(), 0..2u8)
            .prop_map(|(topic, size, who, source)| Push { topic, size, who, source }),
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

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    seq: u64,
    topic: usize,
    size: u64,
    who: u8,
    source: u8,
    leased: bool,
    redelivered: bool,
}

#[derive(Clone, Debug)]
struct Waits {
    ticket: Ticket,
    topic: usize,
    who: u8,
    source: u8,
    over: bool,
}

/// The naive model.
#[derive(Clone, Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    waiters: Vec<Waits>,
    pushes: Vec<(Ticket, Entry)>,
    involved: Vec<u8>,
    /// `Some(seq)`: served; `None`: entered; absent from `released`.
    outcomes: BTreeMap<Ticket, Option<u64>>,
    released: Vec<Ticket>,
    next: u64,
}

impl Model {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn takes(&self, who: u8, source: u8, entry: &Entry) -> bool {
        let sees = who == 0 || who == entry.who || (entry.who == 0 && self.involved.contains(&who));
        sees && (source == 0 || source == entry.source)
    }

    fn used(&self, of: impl Fn(&Entry) -> bool) -> u64 {
        self.entries.iter().filter(|entry| of(entry)).map(|entry| entry.size).sum()
    }

    fn push(&mut self, entry: Entry) -> Pushed {
        if self.pushes.is_empty() && self.fits(&entry) == Fit::Yes {
            self.enter(entry);
            return Pushed::Entered;
        }
        let ticket = self.number();
        self.pushes.push((ticket, entry));
        self.rest();
        if self.outcomes.remove(&ticket).is_some() { Pushed::Entered } else { Pushed::Waiting(ticket) }
    }

    fn fits(&self, entry: &Entry) -> Fit {
        if entry.who == 1 && self.used(|e| e.who == 1) + entry.size > ROUTE_BYTES {
            return Fit::NoRoute;
        }
        let all = self.used(|_| true) + entry.size;
        if all > SESSION_BYTES.min(NODE_BYTES) || self.entries.len() >= MESSAGES { Fit::No } else { Fit::Yes }
    }

    fn enter(&mut self, mut entry: Entry) {
        if entry.who > 0 && !self.involved.contains(&entry.who) {
            self.involved.push(entry.who);
            self.serve();
        }
        entry.seq = self.number();
        self.entries.push(entry);
        self.serve();
    }

    /// Every waiter in order takes the lowest number it may have.
    fn serve(&mut self) {
        for waiter in self.waiters.clone() {
            let found = self.find(waiter.topic, waiter.who, waiter.source).filter(|_| !waiter.over);
            if let Some(seq) = found {
                self.entry(seq).leased = true;
                self.waiters.retain(|w| w.ticket != waiter.ticket);
                self.outcomes.insert(waiter.ticket, Some(seq));
            }
        }
    }

    fn find(&self, topic: usize, who: u8, source: u8) -> Option<u64> {
        let ready = self.entries.iter().filter(|e| !e.leased && e.topic == topic && self.takes(who, source, e));
        ready.map(|entry| entry.seq).min()
    }

    fn entry(&mut self, seq: u64) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.seq == seq).unwrap()
    }

    /// Leased messages that their readers have: only these can be committed or handed back.
    fn fetched(&self) -> Vec<Entry> {
        let pending = |seq| self.outcomes.values().any(|outcome| *outcome == Some(seq));
        self.entries.iter().filter(|e| e.leased && !pending(e.seq)).cloned().collect()
    }

    /// Lets in what fits, in order, until nothing more does.
    fn rest(&mut self) {
        let (mut i, mut stopped_topics, mut route_stopped) = (0, Vec::new(), false);
        while let Some((ticket, entry)) = self.pushes.get(i).cloned() {
            if stopped_topics.contains(&entry.topic) || (route_stopped && entry.who == 1) {
                i += 1;
                continue;
            }
            match self.fits(&entry) {
                Fit::Yes => {
                    self.pushes.remove(i);
                    self.outcomes.insert(ticket, None);
                    self.enter(entry);
                }
                Fit::No => break,
                Fit::NoRoute => {
                    stopped_topics.push(entry.topic);
                    route_stopped = true;
                    i += 1;
                }
            }
        }
    }

    fn release(&mut self, topic: usize, who: u8) {
        let name = TOPICS[topic];
        let reached =
            |t: usize| name.is_empty() || TOPICS[t] == name || TOPICS[t].starts_with(&format!("{name}-mesh-split-"));
        let model = self.clone();
        self.entries.retain(|e| !(reached(e.topic) && model.takes(who, 0, e)));
        let own = |other: u8| who == 0 || who == other;
        let woken = self.waiters.iter().filter(|w| reached(w.topic) && own(w.who)).map(|w| w.ticket);
        let pushes = self.pushes.iter().filter(|(_, e)| reached(e.topic) && own(e.who)).map(|(ticket, _)| *ticket);
        let tickets: Vec<_> = woken.chain(pushes).collect();
        self.waiters.retain(|w| !tickets.contains(&w.ticket));
        self.pushes.retain(|(ticket, _)| !tickets.contains(ticket));
        self.released.extend(tickets);
        self.rest();
    }
}

#[derive(PartialEq)]
enum Fit {
    Yes,
    No,
    NoRoute,
}

/// The core and the model, side by side.
struct Pair {
    session: Session,
    model: Model,
    node: std::sync::Arc<Budget>,
    route: std::sync::Arc<Budget>,
    bounds: Bounds,
    now: Instant,
    topics: BTreeMap<Ticket, usize>,
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
            topics: BTreeMap::new(),
        }
    }

    fn step<R>(&mut self, step: impl FnOnce(&mut Session, &Setting<'_>, &mut Effects) -> R) -> R {
        let setting = Setting { now: self.now, bounds: &self.bounds, node: &self.node };
        step(&mut self.session, &setting, &mut Effects::default())
    }

    fn run(&mut self, operation: &Operation) {
        match *operation {
            Operation::Push { topic, size, who, source } => self.push(topic, size, who, source),
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
                self.step(|s, at, fx| s.release(&name(topic), &origin(who), at, fx));
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
        self.compare();
    }

    fn push(&mut self, topic: usize, size: usize, who: u8, source: u8) {
        let draft = Draft {
            payload: Bytes::from(vec![0; size]),
            metadata: None,
            source: (source > 0).then(|| node(source)),
            origin: origin(who),
            id: None,
        };
        let size = draft.cost();
        let route = (who == 1).then(|| self.route.clone());
        let coming = Coming { topic: name(topic), draft, route };
        let pushed = self.step(|s, at, fx| s.push(coming, Waker::noop(), at, fx));
        let entry = Entry { seq: 0, topic, size, who, source, leased: false, redelivered: false };
        assert_eq!(pushed, self.model.push(entry));
        if let Pushed::Waiting(ticket) = pushed {
            self.topics.insert(ticket, topic);
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
                self.topics.insert(ticket, topic);
            }
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, index: &prop::sample::Index) {
        let leased = self.model.fetched();
        let Some(entry) = (!leased.is_empty()).then(|| index.get(&leased)) else { return };
        assert!(self.step(|s, at, fx| s.commit(&name(entry.topic), entry.seq, at, fx)));
        self.model.entries.retain(|e| e.seq != entry.seq);
        self.model.rest();
    }

    fn hand_back(&mut self, index: &prop::sample::Index) {
        let leased = self.model.fetched();
        let Some(entry) = (!leased.is_empty()).then(|| index.get(&leased)) else { return };
        self.back(entry.topic, entry.seq);
    }

    fn back(&mut self, topic: usize, seq: u64) {
        let there = self.model.entries.iter().any(|e| e.seq == seq);
        assert_eq!(self.step(|s, at, fx| s.hand_back(&name(topic), seq, at, fx)), there);
        if there {
            let entry = self.model.entry(seq);
            (entry.leased, entry.redelivered) = (false, true);
            self.model.serve();
        }
    }

    /// What a caller does that goes away: whatever it was served goes back.
    fn give_up(&mut self, index: &prop::sample::Index) {
        let Some((ticket, topic)) = self.any_ticket(index) else { return };
        let outcome = self.step(|s, at, fx| s.give_up(&name(topic), ticket, at, fx));
        let expected = self.expected(ticket);
        assert_eq!(outcome.as_ref().map(kind), expected);
        if outcome.is_none() {
            self.model.waiters.retain(|w| w.ticket != ticket);
            self.model.pushes.retain(|(t, _)| *t != ticket);
            self.model.rest();
        }
        if let Some(Outcome::Served(served)) = outcome {
            self.back(topic, served.seq);
        }
    }

    fn fetch(&mut self, index: &prop::sample::Index) {
        let Some((ticket, topic)) = self.any_ticket(index) else { return };
        let outcome = self.session.outcome(&name(topic), ticket, Waker::noop());
        let expected = self.expected(ticket);
        assert_eq!(outcome.as_ref().map(kind), expected);
        if outcome.is_none() {
            self.topics.insert(ticket, topic);
        }
    }

    fn any_ticket(&mut self, index: &prop::sample::Index) -> Option<(Ticket, usize)> {
        let tickets: Vec<_> = self.topics.keys().copied().collect();
        let ticket = (!tickets.is_empty()).then(|| *index.get(&tickets))?;
        self.topics.remove(&ticket).map(|topic| (ticket, topic))
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
            let queue = session.queues.get(&name(topic));
            let of = |leased| move |e: &&Entry| e.topic == topic && e.leased == leased;
            let numbers = |leased| model.entries.iter().filter(of(leased)).map(|e| (e.seq, e.redelivered));
            let mut expected: Vec<_> = numbers(false).collect();
            expected.sort_unstable();
            let ready: Vec<_> = queue.iter().flat_map(|q| &q.ready).map(|m| (m.seq, m.redelivered)).collect();
            assert_eq!(ready, expected, "ready in {topic}");
            let mut leased: Vec<_> = queue.iter().flat_map(|q| &q.leased).map(|m| (m.seq, m.redelivered)).collect();
            let mut expected: Vec<_> = numbers(true).collect();
            leased.sort_unstable();
            expected.sort_unstable();
            assert_eq!(leased, expected, "leased in {topic}");
            let waiters: Vec<_> = queue.iter().flat_map(|q| &q.waiters).map(|w| w.ticket).collect();
            let expected: Vec<_> = model.waiters.iter().filter(|w| w.topic == topic).map(|w| w.ticket).collect();
            assert_eq!(waiters, expected, "waiters in {topic}");
            assert!(queue.is_none_or(|q| !q.is_empty()), "an empty queue is kept");
        }
        let pushes: Vec<_> = session.room.iter().map(|p| p.ticket).collect();
        assert_eq!(pushes, model.pushes.iter().map(|(t, _)| *t).collect::<Vec<_>>());
        assert_eq!((session.bytes, session.messages), (model.used(|_| true), model.entries.len()));
        assert_eq!((self.node.used(), self.node.held()), (session.bytes, session.messages));
        assert_eq!(self.route.used(), model.used(|e| e.who == 1));
        assert_eq!(session.outcomes.len(), model.outcomes.len() + model.released.len());
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
        prop_assert_eq!((pair.session.bytes, pair.session.messages, pair.node.used(), pair.route.used()), (0, 0, 0, 0));
        prop_assert!(pair.session.room.is_empty() && pair.session.queues.is_empty());
    }
}
