//! How many calls an instance has under way, and whose: partners get a share, and never all.
//!
//! A body that its caller never finishes keeps its place for as long as it likes, so that whoever takes all places takes the
//! service away from the node's own applications.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use mesh_core::NodeId;
use parking_lot::Mutex;

/// The calls under way at one instance.
#[derive(Debug)]
pub(crate) struct Calls {
    most: Most,
    all: AtomicUsize,
    of_partners: AtomicUsize,
    /// Of each partner that has any. Looked at for partners' calls alone.
    each: Mutex<HashMap<NodeId, usize>>,
}

/// How many calls an instance takes at once: one number for all, which the configuration may change.
#[derive(Clone, Debug)]
pub(crate) struct Most(Arc<AtomicUsize>);

impl Most {
    pub(crate) fn set(&self, most: u32) {
        self.0.store(usize::try_from(most).unwrap_or(usize::MAX), Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl From<usize> for Most {
    fn from(most: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(most)))
    }
}

/// Why a call finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// It has as many as it takes.
    Whole(usize),
    /// Partners together have their share.
    Partners(usize),
    /// This partner has its own.
    Partner(usize),
}

impl Calls {
    pub(crate) fn new(most: Most) -> Self {
        Self { most, all: AtomicUsize::new(0), of_partners: AtomicUsize::new(0), each: Mutex::default() }
    }

    /// Three quarters of all: a quarter is the node's own.
    fn of_all_partners(&self) -> usize {
        (self.most.get() * 3 / 4).max(1)
    }

    /// Half of all: what one partner leaves undone does not shut the others out.
    fn of_one_partner(&self) -> usize {
        (self.most.get() / 2).max(1)
    }

    /// The calls under way.
    pub(crate) fn under_way(&self) -> usize {
        self.all.load(Relaxed)
    }

    /// Why a call of the node's own, or of this partner, finds no room now.
    pub(crate) fn full(&self, partner: Option<&NodeId>) -> Option<Full> {
        if self.under_way() >= self.most.get() {
            return Some(Full::Whole(self.most.get()));
        }
        let partner = partner?;
        let (together, all, one) = (self.of_partners.load(Relaxed), self.of_all_partners(), self.of_one_partner());
        if together >= all {
            return Some(Full::Partners(all));
        }
        // As long as all of them have less than that, this one has.
        (together >= one && self.each.lock().get(partner).is_some_and(|calls| *calls >= one))
            .then_some(Full::Partner(one))
    }

    /// Counts a call in.
    ///
    /// # Errors
    /// Why there is no room for it.
    pub(crate) fn enter(&self, partner: Option<&NodeId>) -> Result<(), Full> {
        if self.all.fetch_add(1, Relaxed) >= self.most.get() {
            self.all.fetch_sub(1, Relaxed);
            return Err(Full::Whole(self.most.get()));
        }
        let entered = partner.map_or(Ok(()), |partner| self.enter_of(partner));
        if entered.is_err() {
            self.all.fetch_sub(1, Relaxed);
        }
        entered
    }

    fn enter_of(&self, partner: &NodeId) -> Result<(), Full> {
        let mut each = self.each.lock();
        let (all, one) = (self.of_all_partners(), self.of_one_partner());
        if self.of_partners.load(Relaxed) >= all {
            return Err(Full::Partners(all));
        }
        match each.get_mut(partner) {
            Some(calls) if *calls >= one => return Err(Full::Partner(one)),
            Some(calls) => *calls += 1,
            None => drop(each.insert(partner.clone(), 1)),
        }
        self.of_partners.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Counts a call out.
    pub(crate) fn leave(&self, partner: Option<&NodeId>) {
        if let Some(partner) = partner {
            let mut each = self.each.lock();
            self.of_partners.fetch_sub(1, Relaxed);
            if let Some(calls) = each.get_mut(partner) {
                *calls -= 1;
                if *calls == 0 {
                    each.remove(partner);
                }
            }
        }
        self.all.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(calls: &Calls, partner: Option<&NodeId>, times: usize) -> usize {
        (0..times).filter(|_| calls.enter(partner).is_ok()).count()
    }

    #[test]
    fn one_partner_gets_half_all_of_them_three_quarters_and_the_nodes_own_calls_the_rest() {
        let calls = Calls::new(16.into());
        let (b, c) = (NodeId::new("B"), NodeId::new("C"));
        assert_eq!(entered(&calls, Some(&b), 16), 8);
        assert_eq!(
            (calls.full(Some(&b)), calls.full(Some(&c)), calls.full(None)),
            (Some(Full::Partner(8)), None, None)
        );
        assert_eq!(entered(&calls, Some(&c), 16), 4);
        assert_eq!((calls.full(Some(&c)), calls.full(None)), (Some(Full::Partners(12)), None));
        assert_eq!(entered(&calls, None, 16), 4);
        assert_eq!((calls.full(None), calls.under_way()), (Some(Full::Whole(16)), 16));
    }

    #[test]
    fn the_nodes_own_calls_may_take_all() {
        let calls = Calls::new(16.into());
        assert_eq!(entered(&calls, None, 17), 16);
        assert_eq!(calls.enter(Some(&NodeId::new("B"))), Err(Full::Whole(16)));
    }

    #[test]
    fn a_call_that_ends_makes_room_for_its_own_kind() {
        let (calls, b) = (Calls::new(4.into()), NodeId::new("B"));
        assert_eq!(entered(&calls, Some(&b), 4), 2);
        calls.leave(Some(&b));
        assert_eq!((calls.full(Some(&b)), entered(&calls, Some(&b), 4), calls.under_way()), (None, 1, 2));
        calls.leave(Some(&b));
        calls.leave(Some(&b));
        assert!(calls.each.lock().is_empty() && calls.under_way() == 0, "nothing is kept of whoever is gone");
    }

    #[test]
    fn even_a_single_place_is_open_to_a_partner() {
        assert_eq!(entered(&Calls::new(1.into()), Some(&NodeId::new("B")), 2), 1);
    }

    #[test]
    fn the_bound_may_be_changed_while_calls_are_under_way() {
        let most = Most::from(2);
        let calls = Calls::new(most.clone());
        assert_eq!(entered(&calls, None, 9), 2);
        most.set(5);
        assert_eq!(entered(&calls, None, 9), 3);
        most.set(1);
        assert_eq!((entered(&calls, None, 9), calls.full(None)), (0, Some(Full::Whole(1))));
    }
}
