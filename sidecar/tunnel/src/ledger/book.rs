//! The book: everything of the ledger in memory, with the ways to find it. Pure: no disk, no clock.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    net::Ipv4Addr,
    sync::Arc,
};

use super::rows::{Labels, NodeRow, TokenRow};
use crate::{
    addresses::{Pool, Subnet},
    seam::{ConnState, PeerId},
    tokens::Digest,
};

/// A node, and how far its connection has come.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) row: NodeRow,
    pub(super) labels: Labels,
    pub(super) state: ConnState,
    /// Since when it is away, in seconds since 1970, as far as somebody has looked.
    pub(super) away: Option<i64>,
    /// When it was last there, as far as somebody has looked: later than what is written.
    pub(super) seen: Option<i64>,
    /// Whether it came or left since somebody looked.
    pub(super) came: bool,
    /// When the certificate ends that it showed last, in seconds since 1970; absent: it showed none since the start.
    pub(super) certificate_ends: Option<i64>,
}

/// All nodes and tokens.
#[derive(Debug)]
pub(super) struct Book {
    pool: Pool,
    nodes: BTreeMap<u64, Node>,
    by_token: HashMap<Digest, u64>,
    /// By the public keys of their certificates, of both planes.
    by_key: HashMap<String, u64>,
    tokens: BTreeMap<String, TokenRow>,
    by_secret: HashMap<Digest, String>,
    /// Set aside for nodes that are connecting for the first time; on no disk yet.
    aside: HashMap<u64, Ipv4Addr>,
    /// Whose address may be on the disk or not, because its write failed: it is kept, and written again.
    unsure: HashSet<u64>,
    /// Set aside for nodes that join just now. What is in here when nobody does was not written: it may be on the disk or not.
    promised: BTreeMap<u64, Ipv4Addr>,
    /// The number of the next node.
    next: u64,
}

impl Book {
    pub(super) fn new(subnet: Subnet) -> Self {
        Self {
            pool: Pool::new(subnet),
            nodes: BTreeMap::new(),
            by_token: HashMap::new(),
            by_key: HashMap::new(),
            tokens: BTreeMap::new(),
            by_secret: HashMap::new(),
            aside: HashMap::new(),
            unsure: HashSet::new(),
            promised: BTreeMap::new(),
            next: 1,
        }
    }

    pub(super) fn load_node(&mut self, number: u64, mut row: NodeRow) {
        if let Some(address) = row.address.filter(|address| !self.pool.hold(*address)) {
            tracing::warn!(node = %PeerId(number), %address, "is not free in the tunnel's network: the node gets another address");
            row.loses_address();
        }
        self.reach(number.saturating_add(1));
        self.put_node(number, row);
    }

    /// Takes an address out of the pool. `false`: it is not free, or none of this network's.
    pub(super) fn hold(&mut self, address: Ipv4Addr) -> bool {
        self.pool.hold(address)
    }

    pub(super) fn load_token(&mut self, id: &str, row: TokenRow) {
        self.put_token(id, row);
    }

    /// Numbers below were given.
    pub(super) fn reach(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    pub(super) fn subnet(&self) -> Subnet {
        self.pool.subnet()
    }

    pub(super) fn addresses_taken(&self) -> usize {
        self.pool.taken()
    }

    /// A number that no node has or had.
    pub(super) fn next_number(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    pub(super) fn following(&self) -> u64 {
        self.next
    }

    pub(super) fn put_node(&mut self, number: u64, row: NodeRow) {
        self.by_token.insert(row.token.clone(), number);
        self.by_key.extend(keys(&row).map(|key| (key.clone(), number)));
        if let Some(node) = self.nodes.get_mut(&number) {
            // A session has them too.
            if *node.labels != row.labels {
                node.labels = Arc::new(row.labels.clone());
            }
            node.row = row;
            return;
        }
        let (labels, state) = (Arc::new(row.labels.clone()), ConnState::Idle);
        let node = Node { seen: row.seen, row, labels, state, away: None, came: false, certificate_ends: None };
        self.nodes.insert(number, node);
    }

    /// Forgets a node; its address is free, or will be when its live session is over, to which packets may go until then.
    pub(super) fn remove_node(&mut self, number: u64) {
        let Some(node) = self.nodes.remove(&number) else { return };
        self.by_token.remove(&node.row.token);
        for key in keys(&node.row) {
            self.by_key.remove(key);
        }
        self.unsure.remove(&number);
        let aside = self.aside.remove(&number);
        for address in [node.row.address, aside].into_iter().flatten() {
            if node.state == ConnState::Connected {
                self.aside.insert(number, address);
            } else {
                self.pool.give_back(address);
            }
        }
    }

    pub(super) fn node(&self, number: u64) -> Option<&Node> {
        self.nodes.get(&number)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&number)
    }

    /// It was there a moment ago.
    pub(super) fn touch(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.away = None;
            node.came = true;
        }
    }

    /// Says of all nodes that are there at `now`, or were since the last look, that they were seen. Answers the numbers of those of which
    /// that is to be written.
    pub(super) fn seen(&mut self, now: i64, is_due: impl Fn(&Node) -> bool) -> Vec<u64> {
        for node in self.nodes.values_mut().filter(|node| node.came || node.state != ConnState::Idle) {
            node.came = false;
            node.seen = Some(now);
        }
        self.nodes.iter().filter(|(_, node)| is_due(node)).map(|(number, _)| *number).collect()
    }

    /// The rows of these nodes, as far as they are there, which say when they were seen.
    pub(super) fn as_seen(&self, numbers: &[u64]) -> Vec<(u64, NodeRow)> {
        let nodes = numbers.iter().filter_map(|number| Some((*number, self.nodes.get(number)?)));
        nodes.map(|(number, node)| (number, NodeRow { seen: node.seen, ..node.row.clone() })).collect()
    }

    /// Nodes that are away, and since when; of those that nobody has looked at since they left, since `now`.
    pub(super) fn away(&mut self, now: i64) -> impl Iterator<Item = (u64, &Node, i64)> {
        let idle = self.nodes.iter_mut().filter(|(_, node)| node.state == ConnState::Idle);
        idle.map(move |(number, node)| {
            let since = *node.away.get_or_insert(now);
            let node: &Node = node;
            (*number, node, since)
        })
    }

    /// Takes a node's address from it, which nobody has then: neither it nor the pool.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<Ipv4Addr> {
        self.nodes.get_mut(&number)?.row.loses_address()
    }

    /// What was withdrawn is on no disk any more: it is free.
    pub(super) fn free(&mut self, address: Ipv4Addr) {
        self.pool.give_back(address);
    }

    /// What was withdrawn may be on the disk still: it is kept for the node, and written again when it comes. Where the node has
    /// another one set aside by now, nobody has it until the next start, which finds out.
    pub(super) fn keep_withdrawn(&mut self, number: u64, address: Ipv4Addr) {
        if let Entry::Vacant(place) = self.aside.entry(number) {
            place.insert(address);
            self.unsure.insert(number);
        }
    }

    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (u64, &Node)> {
        self.nodes.iter().map(|(number, node)| (*number, node))
    }

    pub(super) fn by_token(&self, digest: &Digest) -> Option<(u64, &Node)> {
        let number = *self.by_token.get(digest)?;
        self.nodes.get(&number).map(|node| (number, node))
    }

    pub(super) fn by_key(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    pub(super) fn put_token(&mut self, id: &str, row: TokenRow) {
        self.by_secret.insert(row.secret.clone(), id.to_owned());
        self.tokens.insert(id.to_owned(), row);
    }

    pub(super) fn remove_token(&mut self, id: &str) {
        if let Some(row) = self.tokens.remove(id) {
            self.by_secret.remove(&row.secret);
        }
    }

    pub(super) fn token_count(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn token(&self, id: &str) -> Option<&TokenRow> {
        self.tokens.get(id)
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = (&String, &TokenRow)> {
        self.tokens.iter()
    }

    pub(super) fn by_secret(&self, digest: &Digest) -> Option<(&String, &TokenRow)> {
        self.tokens.get_key_value(self.by_secret.get(digest)?)
    }

    /// An address for a node that has none, taken out of the pool until it is written or given back.
    pub(super) fn set_aside(&mut self, number: u64) -> Option<Ipv4Addr> {
        if let Some(address) = self.aside.get(&number) {
            return Some(*address);
        }
        // Unregistered meanwhile: nobody would give it back.
        self.nodes.get(&number)?;
        let address = self.pool.take()?;
        self.aside.insert(number, address);
        Some(address)
    }

    /// An address for a node that is about to be there, taken out of the pool until [`Book::settle`] or [`Book::take_back`].
    pub(super) fn promise(&mut self, number: u64) -> Option<Ipv4Addr> {
        let address = self.pool.take()?;
        self.promised.insert(number, address);
        Some(address)
    }

    /// The numbers of nodes that have an address and are not there.
    pub(super) fn promised(&self) -> Vec<u64> {
        self.promised.keys().copied().collect()
    }

    /// Nodes of these numbers are on no disk: what was promised to them is free.
    pub(super) fn take_back(&mut self, numbers: &[u64]) {
        for address in numbers.iter().filter_map(|number| self.promised.remove(number)) {
            self.pool.give_back(address);
        }
    }

    /// The node did not come for its address.
    pub(super) fn give_back(&mut self, number: u64) {
        if self.unsure.contains(&number) {
            return;
        }
        if let Some(address) = self.aside.remove(&number) {
            self.pool.give_back(address);
        }
    }

    /// The address that was set aside may be on the disk now.
    pub(super) fn keep_aside(&mut self, number: u64) {
        self.unsure.insert(number);
    }

    /// The address that was set aside is on the disk.
    pub(super) fn settle(&mut self, number: u64, row: NodeRow) {
        self.aside.remove(&number);
        self.unsure.remove(&number);
        self.promised.remove(&number);
        self.put_node(number, row);
    }
}

fn keys(row: &NodeRow) -> impl Iterator<Item = &String> {
    [&row.register_key, &row.join_key].into_iter().flatten()
}
