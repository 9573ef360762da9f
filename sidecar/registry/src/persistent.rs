//! A map from texts whose clone costs nothing, whose change copies a few kilobytes however large it is, and whose lookup
//! touches three places in memory: a directory, the slots it leads to, and the key.
//!
//! Extendible hashing: the first bits of the hash choose one of the directory's ways, each way leads to a small table with
//! free slots, and a table that is full is split in two; several ways may lead to one table. Pure: `table.rs` says what is
//! hashed how, and keeps prefixes and names in it.

use std::{mem, ops::Range, sync::Arc};

/// The map. Tests let it be full sooner.
///
/// More than `FULL` entries in one place are split. A change copies a place and the directory: at ten thousand entries both
/// have some 150 pointers.
///
/// Two to the power of `MOST_BITS` are as many ways as there may be: a place has a hundred entries when there are six
/// million. Whoever made hashes that do not differ in so many bits would only make a place larger.
#[derive(Clone, Debug)]
pub(crate) struct Map<V, const FULL: usize = 96, const MOST_BITS: u32 = 16> {
    /// Two to the power of `bits`, or none while the map is empty. Ways that lead to one place are neighbours.
    ways: Arc<[Arc<Place<V>>]>,
    bits: u32,
    len: usize,
}

/// Slots, a power of two of them or none, a quarter of them free. An entry stands in the slot that the last bits of its hash
/// name, or in the next free one.
type Place<V> = [Option<Entry<V>>];

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    key: Arc<str>,
    value: V,
}

impl<V, const FULL: usize, const MOST_BITS: u32> Default for Map<V, FULL, MOST_BITS> {
    fn default() -> Self {
        Self { ways: Arc::default(), bits: 0, len: 0 }
    }
}

impl<V: Clone, const FULL: usize, const MOST_BITS: u32> Map<V, FULL, MOST_BITS> {
    /// The value of `key`, whose hash is `hash`.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &str) -> Option<&V> {
        let place = self.ways.get(self.way(hash))?;
        let mut found = walk(place, hash).map_while(|slot| place.get(slot)?.as_ref());
        found.find(|entry| entry.hash == hash && *entry.key == *key).map(|entry| &entry.value)
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `value` under `key`, whose hash is `hash`.
    pub(crate) fn insert(&mut self, hash: u64, key: &str, value: V) {
        let (ways, mut place) = self.take(hash);
        let entry = Entry { hash, key: key.into(), value };
        let used = place.iter().flatten().count();
        if let Some(slot) = slot_of(&place, hash, key) {
            Arc::make_mut(&mut place)[slot] = Some(entry);
        } else {
            self.len += 1;
            if !has_room(place.len(), used + 1) || used >= FULL {
                let entries = place.iter().flatten().cloned().chain([entry]).collect();
                return self.fill(ways, entries);
            }
            put(Arc::make_mut(&mut place), entry);
        }
        self.lead(ways, &place);
    }

    /// Takes `key` out; one that is not there is no error, and copies nothing.
    pub(crate) fn remove(&mut self, hash: u64, key: &str) {
        if self.get(hash, key).is_none() {
            return;
        }
        self.len -= 1;
        if self.is_empty() {
            return *self = Self::default();
        }
        let (ways, place) = self.take(hash);
        let left = place.iter().flatten().filter(|entry| *entry.key != *key).cloned().collect();
        self.lead(ways, &packed(left));
    }

    /// The way of a hash: its first bits.
    fn way(&self, hash: u64) -> usize {
        // Two shifts, because one by 64 is none.
        usize::try_from(hash >> 1 >> (u64::BITS - 1 - self.bits)).unwrap_or(usize::MAX)
    }

    /// Takes the place of a hash out of all ways that lead there, so that it is copied only if somebody else uses it.
    fn take(&mut self, hash: u64) -> (Range<usize>, Arc<Place<V>>) {
        let way = self.way(hash);
        if self.ways.is_empty() {
            self.ways = Arc::new([Arc::default()]);
        }
        let leads_there = |place: &Arc<Place<V>>| Arc::ptr_eq(place, &self.ways[way]);
        let before = self.ways[..way].iter().rev().take_while(|place| leads_there(place)).count();
        let after = self.ways[way..].iter().take_while(|place| leads_there(place)).count();
        let ways = way - before..way + after;
        let mut place = Arc::default();
        for way in &mut Arc::make_mut(&mut self.ways)[ways.clone()] {
            place = mem::take(way);
        }
        (ways, place)
    }

    fn lead(&mut self, ways: Range<usize>, place: &Arc<Place<V>>) {
        Arc::make_mut(&mut self.ways)[ways].fill(Arc::clone(place));
    }

    /// Makes places for what stands at the end of these ways. One entry came too many, so that of two halves only one can
    /// still be too full, and the other is done before there are more ways.
    fn fill(&mut self, mut ways: Range<usize>, mut entries: Vec<Entry<V>>) {
        while entries.len() > FULL && (ways.len() > 1 || self.bits < MOST_BITS) {
            if ways.len() == 1 {
                self.ways = self.ways.iter().flat_map(|place| [Arc::clone(place), Arc::clone(place)]).collect();
                self.bits += 1;
                ways = ways.start * 2..ways.end * 2;
            }
            let middle = usize::midpoint(ways.start, ways.end);
            let (first, second): (Vec<_>, _) = entries.into_iter().partition(|entry| self.way(entry.hash) < middle);
            let (mut full, mut done) = ((ways.start..middle, first), (middle..ways.end, second));
            if done.1.len() > full.1.len() {
                mem::swap(&mut full, &mut done);
            }
            self.lead(done.0, &packed(done.1));
            (ways, entries) = full;
        }
        self.lead(ways, &packed(entries));
    }
}

/// Where an entry of this hash may stand in a place, in order; each slot once.
#[inline]
fn walk<V>(place: &Place<V>, hash: u64) -> impl Iterator<Item = usize> + use<V> {
    let mask = place.len().wrapping_sub(1);
    let first = usize::try_from(hash & mask as u64).unwrap_or(0);
    (0..place.len()).map(move |step| (first + step) & mask)
}

fn slot_of<V>(place: &Place<V>, hash: u64, key: &str) -> Option<usize> {
    walk(place, hash).find(|slot| place[*slot].as_ref().is_some_and(|entry| *entry.key == *key))
}

/// Whether `count` entries leave a quarter of the slots free.
fn has_room(slots: usize, count: usize) -> bool {
    count <= slots / 4 * 3
}

fn packed<V: Clone>(entries: Vec<Entry<V>>) -> Arc<Place<V>> {
    let mut slots = 4;
    while !has_room(slots, entries.len()) {
        slots *= 2;
    }
    let mut place = vec![None; slots];
    for entry in entries {
        put(&mut place, entry);
    }
    place.into()
}

/// There is a free slot.
fn put<V>(place: &mut Place<V>, entry: Entry<V>) {
    if let Some(slot) = walk(place, entry.hash).find(|slot| place[*slot].is_none()) {
        place[slot] = Some(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Places of four, and 64 ways at most.
    type Small = Map<usize, 4, 6>;

    /// Hashes that differ in their first bits, in later ones, in their last, and not at all.
    const HASHES: [u64; 9] = [0, 1, 1 << 40, 1 << 57, 1 << 58, 1 << 60, 1 << 63, u64::MAX, u64::MAX >> 1];

    proptest! {
        #[test]
        fn it_is_a_map_whatever_the_hashes_are(
            changes in prop::collection::vec((prop::sample::select(HASHES.to_vec()), 0..8_u32, 0..4_u32), 0..120),
        ) {
            let (mut map, mut model, mut before) = (Small::default(), BTreeMap::new(), Vec::new());
            for (n, (hash, key, kind)) in changes.into_iter().enumerate() {
                if n % 10 == 0 {
                    before.push((map.clone(), model.clone()));
                }
                let name = format!("{hash}-{key}");
                if kind > 0 {
                    map.insert(hash, &name, n);
                    model.insert((hash, key), n);
                } else {
                    map.remove(hash, &name);
                    model.remove(&(hash, key));
                }
                prop_assert_eq!(map.get(hash, &name), model.get(&(hash, key)));
            }
            before.push((map, model));
            for (map, model) in &before {
                prop_assert_eq!(map.is_empty(), model.is_empty());
                for hash in HASHES {
                    for key in 0..8 {
                        prop_assert_eq!(map.get(hash, &format!("{hash}-{key}")), model.get(&(hash, key)));
                    }
                }
            }
        }
    }

    /// A hash for each number, spread evenly.
    fn spread(n: usize) -> u64 {
        (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn a_change_among_a_hundred_thousand_copies_one_place_and_the_directory() {
        let mut map: Map<usize> = Map::default();
        for n in 0..100_000 {
            map.insert(spread(n), &n.to_string(), n);
        }
        let in_use = map.clone();
        map.insert(spread(77_777), "77777", 0);
        let got = |map: &Map<usize>| map.get(spread(77_777), "77777").copied();
        assert_eq!((got(&in_use), got(&map)), (Some(77_777), Some(0)));
        assert!(map.ways.len() <= 4096, "{} ways", map.ways.len());
        let mut others: Vec<_> =
            std::iter::zip(&*in_use.ways, &*map.ways).filter(|(a, b)| !Arc::ptr_eq(a, b)).collect();
        others.dedup_by(|(_, a), (_, b)| Arc::ptr_eq(a, b));
        assert_eq!(others.len(), 1);
        assert!(others.iter().all(|(_, place)| place.len() <= 128));
    }

    #[test]
    fn hashes_that_are_all_the_same_make_one_large_place_and_no_endless_directory() {
        let mut map = Small::default();
        for n in 0..1000 {
            map.insert(7, &n.to_string(), n);
        }
        assert_eq!((map.ways.len(), map.get(7, "999"), map.get(7, "1000")), (64, Some(&999), None));
    }
}
