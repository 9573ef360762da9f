//! Networks and what stands for each: which ones overlap, and in which one an address lies. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::Arc,
};

use super::Peer;
use crate::{addresses::Network, seam::PeerId};

/// Networks by where they begin, each with whose it is. Those of one node may lie in each other, others never overlap.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<(u32, u8), Arc<Peer>>);

impl Claims {
    /// One more. Whoever asks has seen that nobody else has it.
    pub(super) fn put(&mut self, network: Network, whose: &Arc<Peer>) {
        self.0.insert((network.bits(), network.prefix()), Arc::clone(whose));
    }

    /// Who else has an address of this network. Networks lie in each other or have nothing in common, so those around it are at most
    /// as many as a prefix has lengths, and those within it are one behind the other.
    pub(super) fn taken(&self, network: Network, own: PeerId) -> Option<PeerId> {
        let (first, prefix) = (Ipv4Addr::from_bits(network.bits()), network.prefix());
        let around = (0..prefix).filter_map(|shorter| self.0.get(&(Network::bits_of(first, shorter), shorter)));
        let within = self.0.range((network.bits(), prefix)..=(network.last(), u8::MAX)).map(|(_, whose)| whose);
        around.chain(within).map(|whose| whose.id).find(|whose| *whose != own)
    }

    /// What is in force, for look-ups.
    pub(super) fn by_prefix(&self) -> ByPrefix<Arc<Peer>> {
        ByPrefix::of(self.0.iter().map(|((bits, prefix), whose)| ((*bits, *prefix), Arc::clone(whose))))
    }
}

/// Networks by the length of their prefixes, the longest first.
#[derive(Debug)]
pub(super) struct ByPrefix<T>(Vec<(u8, HashMap<u32, T>)>);

impl<T> Default for ByPrefix<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByPrefix<T> {
    /// Of networks by their first address and the length of their prefix.
    pub(super) fn of(all: impl Iterator<Item = ((u32, u8), T)>) -> Self {
        let mut by_prefix: BTreeMap<u8, HashMap<u32, T>> = BTreeMap::new();
        for ((bits, prefix), what) in all {
            by_prefix.entry(prefix).or_default().insert(bits, what);
        }
        Self(by_prefix.into_iter().rev().collect())
    }

    /// What stands for the smallest network that an address lies in.
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<&T> {
        self.0.iter().find_map(|(prefix, networks)| networks.get(&Network::bits_of(address, *prefix)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    /// The same by looking at all of them.
    fn naive(claims: &[(Network, PeerId)], asked: Network, own: PeerId) -> bool {
        claims.iter().any(|(taken, whose)| *whose != own && taken.overlaps(asked))
    }

    #[test]
    fn an_overlap_is_found_as_by_looking_at_all_networks() {
        let peer = |id| Peer::new(PeerId(id), ([127, 0, 0, 1], 1).into(), Arc::default());
        let (one, two) = (peer(1), peer(2));
        let (mut claims, mut all) = (Claims::default(), Vec::new());
        let own = ["10.0.0.0/8", "10.9.0.0/16", "192.168.7.128/25"].map(|text| (network(text), &one));
        let others = ["192.168.7.0/25", "192.168.8.0/24", "255.255.255.255/32"].map(|text| (network(text), &two));
        for (network, whose) in own.into_iter().chain(others) {
            claims.put(network, whose);
            all.push((network, whose.id));
        }
        let asked = [
            "10.0.0.0/8",
            "10.9.8.0/24",
            "11.0.0.0/8",
            "192.0.0.0/8",
            "192.168.7.0/24",
            "192.168.7.0/26",
            "192.168.7.128/25",
            "192.168.7.127/32",
            "192.168.7.128/32",
            "192.168.9.0/24",
            "255.255.255.254/31",
            "255.0.0.0/8",
        ];
        for text in asked {
            for own in [1, 2, 3].map(PeerId) {
                let found = claims.taken(network(text), own);
                assert_eq!(found.is_some(), naive(&all, network(text), own), "{text} of {own}: {found:?}");
            }
        }
        let found = claims.by_prefix();
        let behind = |address: [u8; 4]| found.find(address.into()).map(|peer| peer.id.0);
        assert_eq!([[10, 9, 1, 1], [192, 168, 7, 1], [192, 168, 7, 200]].map(behind), [Some(1), Some(2), Some(1)]);
        assert_eq!([[11, 0, 0, 1], [192, 168, 9, 1]].map(behind), [None, None]);
    }
}
