//! Byte budgets: how much may be queued, and the permits that travel with each message.
//!
//! A permit gives its bytes back when it is dropped, wherever that happens, so a budget cannot leak. Who stands in line
//! for room is the shell's business; the budget only knows that there is a line, and then lets nobody jump it.

use std::sync::Arc;

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// A number of bytes that may be queued.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    held: AtomicUsize,
    line: AtomicUsize,
}

/// Some bytes of a budget.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

/// Whether the taker may pass those who stand in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It comes last.
    Behind,
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
        if turn == Turn::Behind && self.line.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let limit = self.limit();
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        self.held.fetch_add(1, Ordering::Relaxed);
        Some(Permit { budget: Arc::clone(self), bytes })
    }

    /// How much may be used.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The bound may change at any time; what is queued stays.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How much is used.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// How many permits are out.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many sessions stand in line.
    pub(crate) fn line(&self) -> usize {
        self.line.load(Ordering::SeqCst)
    }

    /// Says how many sessions stand in line now.
    pub(crate) fn set_line(&self, length: usize) {
        self.line.store(length, Ordering::SeqCst);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        self.budget.held.fetch_sub(1, Ordering::Relaxed);
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
        assert_eq!((budget.used(), budget.held()), (10, 2));
        drop((six, four));
        assert_eq!((budget.used(), budget.held()), (0, 0));
    }

    #[test]
    fn nobody_jumps_the_line() {
        let budget = Budget::new(10);
        budget.set_line(1);
        assert!(budget.take(1, Turn::Behind).is_none());
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
