//! The connections of the admin port, by address: nobody may hold so many that probes wait behind them.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// The kubelet, a scraper, a person: each needs one or two at once.
const OF_ONE_ADDRESS: usize = 16;

/// Who is connected.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    /// A place for one more connection from `address`; `None` when it has as many as it may.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.0.lock();
        let count = taken.entry(address).or_default();
        if *count == OF_ONE_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        let left = taken.get(&self.address).map_or(0, |count| count - 1);
        if left == 0 {
            taken.remove(&self.address);
        } else {
            taken.insert(self.address, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_places_and_another_its_own() {
        let places = Places::default();
        let (one, same, other) = ([10, 0, 0, 1].into(), "::ffff:10.0.0.1".parse().unwrap(), [10, 0, 0, 2].into());
        let mut taken: Vec<Place> = (0..OF_ONE_ADDRESS).map(|_| places.take(one).unwrap()).collect();
        assert!(places.take(one).is_none() && places.take(same).is_none());
        assert!(places.take(other).is_some());
        taken.pop();
        assert!(places.take(same).is_some());
        taken.clear();
        assert!(places.0.lock().is_empty(), "who left is forgotten");
    }
}
