//! Nodes: they join, get an address, come and go, and are unregistered.

use std::net::Ipv4Addr;

use super::{
    Ledger,
    book::Node,
    rows::{Labels, NodeRow},
    shelf::{Beside, Change, Unwritten, node_key},
};
use crate::{
    seam::{ConnState, NoAddress, PeerId},
    tokens::{NoRandomness, Secret},
};

/// Nodes that are kept: four times what the addresses of a /16 reach, so that a leaked token does not fill the disk.
pub(super) const MOST_NODES: usize = 131_072;

/// The public keys that a joining node has certificates for, as SHA-256 in hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joiner {
    /// On the register plane.
    pub register_key: String,
    /// On the join plane.
    pub join_key: String,
    /// Whether its certificates name its address, which it then has at once, and not from its first connection on.
    pub is_named: bool,
}

/// A new node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub peer: PeerId,
    /// Its token; nobody sees it again.
    pub token: Secret,
    /// The bootstrap token that it joined with.
    pub joined_with: String,
}

/// What is to be written with a node that is forgotten, by what was known of it.
pub type Besides<'b> = &'b dyn Fn(&NodeRow) -> Vec<Beside>;

/// On which plane a certificate is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// 6440 and 6439.
    Register,
    /// 6441.
    Join,
}

/// Why a node does not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The bootstrap token is unknown, expired, revoked or used up: outside nobody learns which.
    #[error("no such bootstrap token")]
    NoToken,
    /// Enough.
    #[error("there are 131072 nodes: unregister those that are gone")]
    TooMany,
    /// Its certificates are to name its address, and none is free.
    #[error("no address is free in the tunnel's network")]
    NoAddress,
    /// The machine.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The disk.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

/// Why a node's certificate is not taken for its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// Another node's, or a stranger's.
    #[error("the certificate is not that of the node")]
    NotItsOwn,
    /// The node is gone.
    #[error("the node is not registered")]
    Gone,
    /// The disk.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

/// What the ledger says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its number.
    pub peer: PeerId,
    /// How far its connection has come.
    pub state: ConnState,
    /// When it was last there, as far as somebody has looked. Seconds since 1970.
    pub seen: Option<i64>,
    /// When its certificate of the join plane ends, as it showed it last. Seconds since 1970; absent: it showed none since the start.
    pub certificate_ends: Option<i64>,
    /// What is written down.
    pub row: NodeRow,
    /// Its labels, shared.
    pub labels: Labels,
}

impl Ledger {
    /// Whether a node may join with this bootstrap token at `now`, for who would work in vain otherwise. Tells the token's id.
    ///
    /// # Errors
    /// [`JoinError::NoToken`].
    pub fn is_good(&self, bootstrap: &str, now: i64) -> Result<String, JoinError> {
        let digest = self.key.digest(bootstrap).ok_or(JoinError::NoToken)?;
        let book = self.book.lock();
        let (id, _) = book.by_secret(&digest).filter(|(_, row)| row.is_good(now)).ok_or(JoinError::NoToken)?;
        Ok(id.clone())
    }

    /// The node of a token.
    pub fn by_token(&self, token: &str) -> Option<NodeView> {
        let digest = self.key.digest(token)?;
        let book = self.book.lock();
        let (number, _) = book.by_token(&digest)?;
        view(&book, number)
    }

    /// A node by its number.
    pub fn node(&self, peer: PeerId) -> Option<NodeView> {
        view(&self.book.lock(), peer.0)
    }

    /// All nodes, by number.
    pub fn nodes(&self) -> Vec<NodeView> {
        let book = self.book.lock();
        book.nodes().filter_map(|(number, _)| view(&book, number)).collect()
    }

    /// Forgets a node; its address is free, its token worth nothing. Written with what is to be written `beside` it, or not at all.
    /// Answers what was known of it; `None`: there was none.
    ///
    /// # Errors
    /// See [`Unwritten`]; the node is still there then.
    pub fn unregister(&self, peer: PeerId, beside: Besides<'_>) -> Result<Option<NodeRow>, Unwritten> {
        self.remove_where(peer, |_| true, beside)
    }

    /// Forgets a node of which this is so, now that nothing else is written.
    pub(super) fn remove_where(
        &self,
        peer: PeerId,
        is_so: impl FnOnce(&Node) -> bool,
        beside: Besides<'_>,
    ) -> Result<Option<NodeRow>, Unwritten> {
        let _turn = self.writing.lock();
        let row = self.book.lock().node(peer.0).filter(|node| is_so(node)).map(|node| node.row.clone());
        let Some(row) = row else { return Ok(None) };
        let mut changes = vec![Change::Remove(node_key(peer.0))];
        changes.extend(beside(&row).into_iter().map(Change::Beside));
        self.shelf.write(changes)?;
        self.book.lock().remove_node(peer.0);
        Ok(Some(row))
    }

    /// A node that waits may open its tunnel from now on. `None`: there is none; `false`: it did not wait.
    ///
    /// # Errors
    /// See [`Unwritten`]; it waits still then.
    pub fn approve(&self, peer: PeerId) -> Result<Option<bool>, Unwritten> {
        let _turn = self.writing.lock();
        let Some(node) = self.node(peer) else { return Ok(None) };
        if !node.row.waits {
            return Ok(Some(false));
        }
        let row = NodeRow { waits: false, ..node.row };
        self.shelf.write(vec![Change::put(node_key(peer.0), &row)?])?;
        self.book.lock().put_node(peer.0, row);
        Ok(Some(true))
    }

    /// A node knocks: however long it was away, it is not any more.
    pub fn came(&self, peer: PeerId) {
        self.book.lock().touch(peer.0);
    }

    /// A node showed a certificate of its own that ends then, in seconds since 1970.
    pub fn shows_until(&self, peer: PeerId, ends: i64) {
        if let Some(node) = self.book.lock().node_mut(peer.0) {
            node.certificate_ends = Some(ends);
        }
    }

    /// Sets an address aside for a node that connects and has none. `None`: no address is free.
    pub fn set_aside(&self, peer: PeerId) -> Option<Ipv4Addr> {
        {
            let mut book = self.book.lock();
            let free = book.set_aside(peer.0);
            if free.is_some() || book.promised().is_empty() {
                return free;
            }
        }
        // Nobody waits here for those who join just now: whoever hears that nothing is free comes again.
        let _turn = self.writing.try_lock()?;
        if let Err(error) = self.take_back() {
            tracing::error!(node = %peer, "addresses of nodes that did not join are not free: {error}");
            return None;
        }
        self.book.lock().set_aside(peer.0)
    }

    /// The node's address, chosen and written now if it has none.
    ///
    /// # Errors
    /// See [`NoAddress`].
    pub fn address(&self, peer: PeerId) -> Result<Ipv4Addr, NoAddress> {
        // From here on it is there: its lease does not end before its handshake has.
        self.book.lock().touch(peer.0);
        if let Some(address) = self.node(peer).ok_or(NoAddress::Gone)?.row.address {
            return Ok(address);
        }
        let _turn = self.writing.lock();
        if let Err(error) = self.take_back() {
            tracing::error!(node = %peer, "addresses of nodes that did not join are not free: {error}");
            return Err(NoAddress::Unwritten);
        }
        let (row, address) = {
            let mut book = self.book.lock();
            let row = book.node(peer.0).ok_or(NoAddress::Gone)?.row.clone();
            if let Some(address) = row.address {
                return Ok(address);
            }
            let address = book.set_aside(peer.0).ok_or(NoAddress::Exhausted)?;
            // Before it is known to be there: after a failure nobody else may have it.
            book.keep_aside(peer.0);
            (NodeRow { address: Some(address), ..row }, address)
        };
        let written = Change::put(node_key(peer.0), &row).and_then(|change| self.shelf.write(vec![change]));
        if let Err(error) = written {
            tracing::error!(node = %peer, "the address of a node is not written: {error}");
            return Err(NoAddress::Unwritten);
        }
        self.book.lock().settle(peer.0, row);
        Ok(address)
    }

    /// Says how far a node's connection has come. What was set aside for a node that left is free again.
    pub fn set_state(&self, peer: PeerId, state: ConnState) {
        let mut book = self.book.lock();
        if let Some(node) = book.node_mut(peer.0) {
            node.state = state;
        }
        if state == ConnState::Idle {
            book.touch(peer.0);
            book.give_back(peer.0);
        }
    }

    /// Whether the key of a certificate is the node's own on that plane. A node that was imported without one keeps the first that it
    /// shows.
    ///
    /// # Errors
    /// See [`ShowError`].
    pub fn show(&self, peer: PeerId, plane: Shows, key: &str) -> Result<(), ShowError> {
        let known = self.node(peer).ok_or(ShowError::Gone)?.row;
        match known.key(plane) {
            Some(own) if own == key => return Ok(()),
            Some(_) => return Err(ShowError::NotItsOwn),
            None => {}
        }
        let _turn = self.writing.lock();
        let mut row = self.node(peer).ok_or(ShowError::Gone)?.row;
        if row.key(plane).is_some() || self.by_key(key).is_some() {
            return Err(ShowError::NotItsOwn);
        }
        row.keeps(plane, key);
        self.shelf.write(vec![Change::put(node_key(peer.0), &row)?])?;
        self.book.lock().put_node(peer.0, row);
        Ok(())
    }

    /// The node whose certificate has this key, on either plane.
    pub fn by_key(&self, key: &str) -> Option<PeerId> {
        self.book.lock().by_key(key).map(PeerId)
    }
}

fn view(book: &super::Book, number: u64) -> Option<NodeView> {
    let node = book.node(number)?;
    Some(NodeView {
        peer: PeerId(number),
        state: node.state,
        seen: node.seen,
        certificate_ends: node.certificate_ends,
        row: node.row.clone(),
        labels: Labels::clone(&node.labels),
    })
}
