//! One queue: the messages of a topic in order, those that are leased, and the pops that wait (PTP sections 9.1, 9.3).
//!
//! Two lists of messages, both known by sequence number: `ready` in order of place, `leased` for those that were given
//! out and are not committed. A leased message keeps its place by its number and its bytes in the budgets. No waiter
//! ever waits beside a ready message that it would take.

use std::{collections::VecDeque, task::Waker};

use mesh_core::NodeId;
use tokio::time::Instant;

use super::{
    message::{Message, Origin, Reader, Served},
    session::Ticket,
};

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(super) ready: VecDeque<Message>,
    pub(super) leased: Vec<Message>,
    pub(super) waiters: VecDeque<Waiter>,
}

/// A pop that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) reader: Reader,
    /// When it answers empty; past that it is served no more.
    pub(super) until: Instant,
    pub(super) waker: Waker,
}

impl Queue {
    /// Nothing in it and nobody waiting: it need not be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.leased.is_empty() && self.waiters.is_empty()
    }

    /// Gives `message` to the oldest waiter that takes it, or puts it at its place.
    pub(super) fn arrive(&mut self, message: Message, now: Instant, involved: &[NodeId]) -> Option<(Waiter, Served)> {
        let taker = self.waiters.iter().position(|w| w.until > now && w.reader.takes(&message, involved));
        let Some(waiter) = taker.and_then(|i| self.waiters.remove(i)) else {
            self.put(message);
            return None;
        };
        let served = message.served();
        self.leased.push(message);
        Some((waiter, served))
    }

    /// Leases the oldest message that `reader` takes.
    pub(super) fn lease(&mut self, reader: &Reader, involved: &[NodeId]) -> Option<Served> {
        let at = self.ready.iter().position(|m| reader.takes(m, involved))?;
        let message = self.ready.remove(at)?;
        let served = message.served();
        self.leased.push(message);
        Some(served)
    }

    /// The oldest message that `reader` takes; it stays.
    pub(super) fn look(&self, reader: &Reader, involved: &[NodeId]) -> Option<Served> {
        self.ready.iter().find(|m| reader.takes(m, involved)).map(Message::served)
    }

    /// Takes the message of a lease out of the leased ones; `None` when it was released meanwhile.
    pub(super) fn end_lease(&mut self, seq: u64) -> Option<Message> {
        let at = self.leased.iter().position(|m| m.seq == seq)?;
        Some(self.leased.swap_remove(at))
    }

    /// Serves the waiters of `partner` that may see more than they did.
    pub(super) fn serve_again(&mut self, partner: &NodeId, now: Instant, involved: &[NodeId]) -> Vec<(Waiter, Served)> {
        let mut served = Vec::new();
        let mut i = 0;
        while let Some(waiter) = self.waiters.get(i) {
            let affected = waiter.until > now && waiter.reader.who == Origin::Partner(partner.clone());
            let reader = waiter.reader.clone();
            match affected.then(|| self.lease(&reader, involved)).flatten() {
                Some(message) => served.extend(self.waiters.remove(i).map(|waiter| (waiter, message))),
                None => i += 1,
            }
        }
        served
    }

    /// Takes out the ready messages that came before `limit`.
    pub(super) fn expire(&mut self, limit: Instant) -> Vec<Message> {
        let mut gone = Vec::new();
        while self.ready.front().is_some_and(|m| m.since < limit) {
            gone.extend(self.ready.pop_front());
        }
        gone
    }

    /// Where the waiter with `ticket` stands.
    pub(super) fn waiter(&self, ticket: Ticket) -> Option<usize> {
        self.waiters.binary_search_by_key(&ticket, |w| w.ticket).ok()
    }

    fn put(&mut self, message: Message) {
        if self.ready.back().is_none_or(|last| last.seq < message.seq) {
            self.ready.push_back(message);
        } else {
            let place = self.ready.partition_point(|m| m.seq < message.seq);
            self.ready.insert(place, message);
        }
    }
}
