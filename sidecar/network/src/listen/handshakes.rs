//! Connections that are no client's yet: so many at a time, for each takes an open file, and whoever says nothing takes it for as
//! long as a handshake may take. Where there are too many, one is cut of whoever has the most: whoever opens them by the thousand, from
//! where it may, takes the places of its own, and a client that comes in earnest is done. Where all have as many it is the oldest of all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What a storm of clients who all come back at once may bring on a port within the time of one handshake, twice over.
const MOST: usize = 4096;
/// A provider gives a customer this much of IPv6; who has one address has them all.
const CUSTOMER_PREFIX: u32 = 64;

/// Who counts as one: an address, and of IPv6 all that are a customer's.
#[must_use]
pub fn customer(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> CUSTOMER_PREFIX << CUSTOMER_PREFIX).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The handshakes under way at a port.
#[derive(Debug)]
pub struct Handshakes {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    /// By their numbers, which grow: the first is the oldest.
    under_way: BTreeMap<u64, UnderWay>,
    /// The numbers of each source.
    sources: HashMap<IpAddr, BTreeSet<u64>>,
    /// The sources by how many each has: the last has the most.
    sizes: BTreeSet<(usize, IpAddr)>,
}

#[derive(Debug)]
struct UnderWay {
    source: IpAddr,
    cut: CancellationToken,
}

/// A handshake under way, until it is dropped.
#[derive(Debug)]
pub struct Handshake {
    all: Arc<Handshakes>,
    number: u64,
    cut: CancellationToken,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Handshakes {
    fn of(most: usize) -> Self {
        Self { most, table: Mutex::default() }
    }

    /// One more, of a client that comes from there.
    #[must_use]
    pub fn begin(self: &Arc<Self>, source: IpAddr) -> Handshake {
        let (mut table, cut) = (self.table.lock(), CancellationToken::new());
        table.last += 1;
        let number = table.last;
        table.put(number, UnderWay { source: customer(source), cut: cut.clone() });
        if table.under_way.len() > self.most
            && let Some(gone) = table.of_most().and_then(|number| table.remove(number))
        {
            gone.cut.cancel();
        }
        Handshake { all: Arc::clone(self), number, cut }
    }
}

impl Table {
    fn put(&mut self, number: u64, one: UnderWay) {
        let source = one.source;
        let own = self.sources.entry(source).or_default();
        let before = own.len();
        own.insert(number);
        self.under_way.insert(number, one);
        self.resized(source, before, before + 1);
    }

    fn remove(&mut self, number: u64) -> Option<UnderWay> {
        let one = self.under_way.remove(&number)?;
        let own = self.sources.get_mut(&one.source)?;
        let before = own.len();
        own.remove(&number);
        if own.is_empty() {
            self.sources.remove(&one.source);
        }
        self.resized(one.source, before, before.saturating_sub(1));
        Some(one)
    }

    fn resized(&mut self, source: IpAddr, before: usize, after: usize) {
        self.sizes.remove(&(before, source));
        if after > 0 {
            self.sizes.insert((after, source));
        }
    }

    /// The oldest of the source that has the most, or of all where each has one.
    fn of_most(&self) -> Option<u64> {
        let (most, source) = self.sizes.last()?;
        let own = if *most > 1 { self.sources.get(source).and_then(BTreeSet::first) } else { None };
        own.or_else(|| self.under_way.first_key_value().map(|(number, _)| number)).copied()
    }
}

impl Handshake {
    /// Waits until it has to give way.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.table.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn from(n: u32) -> IpAddr {
        IpAddr::V4((0xc000_0200 + n).into())
    }

    fn is_cut(one: &Handshake) -> bool {
        one.cut().now_or_never().is_some()
    }

    #[test]
    fn where_there_are_too_many_the_oldest_gives_way() {
        let all = Arc::new(Handshakes::of(2));
        let [first, second] = [1, 2].map(|n| all.begin(from(n)));
        assert!(!is_cut(&first));
        let third = all.begin(from(3));
        assert!(is_cut(&first) && !is_cut(&second));
        drop(third);
        let _fourth = all.begin(from(4));
        assert!(!is_cut(&second), "there was room again");
        drop((first, second));
        let table = all.table.lock();
        assert_eq!((table.under_way.len(), table.sources.len(), table.sizes.len()), (1, 1, 1));
    }

    /// Connections cost who opens them next to nothing, and took the places of those who came in earnest.
    #[test]
    fn whoever_opens_the_most_takes_its_own_places_and_nobody_elses() {
        let all = Arc::new(Handshakes::of(8));
        let earnest: Vec<_> = (1..=3).map(|n| all.begin(from(n))).collect();
        let flood: Vec<_> = (0..100).map(|_| all.begin(from(9))).collect();
        assert!(earnest.iter().all(|one| !is_cut(one)));
        let left: Vec<_> = (0..100).filter(|n| !is_cut(&flood[*n])).collect();
        assert_eq!(left, (95..100).collect::<Vec<_>>(), "its newest ones");
        let late = all.begin(from(4));
        assert!(!is_cut(&late) && is_cut(&flood[95]));
    }

    #[test]
    fn all_addresses_of_a_customer_are_one() {
        let all = Arc::new(Handshakes::of(3));
        let at = |text: &str| all.begin(text.parse().unwrap());
        let earnest = at("2001:db8:1:3::1");
        let flood: Vec<_> = (1..=3).map(|n| at(&format!("2001:db8:1:2::{n}"))).collect();
        assert!(!is_cut(&earnest) && is_cut(&flood[0]));
        assert_eq!(customer("::ffff:192.0.2.7".parse().unwrap()), from(7));
    }
}
