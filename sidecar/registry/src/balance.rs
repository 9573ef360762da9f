//! Which instance takes a call: in turn by weight, or the least loaded (PTP section 10.4, point 3).
//!
//! Pure but for the turn counter. Neither allocates nor locks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crds::Balance;

use crate::{instance::Instance, offer::Weight};

/// 2^64 divided by the golden ratio: its multiples fall evenly into a range, however far one has counted.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The instances of one registration name that offer one urn in one protocol.
#[derive(Debug)]
pub struct Group {
    /// The registration's name.
    pub name: Arc<str>,
    /// The instances.
    pub members: Box<[Member]>,
    turn: AtomicU64,
}

/// One instance in a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Its share of the calls.
    pub weight: Weight,
    /// The `mesh-subset` that it belongs to.
    pub subset: Option<Arc<str>>,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// How often a call is tried again when no instance is ready.
    pub retries: u8,
}

impl Member {
    fn serves(&self, subset: Option<&str>) -> bool {
        self.weight > 0 && subset.is_none_or(|wanted| self.subset.as_deref() == Some(wanted))
    }
}

impl Group {
    /// A group whose turn starts with its first member.
    #[must_use]
    pub fn new(name: Arc<str>, members: Vec<Member>) -> Self {
        Self { name, members: members.into(), turn: AtomicU64::new(0) }
    }

    /// The instance that takes the next call; `None` if none can.
    #[must_use]
    pub fn pick(&self, balance: Balance, subset: Option<&str>) -> Option<&Member> {
        let turn = self.turn.fetch_add(1, Relaxed);
        match balance {
            Balance::RoundRobin => self.in_turn(turn, subset),
            Balance::LeastLoaded => self.least_loaded(turn, subset),
        }
    }

    /// Any instance that has a share, ready or not: where a retry is tried when none is ready.
    #[must_use]
    pub fn pick_any(&self, subset: Option<&str>) -> Option<&Member> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let count = self.members.iter().filter(|m| m.serves(subset)).count();
        let nth = usize::try_from(turn.checked_rem(count as u64)?).ok()?;
        self.members.iter().filter(|m| m.serves(subset)).nth(nth)
    }

    fn able<'g>(&'g self, subset: Option<&str>) -> impl Iterator<Item = &'g Member> {
        self.members.iter().filter(move |m| m.serves(subset) && m.instance.can_take())
    }

    fn in_turn(&self, turn: u64, subset: Option<&str>) -> Option<&Member> {
        let (mut count, mut total, mut equal) = (0_u64, 0_u64, true);
        let first = self.able(subset).next()?;
        for member in self.able(subset) {
            count += 1;
            total += u64::from(member.weight);
            equal &= member.weight == first.weight;
        }
        // An instance may have gone away since; then the first one has it.
        if equal {
            let nth = usize::try_from(turn.checked_rem(count)?).ok()?;
            return self.able(subset).nth(nth).or(Some(first));
        }
        let mut point = scaled(turn.wrapping_mul(GOLDEN), total);
        let hit = self.able(subset).find(|member| {
            let weight = u64::from(member.weight);
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        });
        hit.or(Some(first))
    }

    fn least_loaded(&self, turn: u64, subset: Option<&str>) -> Option<&Member> {
        let start = usize::try_from(turn.checked_rem(self.members.len() as u64)?).ok()?;
        let (tail, head) = self.members.split_at(start);
        let rotated = head.iter().chain(tail).filter(|m| m.serves(subset) && m.instance.can_take());
        rotated.min_by_key(|m| (m.instance.under_way() as u64 + 1) * 1_000_000 / u64::from(m.weight))
    }
}

/// `fraction` of 2^64, scaled to `0..total`.
fn scaled(fraction: u64, total: u64) -> u64 {
    let product = u128::from(fraction) * u128::from(total);
    u64::try_from(product >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_network::dial::Given;

    use crate::{Address, dial::Dialer};

    fn group(weights: &[Weight]) -> Group {
        let member = |(n, weight): (usize, &Weight)| Member {
            instance: Arc::new(Instance::new(
                Address::parse(&format!("10.0.0.1:{}", n + 1)).unwrap(),
                Given::ByApi,
                Dialer::default(),
                10,
            )),
            weight: *weight,
            subset: (n == 1).then(|| "blue".into()),
            timeout: Duration::from_secs(1),
            retries: 0,
        };
        Group::new("g".into(), weights.iter().enumerate().map(member).collect())
    }

    fn ports(group: &Group, balance: Balance, calls: usize) -> Vec<u16> {
        (0..calls).filter_map(|_| group.pick(balance, None)).map(|m| m.instance.address().port()).collect()
    }

    #[test]
    fn equal_instances_take_turns() {
        assert_eq!(ports(&group(&[1000, 1000, 1000]), Balance::RoundRobin, 6), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn calls_are_shared_by_weight_and_spread_evenly() {
        let ports = ports(&group(&[1000, 3000, 6000]), Balance::RoundRobin, 10_000);
        for (port, share) in [(1, 1000), (2, 3000), (3, 6000)] {
            let got = ports.iter().filter(|p| **p == port).count();
            assert!(got.abs_diff(share) < 50, "{port} got {got} instead of {share}");
        }
        // In turn means that no stretch of ten calls forgets the lighter one for long.
        assert!(ports.windows(20).all(|w| w.contains(&1) && w.contains(&2)));
    }

    #[test]
    fn weight_nought_drains_and_what_is_not_ready_is_passed_over() {
        let group = group(&[1000, 0, 1000]);
        assert_eq!(ports(&group, Balance::RoundRobin, 4), [1, 3, 1, 3]);
        group.members[0].instance.mark_not_ready("refused".into());
        assert_eq!(ports(&group, Balance::RoundRobin, 3), [3, 3, 3]);
        group.members[2].instance.mark_not_ready("refused".into());
        assert_eq!(ports(&group, Balance::RoundRobin, 3), [0_u16; 0]);
        assert_eq!(ports(&group, Balance::LeastLoaded, 3), [0_u16; 0]);
        assert!(group.pick_any(None).is_some());
    }

    #[test]
    fn the_least_loaded_takes_the_call_and_equals_take_turns() {
        let group = group(&[1000, 1000, 2000]);
        let _busy: Vec<_> = (0..3).map(|_| group.members[0].instance.enter().unwrap()).collect();
        let _less = group.members[1].instance.enter().unwrap();
        let _also = group.members[2].instance.enter().unwrap();
        assert_eq!(ports(&group, Balance::LeastLoaded, 2), [3, 3]);
    }

    #[test]
    fn a_full_instance_is_passed_over() {
        let group = group(&[1000, 1000]);
        let _busy: Vec<_> = (0..10).map(|_| group.members[0].instance.enter().unwrap()).collect();
        assert_eq!(ports(&group, Balance::RoundRobin, 2), [2, 2]);
    }

    #[test]
    fn callers_with_a_subset_get_only_its_instances() {
        let group = group(&[1000, 1000, 1000]);
        let port = |subset| group.pick(Balance::RoundRobin, Some(subset)).map(|m| m.instance.address().port());
        assert_eq!((port("blue"), port("blue"), port("green")), (Some(2), Some(2), None));
    }
}
