//! Byte budgets: how much may be held, and the permits that travel with what holds it.
//!
//! A permit gives its bytes back when it is dropped, wherever that happens, so a budget cannot leak. Who stands in line
//! for room is the shell's business; the budget only knows that there is a line, and then lets nobody jump it.

use std::sync::Arc;

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// A number of bytes that may be held.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    /// What of it is on loan: bodies that are read, answers that pass through.
    lent: AtomicU64,
    /// How many messages hold the rest.
    messages: AtomicUsize,
    line: AtomicUsize,
    /// How many of the line have some of their room already.
    begun: AtomicUsize,
}

/// Some bytes of a budget.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

/// The bytes that a message holds in the budgets.
#[derive(Debug)]
pub(crate) struct Charge {
    /// The number of bytes, which the session counts itself.
    pub(crate) bytes: u64,
    /// Those of the node, and those of the partner's route, where a partner pushed. `None`: given back.
    held: Option<(Permit, Option<Permit>)>,
}

/// Whether the taker may pass those who stand in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It comes last.
    Behind,
    /// It has had a turn, and needs more for the same body: only those like it stand before it.
    Begun,
    /// It is its turn.
    Front,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        let budget = Self::default();
        budget.set_limit(limit);
        Arc::new(budget)
    }

    /// Takes `bytes`, if they are there and nobody stands before the taker.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64, turn: Turn) -> Option<Permit> {
        let before = match turn {
            Turn::Behind => self.line(),
            Turn::Begun => self.begun.load(Ordering::SeqCst),
            Turn::Front => 0,
        };
        if before > 0 {
            return None;
        }
        let limit = self.limit();
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        Some(Permit { budget: Arc::clone(self), bytes })
    }

    /// Takes `bytes`, even if they are not there.
    fn take_anyway(self: &Arc<Self>, bytes: u64) -> Permit {
        self.used.fetch_add(bytes, Ordering::SeqCst);
        Permit { budget: Arc::clone(self), bytes }
    }

    /// How much may be used.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The bound may change at any time; what is held stays.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How much is used.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// How much of it is on loan, and not a message's yet.
    pub(crate) fn lent(&self) -> u64 {
        self.lent.load(Ordering::Relaxed)
    }

    /// How many messages hold some of it.
    pub(crate) fn messages(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }

    /// How many stand in line.
    pub(crate) fn line(&self) -> usize {
        self.line.load(Ordering::SeqCst)
    }

    /// Says how many stand in line now, and how many of them have some of their room.
    pub(crate) fn set_line(&self, length: usize, begun: usize) {
        self.begun.store(begun, Ordering::SeqCst);
        self.line.store(length, Ordering::SeqCst);
    }

    /// Whether so much more may go on loan to somebody who will need more still: half of it all at most, so that what is
    /// begun can be finished with the other half.
    pub(crate) fn may_lend_a_part(&self, bytes: u64) -> bool {
        self.lent().saturating_add(bytes) <= self.limit() / 2
    }

    /// Counts bytes that go on loan.
    pub(super) fn lend(&self, bytes: u64) {
        self.lent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that come back from a loan.
    pub(super) fn unlend(&self, bytes: u64) {
        self.lent.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Permit {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Takes in another permit of the same budget.
    pub(super) fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives away `bytes` of its own, or all that it has.
    pub(super) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: Arc::clone(&self.budget), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        }
    }
}

impl Charge {
    pub(super) fn new(bytes: u64, node: Permit, route: Option<Permit>) -> Self {
        node.budget.messages.fetch_add(1, Ordering::Relaxed);
        Self { bytes, held: Some((node, route)) }
    }

    /// Takes `bytes` of both, even if they are not there.
    pub(crate) fn anyway(bytes: u64, node: &Arc<Budget>, route: Option<&Arc<Budget>>) -> Self {
        Self::new(bytes, node.take_anyway(bytes), route.map(|route| route.take_anyway(bytes)))
    }

    /// Gives the bytes back before the message is gone altogether.
    pub(super) fn give_back(&mut self) {
        if let Some((node, _)) = self.held.take() {
            node.budget.messages.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn a_permit_gives_its_bytes_back_wherever_it_is_dropped() {
        let budget = Budget::new(10);
        let six = budget.take(6, Turn::Behind).unwrap();
        assert!(budget.take(5, Turn::Behind).is_none());
        let four = budget.take(4, Turn::Behind).unwrap();
        assert_eq!(budget.used(), 10);
        drop((six, four));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_permit_that_is_split_and_put_together_gives_back_what_was_taken() {
        let budget = Budget::new(10);
        let mut all = budget.take(9, Turn::Behind).unwrap();
        let mut part = all.split(4);
        assert_eq!((all.bytes(), part.bytes()), (5, 4));
        let rest = part.split(100);
        all.absorb(rest);
        drop(part);
        assert_eq!((all.bytes(), budget.used()), (9, 9));
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_charge_counts_its_message_until_it_is_given_back() {
        let budget = Budget::new(10);
        let mut charge = Charge::new(4, budget.take(4, Turn::Behind).unwrap(), None);
        assert_eq!((budget.messages(), budget.used()), (1, 4));
        charge.give_back();
        assert_eq!((budget.messages(), budget.used()), (0, 0));
        drop(charge);
        assert_eq!((budget.messages(), budget.used()), (0, 0));
    }

    #[test]
    fn nobody_jumps_the_line() {
        let budget = Budget::new(10);
        budget.set_line(1, 0);
        assert!(budget.take(1, Turn::Behind).is_none());
        assert!(budget.take(1, Turn::Begun).is_some(), "it has had its turn");
        budget.set_line(1, 1);
        assert!(budget.take(1, Turn::Begun).is_none());
        assert!(budget.take(1, Turn::Front).is_some());
    }

    #[test]
    fn a_bound_made_smaller_keeps_what_is_there() {
        let budget = Budget::new(10);
        let _all = budget.take(10, Turn::Behind).unwrap();
        budget.set_limit(5);
        assert!(budget.take(1, Turn::Behind).is_none());
        assert!(budget.take(u64::MAX, Turn::Behind).is_none());
    }
}
