//! Who may have a connection to a port of the control plane for as long as it likes: holders of certificates, each with a share, and
//! where all places are taken whoever has the most gives one up, so that neither one certificate nor many of one node keep the others
//! out; administrators have places of their own. Whoever shows none may be there too, and gives way (see `serve.rs`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::shares::Shares;

/// Connections of all holders of a kind. A node has one of them, for seconds, or where it is LiteKube's for as long as it runs.
pub(super) const ALL: usize = 4096;
/// Of them those of one certificate: what an administrator's scripts open at once.
pub(super) const OF_ONE: usize = 64;

/// The places of a port.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    /// By the key of the certificate.
    shares: Shares<String>,
    /// By the key too, each with its number, which grows: the first of them is the oldest.
    held: HashMap<String, BTreeMap<u64, CancellationToken>>,
    last: u64,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    key: String,
    number: u64,
    cut: CancellationToken,
}

impl Places {
    /// A place for a connection with a certificate of this key. `None`: it has its share, or as many as whoever has the most while all
    /// are taken.
    pub(super) fn take(self: &Arc<Self>, key: &str) -> Option<Place> {
        let mut taken = self.0.lock();
        let own = taken.shares.of(&key.to_owned());
        if own >= OF_ONE || (taken.shares.all() >= ALL && !taken.free_one_for(own)) {
            return None;
        }
        taken.last = taken.last.saturating_add(1);
        let (number, cut) = (taken.last, CancellationToken::new());
        taken.shares.take(key.to_owned());
        taken.held.entry(key.to_owned()).or_default().insert(number, cut.clone());
        Some(Place { of: Arc::clone(self), key: key.to_owned(), number, cut })
    }
}

impl Taken {
    /// Whoever has the most gives its oldest up to one that has `own`; of several the one whose oldest is the oldest.
    fn free_one_for(&mut self, own: usize) -> bool {
        let most = self.shares.most();
        if own >= most {
            return false;
        }
        let of_most = self.held.iter().filter(|(_, places)| places.len() == most);
        let oldest = of_most.filter_map(|(key, places)| Some((*places.first_key_value()?.0, key))).min();
        let Some((number, key)) = oldest.map(|(number, key)| (number, key.clone())) else { return false };
        self.give_back(&key, number).is_some_and(|cut| {
            cut.cancel();
            true
        })
    }

    /// The place is free, if it was not yet.
    fn give_back(&mut self, key: &str, number: u64) -> Option<CancellationToken> {
        let places = self.held.get_mut(key)?;
        let cut = places.remove(&number)?;
        if places.is_empty() {
            self.held.remove(key);
        }
        self.shares.give_back(&key.to_owned());
        Some(cut)
    }
}

impl Place {
    /// Whose it is, by the key of the certificate.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Waits until it has to give way.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.0.lock().give_back(&self.key, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, key: &str, count: usize) -> Vec<Place> {
        (0..count).map_while(|_| places.take(key)).collect()
    }

    /// Whether each of them has to give way.
    fn cut(held: &[Place]) -> Vec<bool> {
        held.iter().map(|place| place.cut.is_cancelled()).collect()
    }

    #[test]
    fn one_certificate_has_its_share_and_all_have_what_there_is() {
        let places = Arc::<Places>::default();
        let held: Vec<_> = (0..ALL / OF_ONE).map(|n| take(&places, &n.to_string(), 2 * OF_ONE)).collect();
        assert!(held.iter().all(|own| own.len() == OF_ONE && !cut(own).contains(&true)));
        drop(held);
        let taken = places.0.lock();
        assert!(taken.shares.all() == 0 && taken.held.is_empty());
    }

    #[test]
    fn where_all_are_taken_whoever_has_the_most_gives_its_oldest_up() {
        let places = Arc::<Places>::default();
        let mut held: Vec<_> = (0..ALL / OF_ONE).map(|n| take(&places, &n.to_string(), OF_ONE)).collect();
        assert!(places.take("0").is_none(), "it has its share");
        let late = take(&places, "late", 2);
        // All others have as many: the oldest of all goes first, and then that of the next holder, for the first has fewer now.
        let gone = |held: &[Vec<Place>]| held.iter().flat_map(|own| cut(own)).filter(|cut| *cut).count();
        assert!(late.len() == 2 && cut(&held[0])[..2] == [true, false] && cut(&held[1])[..2] == [true, false]);
        assert_eq!((gone(&held), places.0.lock().shares.all()), (2, ALL));
        // What gave way is not given back twice.
        held[0].remove(0);
        assert_eq!(places.0.lock().shares.all(), ALL);
        assert!(!cut(&late).contains(&true));
        drop((held, late));
        let taken = places.0.lock();
        assert!(taken.shares.all() == 0 && taken.held.is_empty());
    }

    #[test]
    fn who_has_as_many_as_whoever_has_the_most_takes_no_place_of_others() {
        let places = Arc::<Places>::default();
        let mut held: Vec<_> = (0..ALL).filter_map(|n| places.take(&n.to_string())).collect();
        assert!(held.len() == ALL && places.take("0").is_none());
        assert!(places.take("late").is_some() && held[0].cut.is_cancelled());
        held.truncate(1);
        assert_eq!(places.0.lock().shares.all(), 0);
    }
}
