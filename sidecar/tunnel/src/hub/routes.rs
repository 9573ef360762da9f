//! Networks behind nodes of protocol 2 (NC section 8): a node announces them, and only what an administrator approved is in force.
//!
//! A network is approved by hand for one node, or by a rule of the configuration for nodes with certain labels. What is approved by
//! hand goes first; of nodes that may offer the same by a rule, the one that came first has it until it leaves.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use arc_swap::ArcSwap;
use crds::TunnelRoute;
use parking_lot::Mutex;

use super::{Hub, Peer, policy::names};
use crate::{
    addresses::{Network, Subnet},
    seam::{PeerId, Route, Standing},
};

/// Sessions that may announce networks at a time: all of them are looked at whenever one comes or goes.
const MOST: usize = 1024;

/// Who has announced what, and what is in force.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// In the order in which they came. Held while the desk is asked what is approved, by whoever holds no other lock but that under
    /// which the desk is told.
    announcers: Mutex<Vec<Arc<Peer>>>,
    found: ArcSwap<Found>,
}

/// The outcome.
#[derive(Debug, Default)]
struct Found {
    /// By the length of the prefix, the longest first.
    by_prefix: Vec<(u8, HashMap<u32, Arc<Peer>>)>,
    shown: Vec<Route>,
}

impl Found {
    fn in_force(&self) -> Vec<(Network, PeerId)> {
        let in_force = self.shown.iter().filter(|route| route.standing == Standing::InForce);
        in_force.map(|route| (route.network, route.peer)).collect()
    }
}

impl Routes {
    /// Behind whom an address is.
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<Arc<Peer>> {
        let found = self.found.load();
        let mut tables = found.by_prefix.iter();
        tables.find_map(|(prefix, peers)| peers.get(&Network::bits_of(address, *prefix))).map(Arc::clone)
    }

    /// What is announced, and what became of it.
    pub(super) fn shown(&self) -> Vec<Route> {
        self.found.load().shown.clone()
    }
}

/// A rule of the configuration by which nodes with these labels may offer a network.
#[derive(Debug)]
pub(super) struct Offer {
    network: Network,
    through: std::collections::BTreeMap<String, String>,
}

impl Offer {
    /// Those of the configuration. What is no network there is named, and offers nothing.
    pub(super) fn all(routes: &[TunnelRoute]) -> Vec<Self> {
        let one = |route: &TunnelRoute| match route.cidr.parse() {
            Ok(network) => Some(Self { network, through: route.through.clone() }),
            Err(e) => {
                tracing::warn!("tunnel.routes: {e}");
                None
            }
        };
        routes.iter().filter_map(one).collect()
    }

    fn allows(&self, peer: &Peer, network: Network) -> bool {
        self.network.covers(network) && names(&self.through, &peer.labels)
    }
}

/// What is claimed by whom.
type Claims = Vec<(Network, Arc<Peer>)>;

impl Hub {
    /// A session with announced networks has its address.
    pub(super) fn announce(&self, peer: &Arc<Peer>) {
        if peer.announced.is_empty() {
            return;
        }
        {
            let mut announcers = self.routes.announcers.lock();
            announcers.retain(|it| !it.has_ended());
            if announcers.len() >= MOST {
                tracing::warn!(peer = %peer.id, "{MOST} nodes announce networks: those of another one are passed over");
                return;
            }
            announcers.push(Arc::clone(peer));
        }
        self.reroute();
        let waiting = self.routes.shown().into_iter().filter(|route| route.peer == peer.id);
        for route in waiting.filter(|route| route.standing != Standing::InForce) {
            let (network, standing) = (route.network, route.standing);
            tracing::warn!(target: "audit", peer = %peer.id, %network, "a node announces a network that is not in force: {standing}");
        }
    }

    /// What becomes of the networks that a session announces, as far as one knows before it has begun: `network=word`, with commas
    /// between them.
    pub(crate) fn becomes_of(&self, peer: &Peer) -> String {
        let (approved, rules, found) = (self.desk.approved(peer.id), self.rules.load(), self.routes.found.load());
        let word = |network: Network| {
            let by_hand = approved.iter().any(|approved| approved.covers(network));
            let may = by_hand || rules.offers.iter().any(|offer| offer.allows(peer, network));
            let standing = standing(self.subnet, (peer, network), may, || found.in_force());
            format!("{network}={}", standing.word())
        };
        peer.announced.iter().copied().map(word).collect::<Vec<_>>().join(", ")
    }

    /// A session that ended has nothing behind it.
    pub(super) fn withdraw(&self, peer: &Peer) {
        if !peer.announced.is_empty() {
            self.reroute();
        }
    }

    /// Finds out anew what is in force: somebody came or went, or something else is approved.
    pub(super) fn reroute(&self) {
        let mut announcers = self.routes.announcers.lock();
        announcers.retain(|peer| !peer.has_ended());
        let (mut claims, mut shown) = (Claims::new(), Vec::new());
        let by_hand: HashMap<PeerId, Vec<Network>> =
            announcers.iter().map(|peer| (peer.id, self.desk.approved(peer.id))).collect();
        let rules = self.rules.load();
        for is_by_hand in [true, false] {
            for peer in announcers.iter() {
                let approved = by_hand.get(&peer.id).map_or(&[][..], Vec::as_slice);
                for network in peer.announced.iter().copied() {
                    let by_hand = approved.iter().any(|approved| approved.covers(network));
                    if by_hand != is_by_hand {
                        continue;
                    }
                    let may = by_hand || rules.offers.iter().any(|offer| offer.allows(peer, network));
                    let standing = standing(self.subnet, (peer, network), may, || {
                        claims.iter().map(|(taken, whose)| (*taken, whose.id)).collect()
                    });
                    if standing == Standing::InForce {
                        claims.push((network, Arc::clone(peer)));
                    }
                    shown.push(Route { peer: peer.id, network, standing });
                }
            }
        }
        shown.sort_unstable_by_key(|route| (route.peer, route.network));
        for peer in announcers.iter() {
            let own = claims.iter().filter(|(_, whose)| Arc::ptr_eq(whose, peer)).map(|(network, _)| *network);
            peer.networks.store(Arc::new(own.collect()));
        }
        self.routes.found.store(Arc::new(Found { by_prefix: by_prefix(claims), shown }));
    }
}

/// What becomes of a network, where `taken` tells what is in force and whose it is.
fn standing(
    tunnel: Subnet,
    (peer, network): (&Peer, Network),
    may: bool,
    taken: impl FnOnce() -> Vec<(Network, PeerId)>,
) -> Standing {
    if let Err(why) = network.routable(tunnel) {
        return Standing::Refused(why);
    }
    if !may {
        return Standing::Waits;
    }
    let other = taken().into_iter().find(|(taken, whose)| *whose != peer.id && taken.overlaps(network));
    other.map_or(Standing::InForce, |(_, whose)| Standing::Taken(whose))
}

fn by_prefix(claims: Claims) -> Vec<(u8, HashMap<u32, Arc<Peer>>)> {
    let mut tables: Vec<(u8, HashMap<u32, Arc<Peer>>)> = Vec::new();
    for (network, peer) in claims {
        let at = match tables.iter().position(|(prefix, _)| *prefix == network.prefix()) {
            Some(at) => at,
            None => {
                tables.push((network.prefix(), HashMap::new()));
                tables.len() - 1
            }
        };
        if let Some((_, peers)) = tables.get_mut(at) {
            peers.insert(network.bits(), peer);
        }
    }
    tables.sort_unstable_by_key(|(prefix, _)| std::cmp::Reverse(*prefix));
    tables
}
