//! Who has which address. A look-up takes no lock and no hash: the network is cut into pages of 256 addresses, of which those
//! with a peer exist.

use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
};

use arc_swap::{ArcSwapOption, Guard};

use super::peer::Peer;

/// Addresses of a page.
const PAGE: usize = 256;

type Page = [ArcSwapOption<Peer>; PAGE];

/// The peers of a network by their addresses.
#[derive(Debug)]
pub(super) struct Table {
    first: u32,
    pages: Box<[OnceLock<Box<Page>>]>,
}

impl Table {
    /// An empty one for the network that begins at `first` and has `prefix` bits; the widest has eight, and is 1 MiB then.
    pub(super) fn new(first: Ipv4Addr, prefix: u8) -> Self {
        let pages = 1usize << u32::from(24u8.saturating_sub(prefix.max(8)));
        Self { first: first.to_bits() & !0xff, pages: (0..pages).map(|_| OnceLock::new()).collect() }
    }

    /// Who has an address.
    pub(super) fn find(&self, address: Ipv4Addr) -> Guard<Option<Arc<Peer>>> {
        let place = self.place(address).and_then(|(page, at)| page.get()?.get(at));
        place.map_or_else(|| Guard::from_inner(None), ArcSwapOption::load)
    }

    /// Gives an address to a peer, whoever had it before.
    pub(super) fn put(&self, address: Ipv4Addr, peer: &Arc<Peer>) {
        let Some((page, at)) = self.place(address) else { return };
        let page = page.get_or_init(|| Box::new([const { ArcSwapOption::const_empty() }; PAGE]));
        if let Some(place) = page.get(at) {
            place.store(Some(Arc::clone(peer)));
        }
    }

    /// Takes an address from a peer, if it has it still. Callers take turns.
    pub(super) fn remove(&self, address: Ipv4Addr, peer: &Arc<Peer>) {
        let Some(place) = self.place(address).and_then(|(page, at)| page.get()?.get(at)) else { return };
        if place.load().as_ref().is_some_and(|there| Arc::ptr_eq(there, peer)) {
            place.store(None);
        }
    }

    fn place(&self, address: Ipv4Addr) -> Option<(&OnceLock<Box<Page>>, usize)> {
        let offset = usize::try_from(address.to_bits().checked_sub(self.first)?).ok()?;
        Some((self.pages.get(offset / PAGE)?, offset % PAGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::PeerId;

    fn peer(id: u64) -> Arc<Peer> {
        Peer::new(PeerId(id), ([127, 0, 0, 1], 1).into(), Arc::default())
    }

    fn id(table: &Table, address: [u8; 4]) -> Option<u64> {
        table.find(address.into()).as_ref().map(|peer| peer.id.0)
    }

    #[test]
    fn an_address_has_one_peer_and_only_that_one_gives_it_back() {
        let table = Table::new(Ipv4Addr::new(10, 1, 4, 0), 22);
        let (old, new) = (peer(1), peer(2));
        for address in [[10, 1, 4, 3], [10, 1, 7, 253]] {
            table.put(address.into(), &old);
            assert_eq!(id(&table, address), Some(1));
            table.put(address.into(), &new);
            table.remove(address.into(), &old);
            assert_eq!(id(&table, address), Some(2));
            table.remove(address.into(), &new);
            assert_eq!(id(&table, address), None);
        }
    }

    #[test]
    fn other_networks_are_nobodys() {
        for (first, prefix, outside) in [
            ([10, 1, 1, 0], 24, [[10, 1, 0, 255], [10, 1, 2, 0], [0, 0, 0, 0]]),
            ([10, 0, 0, 0], 8, [[9, 255, 255, 255], [11, 0, 0, 0], [255, 255, 255, 255]]),
        ] {
            let table = Table::new(first.into(), prefix);
            for address in outside {
                table.put(address.into(), &peer(1));
                assert_eq!(id(&table, address), None, "{address:?}");
            }
        }
        let small = Table::new([10, 1, 1, 8].into(), 29);
        small.put([10, 1, 1, 11].into(), &peer(1));
        assert_eq!(id(&small, [10, 1, 1, 11]), Some(1));
    }
}
