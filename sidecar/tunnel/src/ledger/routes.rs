//! Networks behind nodes that an administrator approved (NC section 8, routes). They are rows of the node: they go when it goes.

use super::{
    Ledger,
    book::Book,
    rows::NodeRow,
    shelf::{Change, Unwritten, node_key},
};
use crate::{
    addresses::{Network, Unroutable},
    seam::PeerId,
};

/// Networks of a node that may be approved: as many as it may announce.
pub(crate) const MOST_ROUTES: usize = 16;

/// Why a network is not approved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApproveError {
    /// There is no such node.
    #[error("no node is called that: `mesh tunnel ls` lists them")]
    Unknown,
    /// It cannot be behind any node.
    #[error("{0} is not approved: {1}")]
    Unroutable(Network, Unroutable),
    /// Another node's.
    #[error("{0} is not approved: it overlaps {1}, which is approved for {2}")]
    Taken(Network, Network, PeerId),
    /// Enough.
    #[error("a node has at most {MOST_ROUTES} approved networks")]
    TooMany,
    /// The disk.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl Ledger {
    /// Approves a network behind a node. `false`: it was.
    ///
    /// # Errors
    /// See [`ApproveError`].
    pub fn approve_route(&self, peer: PeerId, network: Network) -> Result<bool, ApproveError> {
        let _turn = self.writing.lock();
        let row = {
            let book = self.book.lock();
            let mut row = book.node(peer.0).ok_or(ApproveError::Unknown)?.row.clone();
            if row.routes.contains(&network) {
                return Ok(false);
            }
            network.routable(book.subnet()).map_err(|why| ApproveError::Unroutable(network, why))?;
            if let Some((other, theirs)) = approved_for_another(&book, peer, network) {
                return Err(ApproveError::Taken(network, theirs, other));
            }
            if row.routes.len() >= MOST_ROUTES {
                return Err(ApproveError::TooMany);
            }
            row.routes.push(network);
            row.routes.sort_unstable();
            row
        };
        self.keep_routes(peer, row)?;
        Ok(true)
    }

    /// Takes the approval of a network back. `false`: there was none.
    ///
    /// # Errors
    /// See [`Unwritten`]; it is approved still then.
    pub fn revoke_route(&self, peer: PeerId, network: Network) -> Result<bool, Unwritten> {
        let _turn = self.writing.lock();
        let Some(mut row) = self.node(peer).map(|node| node.row) else { return Ok(false) };
        let before = row.routes.len();
        row.routes.retain(|approved| *approved != network);
        if row.routes.len() == before {
            return Ok(false);
        }
        self.keep_routes(peer, row)?;
        Ok(true)
    }

    /// The networks that are approved for a node.
    pub fn routes_of(&self, peer: PeerId) -> Vec<Network> {
        self.book.lock().node(peer.0).map(|node| node.row.routes.clone()).unwrap_or_default()
    }

    /// The networks that are approved for any node.
    pub fn all_routes(&self) -> Vec<Network> {
        let book = self.book.lock();
        book.nodes().flat_map(|(_, node)| node.row.routes.iter().copied()).collect()
    }

    /// Called by whoever holds the turn to write.
    fn keep_routes(&self, peer: PeerId, row: NodeRow) -> Result<(), Unwritten> {
        self.shelf.write(vec![Change::put(node_key(peer.0), &row)?])?;
        self.book.lock().put_node(peer.0, row);
        Ok(())
    }
}

fn approved_for_another(book: &Book, peer: PeerId, network: Network) -> Option<(PeerId, Network)> {
    let others = book.nodes().filter(|(number, _)| *number != peer.0);
    others
        .flat_map(|(number, node)| node.row.routes.iter().map(move |theirs| (PeerId(number), *theirs)))
        .find(|(_, theirs)| theirs.overlaps(network))
}
