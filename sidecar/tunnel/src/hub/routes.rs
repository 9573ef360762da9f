//! Networks behind nodes of protocol 2 (NC section 8): a node announces them, and only what an administrator approved is in force.
//!
//! A network is approved by hand for one node, or by a rule of the configuration for nodes with certain labels. What is approved by
//! hand goes first; of nodes that may offer the same by a rule, the one that came first has it until it leaves.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use arc_swap::ArcSwap;
use crds::TunnelRoute;
use parking_lot::Mutex;

use super::{
    Hub, Peer, Rules,
    claims::{ByPrefix, Claims},
    policy::names,
};
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
    claims: Claims,
    by_prefix: ByPrefix<Arc<Peer>>,
    shown: Vec<Route>,
    /// What is approved for some node, whether that is there or not.
    promised: ByPrefix<()>,
}

impl Routes {
    /// Behind whom an address is.
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<Arc<Peer>> {
        self.found.load().by_prefix.find(address).map(Arc::clone)
    }

    /// Whether an address lies in a network that is approved for some node, there or away.
    pub(super) fn is_promised(&self, address: Ipv4Addr) -> bool {
        self.found.load().promised.find(address).is_some()
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

impl Hub {
    /// A session with announced networks has its address.
    pub(super) fn announce(&self, peer: &Arc<Peer>) {
        if peer.announced.is_empty() {
            return;
        }
        if !self.is_listed(peer) {
            tracing::warn!(peer = %peer.id, "{MOST} nodes announce networks: those of another one are passed over");
            return;
        }
        self.reroute();
        let waiting = self.routes.shown().into_iter().filter(|route| route.peer == peer.id);
        for route in waiting.filter(|route| route.standing != Standing::InForce) {
            let (network, standing) = (route.network, route.standing);
            tracing::warn!(target: "audit", peer = %peer.id, %network, "a node announces a network that is not in force: {standing}");
        }
    }

    /// Takes a session among those whose networks are looked at. Where it is one too many and something of it is approved, it has the
    /// place of the last one of which nothing is.
    fn is_listed(&self, peer: &Arc<Peer>) -> bool {
        let mut announcers = self.routes.announcers.lock();
        announcers.retain(|it| !it.has_ended());
        if announcers.len() >= MOST {
            let rules = self.rules.load();
            let counts = |peer: &Peer| {
                let approved = self.desk.approved(peer.id);
                peer.announced.iter().any(|network| rules.may_have(peer, &approved, *network).is_some())
            };
            match announcers.iter().rposition(|it| !counts(it)) {
                Some(last) if counts(peer) => drop(announcers.remove(last)),
                _ => return false,
            }
        }
        announcers.push(Arc::clone(peer));
        true
    }

    /// What becomes of the networks that a session announces, as far as one knows before it has begun: `network=word`, with commas
    /// between them.
    pub(crate) fn becomes_of(&self, peer: &Peer) -> String {
        if peer.announced.is_empty() {
            return String::new();
        }
        let (approved, rules, found) = (self.desk.approved(peer.id), self.rules.load(), self.routes.found.load());
        let word = |network: Network| {
            let may = rules.may_have(peer, &approved, network).is_some();
            format!("{network}={}", standing(self.subnet, (peer, network), may, &found.claims).word())
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
    pub(crate) fn reroute(&self) {
        let mut announcers = self.routes.announcers.lock();
        announcers.retain(|peer| !peer.has_ended());
        let rules = self.rules.load();
        let all: Vec<_> = announcers.iter().map(|peer| (peer, self.desk.approved(peer.id))).collect();
        let (mut claims, mut shown) = (Claims::default(), Vec::new());
        let mut own: HashMap<PeerId, Vec<Network>> = HashMap::new();
        for turn in [Some(By::Hand), Some(By::Rule), None] {
            for (peer, approved) in &all {
                for network in peer.announced.iter().copied() {
                    if rules.may_have(peer, approved, network) != turn {
                        continue;
                    }
                    let standing = standing(self.subnet, (peer, network), turn.is_some(), &claims);
                    if standing == Standing::InForce {
                        claims.put(network, peer);
                        own.entry(peer.id).or_default().push(network);
                    }
                    shown.push(Route { peer: peer.id, network, standing });
                }
            }
        }
        shown.sort_unstable_by_key(|route| (route.peer, route.network));
        for (peer, _) in &all {
            peer.networks.store(Arc::new(own.remove(&peer.id).unwrap_or_default()));
        }
        let found = Found { by_prefix: claims.by_prefix(), claims, shown, promised: self.promised(&rules) };
        self.routes.found.store(Arc::new(found));
    }

    /// What is approved for some node. Nobody asks where nothing is carried beyond the tunnel.
    fn promised(&self, rules: &Rules) -> ByPrefix<()> {
        if !self.outside.is_open() {
            return ByPrefix::default();
        }
        let by_rule = rules.offers.iter().map(|offer| offer.network);
        let all = self.desk.all_approved().into_iter().chain(by_rule);
        ByPrefix::of(all.map(|network| ((network.bits(), network.prefix()), ())))
    }
}

/// What a network is approved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Hand,
    Rule,
}

impl Rules {
    /// By what a peer may have a network, `approved` being what is approved for it by hand.
    fn may_have(&self, peer: &Peer, approved: &[Network], network: Network) -> Option<By> {
        if approved.iter().any(|approved| approved.covers(network)) {
            return Some(By::Hand);
        }
        self.offers.iter().any(|offer| offer.allows(peer, network)).then_some(By::Rule)
    }
}

/// What becomes of a network, where `claims` are in force.
fn standing(tunnel: Subnet, (peer, network): (&Peer, Network), may: bool, claims: &Claims) -> Standing {
    if let Err(why) = network.routable(tunnel) {
        return Standing::Refused(why);
    }
    if !may {
        return Standing::Waits;
    }
    claims.taken(network, peer.id).map_or(Standing::InForce, Standing::Taken)
}
