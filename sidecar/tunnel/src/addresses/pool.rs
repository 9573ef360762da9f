//! Which addresses are free: the lowest is given first, and none twice.

use std::{
    collections::{BTreeSet, HashSet},
    net::Ipv4Addr,
};

use super::Subnet;

/// The addresses of a network that nodes have.
#[derive(Clone, Debug)]
pub struct Pool {
    subnet: Subnet,
    taken: HashSet<Ipv4Addr>,
    /// Given back, and below `reached`.
    freed: BTreeSet<Ipv4Addr>,
    /// Everything up to here was given out once; beyond it only what [`Pool::hold`] took.
    reached: Ipv4Addr,
}

impl Pool {
    /// All free.
    pub fn new(subnet: Subnet) -> Self {
        Self { subnet, taken: HashSet::new(), freed: BTreeSet::new(), reached: subnet.network() }
    }

    /// The network.
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    /// Takes the lowest free address.
    pub fn take(&mut self) -> Option<Ipv4Addr> {
        if let Some(address) = self.freed.pop_first() {
            self.taken.insert(address);
            return Some(address);
        }
        while let Some(address) = self.subnet.next_after(self.reached) {
            self.reached = address;
            if self.taken.insert(address) {
                return Some(address);
            }
        }
        None
    }

    /// Takes a certain address, as it stands in the ledger. `false`: somebody has it, or nobody may.
    pub fn hold(&mut self, address: Ipv4Addr) -> bool {
        let held = self.subnet.assignable(address) && self.taken.insert(address);
        if held {
            self.freed.remove(&address);
        }
        held
    }

    /// Gives an address back. What was not taken is no error.
    pub fn give_back(&mut self, address: Ipv4Addr) {
        if self.taken.remove(&address) && address <= self.reached {
            self.freed.insert(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(subnet: &str) -> Pool {
        Pool::new(subnet.parse().unwrap())
    }

    #[test]
    fn the_first_nodes_get_3_5_and_7_and_a_freed_one_comes_first() {
        let mut pool = pool("10.1.1.1/24");
        let mut next = || pool.take().unwrap().octets()[3];
        assert_eq!([next(), next(), next()], [3, 5, 7]);
        pool.give_back(Ipv4Addr::new(10, 1, 1, 5));
        assert_eq!([pool.take().unwrap().octets()[3], pool.take().unwrap().octets()[3]], [5, 9]);
    }

    #[test]
    fn the_127th_node_of_a_24_gets_none_until_one_leaves() {
        let mut pool = pool("10.1.1.1/24");
        assert_eq!(std::iter::from_fn(|| pool.take()).count(), 126);
        assert_eq!((pool.take(), pool.taken()), (None, 126));
        pool.give_back(Ipv4Addr::new(10, 1, 1, 77));
        assert_eq!(pool.take(), Some(Ipv4Addr::new(10, 1, 1, 77)));
    }

    #[test]
    fn even_ones_the_servers_and_those_elsewhere_are_never_held() {
        let mut pool = pool("10.1.1.1/24");
        for last in [0, 1, 2, 4, 254, 255] {
            assert!(!pool.hold(Ipv4Addr::new(10, 1, 1, last)), "{last}");
        }
        assert!(!pool.hold(Ipv4Addr::new(10, 1, 2, 3)));
        assert!(pool.hold(Ipv4Addr::new(10, 1, 1, 3)) && !pool.hold(Ipv4Addr::new(10, 1, 1, 3)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take,
        Hold(u8),
        GiveBack(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Take), any::<u8>().prop_map(Step::Hold), any::<u8>().prop_map(Step::GiveBack)]
    }

    proptest! {
        #[test]
        fn it_is_the_same_as_looking_at_every_address_each_time(steps in prop::collection::vec(step(), 0..200)) {
            let mut pool = pool("10.1.1.1/26");
            let at = |last: u8| Ipv4Addr::new(10, 1, 1, last);
            let mut naive: BTreeSet<u8> = BTreeSet::new();
            let may = |last: u8| (3..=61).contains(&last) && last % 2 == 1;
            for step in steps {
                match step {
                    Step::Take => {
                        let lowest = (0..=255).find(|last| may(*last) && !naive.contains(last));
                        prop_assert_eq!(pool.take(), lowest.map(at));
                        naive.extend(lowest);
                    }
                    Step::Hold(last) => prop_assert_eq!(pool.hold(at(last)), may(last) && naive.insert(last)),
                    Step::GiveBack(last) => {
                        naive.remove(&last);
                        pool.give_back(at(last));
                    }
                }
                prop_assert_eq!(pool.taken(), naive.len());
            }
        }
    }
}
