//! The naive model: flat lists, searched from one end to the other.

use std::collections::BTreeMap;

use super::{MESSAGES, NODE_BYTES, ROUTE_BYTES, SESSION_BYTES, TOPICS};
use crate::queue::{Pushed, Ticket};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) topic: usize,
    pub(super) size: u64,
    pub(super) who: u8,
    pub(super) source: u8,
    pub(super) leased: bool,
    pub(super) redelivered: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Waits {
    pub(super) ticket: Ticket,
    pub(super) topic: usize,
    pub(super) who: u8,
    pub(super) source: u8,
    pub(super) over: bool,
}

/// The naive model.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) entries: Vec<Entry>,
    pub(super) waiters: Vec<Waits>,
    /// Pushes that wait, each with what it has on loan.
    pub(super) pushes: Vec<(Ticket, Entry, u64)>,
    pub(super) involved: Vec<u8>,
    /// `Some(seq)`: served; `None`: entered; absent from `released`.
    pub(super) outcomes: BTreeMap<Ticket, Option<u64>>,
    pub(super) released: Vec<Ticket>,
    pub(super) next: u64,
    /// Bytes of the node, and of partner 1's route, that are given back only after the step.
    pub(super) late: (u64, u64),
}

impl Model {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn takes(&self, who: u8, source: u8, entry: &Entry) -> bool {
        let sees = who == 0 || who == entry.who || (entry.who == 0 && self.involved.contains(&who));
        sees && (source == 0 || source == entry.source)
    }

    pub(super) fn used(&self, of: impl Fn(&Entry) -> bool) -> u64 {
        self.entries.iter().filter(|entry| of(entry)).map(|entry| entry.size).sum()
    }

    /// What is on loan of the node, or of partner 1's route.
    pub(super) fn lent(&self, of: impl Fn(&Entry) -> bool) -> u64 {
        self.pushes.iter().filter(|(_, entry, _)| of(entry)).map(|(.., lent)| lent).sum()
    }

    pub(super) fn push(&mut self, entry: Entry, lent: u64) -> Pushed {
        let ticket = self.number();
        let nobody_waits = self.pushes.is_empty();
        self.pushes.push((ticket, entry.clone(), lent));
        if nobody_waits && self.fits(&entry, lent) == Fit::Yes {
            self.next -= 1;
            self.pushes.pop();
            self.give_back_later(&entry, lent.saturating_sub(entry.size));
            self.enter(entry);
            return Pushed::Entered;
        }
        self.rest(usize::MAX);
        if self.outcomes.remove(&ticket).is_some() { Pushed::Entered } else { Pushed::Waiting(ticket) }
    }

    pub(super) fn give_back_later(&mut self, entry: &Entry, bytes: u64) {
        self.late.0 += bytes;
        self.late.1 += if entry.who == 1 { bytes } else { 0 };
    }

    /// Whether there is room for `entry`, one of the waiting pushes, which has `lent` already.
    pub(super) fn fits(&self, entry: &Entry, lent: u64) -> Fit {
        let lacking = entry.size.saturating_sub(lent);
        let theirs = |e: &Entry| e.who == 1;
        let used_of_route = self.used(theirs) + self.lent(theirs) + self.late.1;
        if entry.who == 1 && lacking > 0 && used_of_route + lacking > ROUTE_BYTES {
            return Fit::NoRoute;
        }
        let (all, lent_of_all) = (self.used(|_| true), self.lent(|_| true));
        let session = all + entry.size > SESSION_BYTES || self.entries.len() >= MESSAGES;
        let node = lacking > 0 && all + lent_of_all + self.late.0 + lacking > NODE_BYTES;
        if session || node { Fit::No } else { Fit::Yes }
    }

    pub(super) fn enter(&mut self, mut entry: Entry) {
        if entry.who > 0 && !self.involved.contains(&entry.who) {
            self.involved.push(entry.who);
            self.serve();
        }
        entry.seq = self.number();
        self.entries.push(entry);
        self.serve();
    }

    /// Every waiter in order takes the lowest number it may have.
    pub(super) fn serve(&mut self) {
        for waiter in self.waiters.clone() {
            let found = self.find(waiter.topic, waiter.who, waiter.source).filter(|_| !waiter.over);
            if let Some(seq) = found {
                self.entry(seq).leased = true;
                self.waiters.retain(|w| w.ticket != waiter.ticket);
                self.outcomes.insert(waiter.ticket, Some(seq));
            }
        }
    }

    pub(super) fn find(&self, topic: usize, who: u8, source: u8) -> Option<u64> {
        let ready = self.entries.iter().filter(|e| !e.leased && e.topic == topic && self.takes(who, source, e));
        ready.map(|entry| entry.seq).min()
    }

    pub(super) fn entry(&mut self, seq: u64) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.seq == seq).unwrap()
    }

    /// Leased messages that their readers have: only these can be committed or handed back.
    pub(super) fn fetched(&self) -> Vec<Entry> {
        let pending = |seq| self.outcomes.values().any(|outcome| *outcome == Some(seq));
        self.entries.iter().filter(|e| e.leased && !pending(e.seq)).cloned().collect()
    }

    /// Lets in what fits, in order, `most` of it. Answers whether anything did.
    pub(super) fn rest(&mut self, most: usize) -> bool {
        let before = self.pushes.len();
        let (mut i, mut stopped_topics, mut route_stopped) = (0, Vec::new(), false);
        while let Some((ticket, entry, lent)) =
            self.pushes.get(i).cloned().filter(|_| before - self.pushes.len() < most)
        {
            if stopped_topics.contains(&entry.topic) || (route_stopped && entry.who == 1) {
                i += 1;
                continue;
            }
            match self.fits(&entry, lent) {
                Fit::Yes => {
                    self.pushes.remove(i);
                    self.outcomes.insert(ticket, None);
                    self.give_back_later(&entry, lent.saturating_sub(entry.size));
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
        self.pushes.len() < before
    }

    pub(super) fn release(&mut self, topic: usize, who: u8) {
        let name = TOPICS[topic];
        let reached =
            |t: usize| name.is_empty() || TOPICS[t] == name || TOPICS[t].starts_with(&format!("{name}-mesh-split-"));
        let model = self.clone();
        let goes = |e: &Entry| reached(e.topic) && model.takes(who, 0, e);
        model.entries.iter().filter(|e| goes(e)).for_each(|e| self.give_back_later(e, e.size));
        self.entries.retain(|e| !goes(e));
        let own = |other: u8| who == 0 || who == other;
        let woken = self.waiters.iter().filter(|w| reached(w.topic) && own(w.who));
        // Those past their time end empty by themselves.
        let released: Vec<_> = woken.clone().filter(|w| !w.over).map(|w| w.ticket).collect();
        let woken: Vec<_> = woken.map(|w| w.ticket).collect();
        let pushes = self.pushes.iter().filter(|(_, e, _)| reached(e.topic) && own(e.who)).map(|(ticket, ..)| *ticket);
        let pushes: Vec<_> = pushes.collect();
        self.waiters.retain(|w| !woken.contains(&w.ticket));
        for (_, entry, lent) in model.pushes.iter().filter(|(ticket, ..)| pushes.contains(ticket)) {
            self.give_back_later(entry, *lent);
        }
        self.pushes.retain(|(ticket, ..)| !pushes.contains(ticket));
        self.released.extend(released.into_iter().chain(pushes));
        self.rest(usize::MAX);
    }
}

#[derive(PartialEq)]
pub(super) enum Fit {
    Yes,
    No,
    NoRoute,
}
