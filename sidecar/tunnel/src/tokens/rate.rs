//! How often one source may try: a bucket that fills by the second (NC section 8).
//!
//! Pure: time comes in. The table is bounded; a source that is forgotten has a full bucket again, which it would have had anyway
//! after as long as its bucket takes to fill.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crds::TunnelRate;
use mesh_network::listen::customer;

/// Sources that are remembered: some megabytes at most.
const SOURCES: usize = 65_536;

/// The buckets of all sources.
#[derive(Debug)]
pub struct Rates {
    rate: TunnelRate,
    /// Until when a source's bucket is filled again.
    full_at: HashMap<IpAddr, Instant>,
}

impl Rates {
    /// Nobody has tried yet.
    pub fn new(rate: TunnelRate) -> Self {
        Self { rate, full_at: HashMap::new() }
    }

    /// Allows another rate from now on. Who had used up the old one waits for no more than the new one, as if it had used up that.
    pub fn set(&mut self, rate: TunnelRate, now: Instant) {
        self.rate = rate;
        let latest = now + self.depth();
        self.full_at.values_mut().for_each(|full_at| *full_at = latest.min(*full_at));
    }

    /// How long a bucket takes to fill by one.
    fn each(&self) -> Duration {
        Duration::from_secs(1) / self.rate.per_second.max(1)
    }

    /// How long an empty bucket takes to fill.
    fn depth(&self) -> Duration {
        self.each().saturating_mul(self.rate.burst)
    }

    /// Whether `source` may try now; if so, it has.
    pub fn admits(&mut self, source: IpAddr, now: Instant) -> bool {
        let (each, depth) = (self.each(), self.depth());
        let source = customer(source);
        if self.full_at.len() >= SOURCES && !self.full_at.contains_key(&source) {
            self.forget(now);
        }
        let full_at = self.full_at.entry(source).or_insert(now);
        let next = (*full_at).max(now) + each;
        let admitted = next.duration_since(now) <= depth;
        if admitted {
            *full_at = next;
        }
        admitted
    }

    /// Makes room: those whose bucket is full, else everybody. A flood from as many sources is not what this bounds.
    fn forget(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= SOURCES {
            self.full_at.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        Rates::new(crds::TunnelLimits::default().joins)
    }

    fn admitted(rates: &mut Rates, source: &str, now: Instant) -> usize {
        (0..1000).take_while(|_| rates.admits(source.parse().unwrap(), now)).count()
    }

    #[test]
    fn a_source_has_its_burst_and_then_ten_a_second() {
        let (mut rates, start) = (rates(), Instant::now());
        assert_eq!(admitted(&mut rates, "192.0.2.1", start), 100);
        assert_eq!(admitted(&mut rates, "192.0.2.1", start + Duration::from_secs(1)), 10);
        assert_eq!(admitted(&mut rates, "::ffff:192.0.2.1", start + Duration::from_secs(1)), 0);
        assert_eq!(admitted(&mut rates, "192.0.2.2", start), 100);
        assert_eq!(admitted(&mut rates, "192.0.2.1", start + Duration::from_secs(60)), 100);
    }

    #[test]
    fn another_rate_counts_from_the_next_attempt_on() {
        let (mut rates, start) = (rates(), Instant::now());
        assert_eq!(admitted(&mut rates, "192.0.2.1", start), 100);
        rates.set(TunnelRate { burst: 3, per_second: 1 }, start);
        assert_eq!(admitted(&mut rates, "192.0.2.2", start), 3);
        assert_eq!(admitted(&mut rates, "192.0.2.1", start), 0);
        assert_eq!(admitted(&mut rates, "192.0.2.1", start + Duration::from_secs(11)), 3);
        rates.set(TunnelRate { burst: 200, per_second: 100_000 }, start);
        assert_eq!(admitted(&mut rates, "192.0.2.3", start), 200);
    }

    /// What it had used of a deep bucket kept it out for a day, however high the new rate was.
    #[test]
    fn a_higher_rate_lets_in_at_once_who_had_used_up_the_old_one() {
        let start = Instant::now();
        let mut rates = Rates::new(TunnelRate { burst: 100_000, per_second: 1 });
        while rates.admits("192.0.2.1".parse().unwrap(), start) {}
        rates.set(TunnelRate { burst: 100, per_second: 10 }, start);
        assert_eq!(admitted(&mut rates, "192.0.2.1", start), 0);
        assert_eq!(admitted(&mut rates, "192.0.2.1", start + Duration::from_secs(1)), 10);
    }

    #[test]
    fn a_customers_ipv6_addresses_are_one_source() {
        let (mut rates, start) = (rates(), Instant::now());
        assert_eq!(admitted(&mut rates, "2001:db8:1:2::1", start), 100);
        assert_eq!(admitted(&mut rates, "2001:db8:1:2:ffff::2", start), 0);
        assert_eq!(admitted(&mut rates, "2001:db8:1:3::1", start), 100);
    }

    #[test]
    fn the_table_stays_small_whoever_comes() {
        let (mut rates, start) = (rates(), Instant::now());
        for n in 0..200_000_u32 {
            rates.admits(IpAddr::V4(n.into()), start);
            assert!(rates.full_at.len() <= SOURCES);
        }
    }
}
