//! Nodes that are away: an ephemeral one is forgotten after its time, and the address of any other may be lent to somebody else (NC
//! section 8, leases). How long a node is away is counted in memory, anew from each start.

use super::{
    Ledger,
    book::Node,
    nodes::Besides,
    rows::NodeRow,
    shelf::{Change, Unwritten, node_key},
};
use crate::seam::{ConnState, PeerId};

/// A node whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// It is to be forgotten.
    Ephemeral(PeerId),
    /// Its address is to be free; the node stays, and gets another when it comes back.
    Lease(PeerId),
}

impl Ledger {
    /// Whose time is over at `now`. Seconds since 1970; `lease`: how long an address is kept for a node, absent: for ever.
    pub fn overdue(&self, now: i64, lease: Option<i64>) -> Vec<Away> {
        let mut book = self.book.lock();
        let over = |since: i64, time: i64| now.saturating_sub(since) >= time;
        let overdue = book.away(now).filter_map(|(number, node, since)| {
            if node.row.ephemeral.is_some_and(|time| over(since, time.into())) {
                return Some(Away::Ephemeral(PeerId(number)));
            }
            let lent = node.row.address.is_some() && lease.is_some_and(|lease| over(since, lease));
            lent.then_some(Away::Lease(PeerId(number)))
        });
        overdue.collect()
    }

    /// Forgets a node that is away at this moment, as [`Ledger::unregister`] does. `None`: it is not, or there is none.
    ///
    /// # Errors
    /// See [`Unwritten`]; the node is still there then.
    pub fn forget(&self, peer: PeerId, beside: Besides<'_>) -> Result<Option<NodeRow>, Unwritten> {
        self.remove_where(peer, is_away, beside)
    }

    /// Frees the address of a node that is away at this moment. `false`: it is not, or has none.
    ///
    /// # Errors
    /// See [`Unwritten`]; the address is kept for the node.
    pub fn release(&self, peer: PeerId) -> Result<bool, Unwritten> {
        let _turn = self.writing.lock();
        let (row, address) = {
            let mut book = self.book.lock();
            let Some(address) = book.node(peer.0).is_some_and(is_away).then(|| book.withdraw(peer.0)).flatten() else {
                return Ok(false);
            };
            let Some(node) = book.node(peer.0) else { return Ok(false) };
            (node.row.clone(), address)
        };
        let written = Change::put(node_key(peer.0), &row).and_then(|change| self.shelf.write(vec![change]));
        let mut book = self.book.lock();
        match written {
            Ok(()) => {
                book.free(address);
                Ok(true)
            }
            Err(e) => {
                book.keep_withdrawn(peer.0, address);
                Err(e)
            }
        }
    }
}

/// Whoever came since it was looked at has no time of absence, or another one that is short.
fn is_away(node: &Node) -> bool {
    node.state == ConnState::Idle && node.away.is_some()
}
