//! The packet switch: who is connected, and where each packet goes. It has no socket: connections bring packets and fetch what
//! waits for them.
//!
//! ```text
//! switch.rs    a packet's way: what is dropped, and where the rest goes
//! table.rs     who has which address
//! routes.rs    which networks are behind whom
//! claims.rs    networks that overlap, and the one that an address lies in
//! policy.rs    who may reach whom, by label
//! peer.rs      a session: its queue and its figures
//! queue.rs     what waits for a socket
//! parting.rs   sessions that end once they have heard an answer
//! inbox.rs     what waits for the server's own address
//! outside.rs   what waits for the machine, where a TUN device leads there
//! sessions.rs  which session is a node's live one
//! drops.rs     why packets are dropped
//! ```

mod claims;
mod drops;
mod inbox;
mod outside;
mod parting;
mod peer;
mod policy;
mod queue;
mod routes;
mod sessions;
mod switch;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use crds::{REGISTER_PORT, Tunnel};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::{
    drops::Drop,
    policy::{Verdict, judge, names},
};
use self::{
    drops::Drops,
    outside::Outside,
    parting::Parting,
    policy::{Marks, Policy},
    routes::{Offer, Routes},
    table::Table,
};
pub(crate) use self::{
    inbox::{Arrived, Inbox},
    peer::{Dialect, Peer},
    queue::Form,
    switch::Wakes,
};
use crate::{
    addresses::Subnet,
    packet,
    seam::{Desk, Moved, PeerId},
};

/// The switch of one network.
pub struct Hub {
    /// From where its sessions count the ticks at which they ask their nodes.
    pub(crate) since: Instant,
    pub(crate) desk: Arc<dyn Desk>,
    pub(crate) subnet: Subnet,
    rules: ArcSwap<Rules>,
    policies: AtomicU64,
    table: Table,
    routes: Routes,
    sessions: Mutex<HashMap<PeerId, Arc<Peer>>>,
    /// Held while the desk is told of a session, so that it is told in the order in which things happen. Never taken by
    /// whoever holds `sessions`: the desk may hold its own lock when it cuts a session.
    telling: Mutex<()>,
    pub(crate) inbox: Inbox,
    pub(crate) outside: Outside,
    parting: Parting,
    /// What sessions moved that are over. Taken by whoever holds `sessions`, so that a session counts once.
    past: Mutex<Moved>,
    /// Of all sessions, those that are over among them.
    drops: Drops,
}

/// What may pass.
#[derive(Debug)]
struct Rules {
    interconnection: bool,
    mtu: u16,
    /// The largest TCP segment.
    segment: u16,
    policy: Policy,
    /// Which rules name what lies beyond the tunnel, which has no labels.
    beyond: Marks,
    /// The ports of the server's own address that the switch serves itself.
    doors: Vec<u16>,
    /// Which networks nodes may offer by their labels.
    offers: Vec<Offer>,
}

impl Hub {
    /// A switch without peers.
    #[must_use]
    pub fn new(desk: Arc<dyn Desk>, tunnel: &Tunnel) -> Arc<Self> {
        let subnet = desk.subnet();
        let policies = AtomicU64::new(0);
        let rules = ArcSwap::from_pointee(Rules::of(tunnel, desk.register_port(), &policies));
        Arc::new(Self {
            since: Instant::now(),
            table: Table::new(subnet.network(), subnet.prefix()),
            desk,
            subnet,
            routes: Routes::default(),
            rules,
            policies,
            sessions: Mutex::default(),
            telling: Mutex::default(),
            inbox: Inbox::default(),
            outside: Outside::default(),
            parting: Parting::default(),
            past: Mutex::default(),
            drops: Drops::default(),
        })
    }

    /// Other rules, from the next packet on. The network stays as it is.
    pub fn configure(&self, tunnel: &Tunnel) {
        self.rules.store(Arc::new(Rules::of(tunnel, self.desk.register_port(), &self.policies)));
        self.reroute();
    }

    /// The largest packet, as nodes of protocol 2 are told.
    pub(crate) fn mtu(&self) -> u16 {
        self.rules.load().mtu
    }

    /// How many packets were dropped for a reason since the start.
    pub fn dropped(&self, why: Drop) -> u64 {
        self.drops.of(why)
    }
}

impl Rules {
    fn of(tunnel: &Tunnel, register: u16, policies: &AtomicU64) -> Self {
        let policy = Policy::new(&tunnel.policy, policies.fetch_add(1, Relaxed) + 1);
        Self {
            interconnection: tunnel.interconnection,
            mtu: tunnel.mtu,
            segment: packet::segment(tunnel.mtu),
            beyond: policy.marks(&BTreeMap::new()),
            policy,
            doors: tunnel.forwards.iter().map(|forward| forward.port).chain([REGISTER_PORT, register]).collect(),
            offers: Offer::all(&tunnel.routes),
        }
    }
}
