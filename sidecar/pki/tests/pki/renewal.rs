//! When to renew, with a clock that tests hold in their hands.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_pki::{CertificateInfo, renewal_due, renewal_time};
use proptest::prelude::*;

use crate::support::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn living(not_before: SystemTime, not_after: SystemTime) -> CertificateInfo {
    CertificateInfo { not_before, not_after, ..EC_ROOT.info().clone() }
}

#[test]
fn the_share_of_a_life_is_reckoned_from_its_start() {
    for (from, to, percent, wanted) in [
        (1000, 2000, 67, 1670),
        (1000, 2000, 0, 1000),
        (1000, 2000, 100, 2000),
        (1000, 2000, 250, 2000),
        (1000, 1001, 67, 1000),
        (1000, 1000, 67, 1000),
        (2000, 1000, 67, 1000),
        (0, 100 * 366 * 86_400, 50, 50 * 366 * 86_400),
        (0, 40_000_000_000, 50, 20_000_000_000),
    ] {
        let found = renewal_time(at(from), at(to), percent);
        assert_eq!(found.duration_since(UNIX_EPOCH).unwrap().as_secs(), wanted, "{from}..{to} at {percent}");
    }
}

#[test]
fn a_leaf_is_due_from_that_moment_on() {
    let leaf = living(at(1000), at(2000));
    assert!(!renewal_due(&leaf, 67, at(1000)));
    assert!(!renewal_due(&leaf, 67, at(1669)));
    assert!(renewal_due(&leaf, 67, at(1670)));
    assert!(renewal_due(&leaf, 67, at(2001)));
}

#[test]
fn a_clock_that_jumps_ahead_makes_it_due_and_one_that_jumps_back_within_its_life_does_not() {
    let leaf = living(at(1000), at(2000));
    assert!(renewal_due(&leaf, 67, at(1_000_000)));
    assert!(!renewal_due(&leaf, 67, at(1100)));
}

#[test]
fn a_leaf_from_a_clock_that_ran_ahead_is_due_because_nobody_accepts_it_yet() {
    assert!(renewal_due(&living(at(1000), at(2000)), 67, at(999)));
    assert!(renewal_due(&living(at(1000), at(2000)), 67, UNIX_EPOCH));
}

proptest! {
    #[test]
    fn the_moment_lies_within_the_life_and_grows_with_the_share(from: u32, life: u32, a in 0u8..=100, b in 0u8..=100) {
        let (start, end) = (at(from.into()), at(u64::from(from) + u64::from(life)));
        let (low, high) = (renewal_time(start, end, a.min(b)), renewal_time(start, end, a.max(b)));
        prop_assert!(start <= low && low <= high && high <= end);
    }
}
