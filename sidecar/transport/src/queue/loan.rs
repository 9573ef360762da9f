//! Room that is held for bytes which are in no queue (yet): a body that is read, an answer that passes through.
//!
//! It is shared by whoever holds the bytes and by the message that is made of them. As the message enters its queue, as
//! much of the loan as it needs becomes its charge, so nothing is counted twice; the rest goes back with the last holder.

use std::sync::Arc;

use super::budget::{Budget, Permit, Turn};
use crate::sync::Mutex;

/// Room on loan.
#[derive(Debug)]
pub(crate) struct Loan(Mutex<Permits>);

#[derive(Debug)]
struct Permits {
    node: Permit,
    /// Of the partner's route, where a partner sends; as much as of the node.
    route: Option<Permit>,
}

impl Loan {
    pub(crate) fn new(node: Permit, route: Option<Permit>) -> Arc<Self> {
        [Some(&node), route.as_ref()].into_iter().flatten().for_each(lend);
        Arc::new(Self(Mutex::new(Permits { node, route })))
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().node.bytes()
    }

    /// Takes in more.
    pub(crate) fn add(&self, node: Permit, route: Option<Permit>) {
        let mut held = self.0.lock();
        [Some(&node), route.as_ref()].into_iter().flatten().for_each(lend);
        held.node.absorb(node);
        match (&mut held.route, route) {
            (Some(mine), Some(more)) => mine.absorb(more),
            (mine, more) => *mine = mine.take().or(more),
        }
    }

    /// Gives back what is above `bytes`.
    pub(crate) fn shrink_to(&self, bytes: u64) {
        let mut held = self.0.lock();
        let surplus = held.node.bytes().saturating_sub(bytes);
        drop(held.give(surplus));
    }

    /// Gives away up to `bytes` of it for good.
    pub(super) fn give(&self, bytes: u64) -> (Permit, Option<Permit>) {
        self.0.lock().give(bytes)
    }
}

impl Permits {
    fn give(&mut self, bytes: u64) -> (Permit, Option<Permit>) {
        let node = self.node.split(bytes);
        unlend(&node);
        let route = self.route.as_mut().map(|route| route.split(node.bytes()));
        route.iter().for_each(unlend);
        (node, route)
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        unlend(&self.node);
        self.route.iter().for_each(unlend);
    }
}

fn lend(permit: &Permit) {
    permit.budget().lend(permit.bytes());
}

fn unlend(permit: &Permit) {
    permit.budget().unlend(permit.bytes());
}

/// Which budget is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lacking {
    Node,
    Route,
}

/// Takes `bytes` of the route and then of the node; nothing where one is short.
pub(crate) fn take_both(
    bytes: u64,
    node: &Arc<Budget>,
    route: Option<&Arc<Budget>>,
    turn: Turn,
) -> Result<(Permit, Option<Permit>), Lacking> {
    let route = route.map(|route| route.take(bytes, turn).ok_or(Lacking::Route)).transpose()?;
    Ok((node.take(bytes, turn).ok_or(Lacking::Node)?, route))
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_needs_leaves_the_loan_and_the_rest_goes_back() {
        let (node, route) = (Budget::new(100), Budget::new(50));
        let (mine, theirs) = take_both(40, &node, Some(&route), Turn::Behind).unwrap();
        let loan = Loan::new(mine, theirs);
        assert_eq!((node.used(), node.lent(), route.used(), route.lent()), (40, 40, 40, 40));
        let message = loan.give(30);
        assert_eq!((node.used(), node.lent(), loan.bytes()), (40, 10, 10));
        drop(loan);
        assert_eq!((node.used(), node.lent(), route.used(), route.lent()), (30, 0, 30, 0));
        drop(message);
        assert_eq!((node.used(), route.used()), (0, 0));
    }

    #[test]
    fn a_loan_that_a_route_has_no_room_for_takes_nothing_of_the_node() {
        let (node, route) = (Budget::new(100), Budget::new(50));
        assert_eq!(take_both(60, &node, Some(&route), Turn::Behind).unwrap_err(), Lacking::Route);
        assert_eq!(take_both(101, &node, None, Turn::Behind).unwrap_err(), Lacking::Node);
        assert_eq!((node.used(), route.used()), (0, 0));
    }
}
