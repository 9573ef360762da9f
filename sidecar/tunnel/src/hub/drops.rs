//! Why packets are dropped, and how many were.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a packet went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Drop {
    /// No IPv4: legacy clients send router solicitations of IPv6 when they join (NC section 4).
    NotIpv4,
    /// A header that is cut or lies about the length.
    Malformed,
    /// The source is neither the peer's address nor in a network behind it.
    Spoofed,
    /// To more than one: multicast, broadcast, or nobody's address.
    NotUnicast,
    /// Nobody has the destination.
    Unknown,
    /// To the peer itself.
    Own,
    /// Between nodes, which may not reach each other here.
    Isolated,
    /// Policy has no rule that allows it.
    Denied,
    /// To the server's own address, where nothing takes it.
    Closed,
    /// The receiver has as much waiting as it may.
    Full,
}

impl Drop {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NotIpv4,
        Self::Malformed,
        Self::Spoofed,
        Self::NotUnicast,
        Self::Unknown,
        Self::Own,
        Self::Isolated,
        Self::Denied,
        Self::Closed,
        Self::Full,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotIpv4 => "not_ipv4",
            Self::Malformed => "malformed",
            Self::Spoofed => "spoofed",
            Self::NotUnicast => "not_unicast",
            Self::Unknown => "unknown",
            Self::Own => "own",
            Self::Isolated => "isolated",
            Self::Denied => "denied",
            Self::Closed => "closed",
            Self::Full => "full",
        }
    }
}

/// How many were dropped, by reason.
#[derive(Debug, Default)]
pub(crate) struct Drops([AtomicU64; Drop::ALL.len()]);

impl Drops {
    pub(crate) fn count(&self, why: Drop) {
        if let Some(count) = self.0.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn of(&self, why: Drop) -> u64 {
        self.0.get(why as usize).map_or(0, |count| count.load(Relaxed))
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|count| count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let drops = Drops::default();
        for (n, why) in Drop::ALL.into_iter().enumerate() {
            (0..=n).for_each(|_| drops.count(why));
        }
        for (n, why) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(drops.of(why), n as u64 + 1, "{}", why.word());
        }
        assert_eq!(drops.sum(), 55);
    }
}
