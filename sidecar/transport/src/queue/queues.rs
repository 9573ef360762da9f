//! One queue: the messages of a topic in order, those that are leased, and the pops that wait (PTP sections 9.1, 9.3).
//!
//! Messages are known by sequence number: `ready` in order of place, `leased` for those that were given out and are not
//! committed. A leased message keeps its place by its number and its bytes in the budgets. No waiter ever waits beside a
//! ready message that it would take.

use std::collections::HashSet;

use mesh_core::NodeId;
use tokio::time::Instant;

use super::{
    involved::Involved,
    message::{Message, Origin, Reader, Served},
    ready::Ready,
    row::Row,
    waiters::{Waiter, Waiters},
};

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(super) ready: Ready,
    pub(super) leased: Row,
    pub(super) waiters: Waiters,
}

/// How much there is, in a queue or a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Messages, ready or leased.
    pub(crate) messages: usize,
    /// Those that are leased.
    pub(crate) leased: usize,
    /// What all of them are charged.
    pub(crate) bytes: u64,
    /// Pops that wait.
    pub(crate) waiters: usize,
}

impl Queue {
    /// Nothing in it and nobody waiting: it need not be kept.
    #[cfg(test)]
    #[cfg(not(feature = "shuttle"))]
    pub(super) fn is_empty(&self) -> bool {
        self.load() == Load::default()
    }

    pub(super) fn load(&self) -> Load {
        Load {
            messages: self.ready.len() + self.leased.len(),
            leased: self.leased.len(),
            bytes: self.ready.bytes() + self.leased.bytes(),
            waiters: self.waiters.len(),
        }
    }

    /// When its oldest message came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.ready.oldest().into_iter().chain(self.leased.oldest()).min()
    }

    /// Gives `message` to the oldest waiter that takes it, or puts it at its place.
    pub(super) fn arrive(
        &mut self,
        message: Box<Message>,
        now: Instant,
        involved: &Involved,
    ) -> Option<(Waiter, Served)> {
        let Some(waiter) = self.waiters.take(&message.draft, involved, now) else {
            self.ready.put(message);
            return None;
        };
        Some((waiter, self.give_out(message)))
    }

    /// Leases the oldest message that `reader` takes.
    pub(super) fn lease(&mut self, reader: &Reader, involved: &Involved) -> Option<Served> {
        let message = self.ready.take(reader, involved)?;
        Some(self.give_out(message))
    }

    /// The oldest message that `reader` takes; it stays.
    pub(super) fn look(&self, reader: &Reader, involved: &Involved) -> Option<Served> {
        self.ready.look(reader, involved).map(Message::served)
    }

    /// Takes the message of a lease out of the leased ones; `None` when it was released meanwhile.
    pub(super) fn end_lease(&mut self, seq: u64) -> Option<Box<Message>> {
        self.leased.remove(seq)
    }

    /// Serves the waiters of `partner`, which may see more than they did, in order.
    pub(super) fn serve_again(&mut self, partner: &NodeId, now: Instant, involved: &Involved) -> Vec<(Waiter, Served)> {
        let mut served = Vec::new();
        // What one found nothing of, no later one finds either.
        let mut nothing_of = HashSet::new();
        for (ticket, source) in self.waiters.of_partner(partner) {
            if nothing_of.contains(&source) {
                continue;
            }
            let reader = Reader { who: Origin::Partner(partner.clone()), source };
            if self.ready.look(&reader, involved).is_none() {
                nothing_of.insert(reader.source);
                continue;
            }
            let Some(waiter) = self.waiters.remove(&reader, ticket).filter(|waiter| waiter.until > now) else {
                continue;
            };
            served.extend(self.lease(&reader, involved).map(|message| (waiter, message)));
        }
        served
    }

    /// Takes out up to `most` ready messages that came before `limit`.
    #[allow(clippy::vec_box, reason = "they lie in boxes, and are not moved out of them to be freed")]
    pub(super) fn expire(&mut self, limit: Instant, most: usize) -> Vec<Box<Message>> {
        std::iter::from_fn(|| self.ready.take_older(limit)).take(most).collect()
    }

    /// Takes out the messages that `who` may see and the waiters that are `who`'s; an application's are all of them.
    pub(super) fn release(&mut self, who: &Origin, involved: &Involved) -> (Vec<Row>, Waiters) {
        let mut gone = self.ready.release(who, involved);
        gone.push(match who {
            Origin::Application => std::mem::take(&mut self.leased),
            Origin::Partner(_) => self.leased.split(|message| who.sees(&message.draft.origin, involved)),
        });
        (gone, self.waiters.release(who))
    }

    fn give_out(&mut self, message: Box<Message>) -> Served {
        let served = message.served();
        self.leased.put(message);
        served
    }
}
