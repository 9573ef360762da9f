//! Which instance takes a call: the one that the caller named, or in turn by weight, or the least loaded (PTP section
//! 10.4, points 3 to 5).
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
use mesh_core::NodeId;

use crate::{Address, instance::Instance, offer::Weight};

/// 2^64 divided by the golden ratio: its multiples fall evenly into a range, however far one has counted.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The instances that share the calls of one urn in one protocol: those of one registration name, or of all names that offer
/// it as a communal service.
#[derive(Debug)]
pub struct Group {
    /// The registration's name, or the name of the communal service.
    pub name: Arc<str>,
    /// The instances.
    pub members: Box<[Member]>,
    /// Whether any of them belongs to a subset.
    has_subsets: bool,
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

/// What a caller says about the instance that it wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'c> {
    /// `mesh-subset`.
    pub subset: Option<&'c str>,
    /// The instance that earlier calls went to.
    pub sticky: Option<&'c Address>,
    /// The partner that calls, if one does: partners have a share of each instance.
    pub partner: Option<&'c NodeId>,
}

/// Whether instances that answered badly of late are asked as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ejected {
    Left,
    Asked,
}

impl Member {
    fn serves(&self, wish: Wish<'_>) -> bool {
        self.weight > 0 && wish.subset.is_none_or(|wanted| self.subset.as_deref() == Some(wanted))
    }

    fn can_take(&self, wish: Wish<'_>, ejected: Ejected) -> bool {
        self.serves(wish)
            && self.instance.can_take(wish.partner)
            && (ejected == Ejected::Asked || !self.instance.is_ejected())
    }
}

impl Group {
    /// A group whose turn starts with its first member.
    #[must_use]
    pub fn new(name: Arc<str>, members: Vec<Member>) -> Self {
        Self::following(name, members, None)
    }

    /// A group whose turn goes on where that of the one `before` was, so that a change prefers nobody.
    #[must_use]
    pub(crate) fn following(name: Arc<str>, members: Vec<Member>, before: Option<&Self>) -> Self {
        let turn = before.map_or(0, |before| before.turn.load(Relaxed));
        let has_subsets = members.iter().any(|member| member.subset.is_some());
        Self { name, members: members.into(), has_subsets, turn: AtomicU64::new(turn) }
    }

    /// Whether any instance belongs to a subset.
    pub(crate) fn has_subsets(&self) -> bool {
        self.has_subsets
    }

    /// What a wish means here: a program names its subset in each of its calls, also to services that have none.
    fn meant<'c>(&self, wish: Wish<'c>) -> Wish<'c> {
        Wish { subset: wish.subset.filter(|_| self.has_subsets), ..wish }
    }

    /// The instance that takes the next call; `None` if none can.
    #[must_use]
    pub fn pick(&self, balance: Balance, wish: Wish<'_>) -> Option<&Member> {
        let wish = self.meant(wish);
        if let Some(named) = wish.sticky.and_then(|wanted| self.member_at(wanted)) {
            return named.can_take(wish, Ejected::Asked).then_some(named);
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        // Where all answered badly of late, it is not the instances: they get their calls as if nothing had been.
        [Ejected::Left, Ejected::Asked].into_iter().find_map(|ejected| match balance {
            Balance::RoundRobin => self.in_turn(turn, wish, ejected),
            Balance::LeastLoaded => self.least_loaded(turn, wish, ejected),
        })
    }

    /// Any instance that has a share, ready or not: where a retry is tried when none is ready.
    #[must_use]
    pub fn pick_any(&self, wish: Wish<'_>) -> Option<&Member> {
        let wish = self.meant(wish);
        if let Some(named) = wish.sticky.and_then(|wanted| self.member_at(wanted)) {
            return named.serves(wish).then_some(named);
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        let count = self.members.iter().filter(|m| m.serves(wish)).count();
        let nth = usize::try_from(turn.checked_rem(count as u64)?).ok()?;
        self.members.iter().filter(|m| m.serves(wish)).nth(nth)
    }

    fn member_at(&self, address: &Address) -> Option<&Member> {
        self.members.iter().find(|member| member.instance.address().is_place_of(address))
    }

    fn able<'g>(&'g self, wish: Wish<'_>, ejected: Ejected) -> impl Iterator<Item = &'g Member> {
        self.members.iter().filter(move |m| m.can_take(wish, ejected))
    }

    fn in_turn(&self, turn: u64, wish: Wish<'_>, ejected: Ejected) -> Option<&Member> {
        let (mut count, mut total, mut equal) = (0_u64, 0_u64, true);
        let first = self.able(wish, ejected).next()?;
        for member in self.able(wish, ejected) {
            count += 1;
            total += u64::from(member.weight);
            equal &= member.weight == first.weight;
        }
        // An instance may have gone away since; then the first one has it.
        if equal {
            let nth = usize::try_from(turn.checked_rem(count)?).ok()?;
            return self.able(wish, ejected).nth(nth).or(Some(first));
        }
        let mut point = scaled(turn.wrapping_mul(GOLDEN), total);
        let hit = self.able(wish, ejected).find(|member| {
            let weight = u64::from(member.weight);
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        });
        hit.or(Some(first))
    }

    fn least_loaded(&self, turn: u64, wish: Wish<'_>, ejected: Ejected) -> Option<&Member> {
        let start = usize::try_from(turn.checked_rem(self.members.len() as u64)?).ok()?;
        let (tail, head) = self.members.split_at(start);
        let rotated = head.iter().chain(tail).filter(|m| m.can_take(wish, ejected));
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

    use crate::{Address, dial::Dialer, instance::EJECTED_AFTER};

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

    const ANY: Wish<'_> = Wish { subset: None, sticky: None, partner: None };

    fn ports(group: &Group, balance: Balance, calls: usize) -> Vec<u16> {
        (0..calls).filter_map(|_| group.pick(balance, ANY)).map(|m| m.instance.address().port()).collect()
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
        assert!(group.pick_any(ANY).is_some());
    }

    #[test]
    fn the_least_loaded_takes_the_call_and_equals_take_turns() {
        let group = group(&[1000, 1000, 2000]);
        let _busy: Vec<_> = (0..3).map(|_| group.members[0].instance.enter(None).unwrap()).collect();
        let _less = group.members[1].instance.enter(None).unwrap();
        let _also = group.members[2].instance.enter(None).unwrap();
        assert_eq!(ports(&group, Balance::LeastLoaded, 2), [3, 3]);
    }

    #[test]
    fn a_full_instance_is_passed_over() {
        let group = group(&[1000, 1000]);
        let _busy: Vec<_> = (0..10).map(|_| group.members[0].instance.enter(None).unwrap()).collect();
        assert_eq!(ports(&group, Balance::RoundRobin, 2), [2, 2]);
    }

    #[test]
    fn callers_with_a_subset_get_only_its_instances() {
        let group = group(&[1000, 1000, 1000]);
        let wish = |subset| Wish { subset: Some(subset), sticky: None, partner: None };
        let port = |subset| group.pick(Balance::RoundRobin, wish(subset)).map(|m| m.instance.address().port());
        assert_eq!((port("blue"), port("blue"), port("green")), (Some(2), Some(2), None));
    }

    #[test]
    fn a_caller_with_a_subset_reaches_a_service_that_has_none() {
        let one = |n: usize| Member { subset: None, ..group(&[1000, 1000]).members[n].clone() };
        let group = Group::new("g".into(), vec![one(0), one(1)]);
        let wish = Wish { subset: Some("blue"), ..ANY };
        let picked = group.pick(Balance::RoundRobin, wish).map(|m| m.instance.address().port());
        assert_eq!((picked, group.pick_any(wish).is_some()), (Some(1), true));
    }

    #[test]
    fn a_call_that_names_its_instance_goes_there_or_nowhere() {
        let group = group(&[1000, 1000, 0]);
        let address = |port| Address::parse(&format!("http://10.0.0.1:{port}")).unwrap();
        let port = |to: &Address| {
            let wish = Wish { subset: None, sticky: Some(to), partner: None };
            group.pick(Balance::RoundRobin, wish).map(|m| m.instance.address().port())
        };
        assert_eq!((port(&address(2)), port(&address(2)), port(&address(3))), (Some(2), Some(2), None));
        group.members[1].instance.mark_not_ready("refused".into());
        assert_eq!(port(&address(2)), None);
        // Only an instance of the service can be named.
        assert_eq!(port(&address(9)), Some(1));
    }

    #[test]
    fn an_instance_that_answers_badly_is_left_out_unless_all_do() {
        let group = group(&[1000, 1000]);
        let fail = |n: usize| (0..EJECTED_AFTER).filter_map(|_| group.members[n].instance.note_failure()).count();
        fail(0);
        assert_eq!(ports(&group, Balance::RoundRobin, 3), [2, 2, 2]);
        assert_eq!(ports(&group, Balance::LeastLoaded, 3), [2, 2, 2]);
        fail(1);
        assert_eq!(ports(&group, Balance::RoundRobin, 4).iter().filter(|port| **port == 1).count(), 2);
        assert!(group.members[0].instance.note_success());
        assert_eq!(ports(&group, Balance::RoundRobin, 3), [1, 1, 1]);
    }

    #[test]
    fn a_change_of_the_group_goes_on_with_the_turn() {
        let before = group(&[1000, 1000, 1000]);
        assert_eq!(ports(&before, Balance::RoundRobin, 1), [1]);
        let after = Group::following("g".into(), before.members.to_vec(), Some(&before));
        assert_eq!(ports(&after, Balance::RoundRobin, 2), [2, 3]);
    }
}
