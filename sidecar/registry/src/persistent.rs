//! A map from texts whose clone costs nothing, and whose change copies a few hundred bytes however large it is: a hash
//! trie with 32 ways at each step.
//!
//! Pure. `table.rs` keeps children and names in it, so that a table in use stays as it is, and a hundred thousand services
//! side by side are no dearer to change than one.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock},
};

/// Bits of the hash that one step looks at: 32 ways, so that five steps lead to one of 33 million.
const BITS: u32 = 5;
const MASK: u64 = (1 << BITS) - 1;

/// Keyed by chance: names come from applications, who could otherwise choose them so that all fall into one place.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct Map<V>(Option<Arc<Branch<V>>>);

#[derive(Clone, Debug)]
struct Branch<V> {
    /// Which of the 32 ways there are; their slots stand in the same order.
    ways: u32,
    slots: Vec<Slot<V>>,
}

#[derive(Clone, Debug)]
enum Slot<V> {
    Branch(Arc<Branch<V>>),
    Entry(Entry<V>),
    /// Keys of one hash. Nobody ever saw two; they must not make an endless chain of branches all the same.
    Same(Vec<Entry<V>>),
}

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    key: Arc<str>,
    value: V,
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V: Clone> Map<V> {
    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.get_hashed(HASHER.hash_one(key), key)
    }

    /// Puts `value` under `key`.
    pub(crate) fn insert(&mut self, key: &str, value: V) {
        self.insert_hashed(HASHER.hash_one(key), key, value);
    }

    /// Takes `key` out; one that is not there is no error.
    pub(crate) fn remove(&mut self, key: &str) {
        self.remove_hashed(HASHER.hash_one(key), key);
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn get_hashed(&self, hash: u64, key: &str) -> Option<&V> {
        let (mut branch, mut rest) = (self.0.as_deref()?, hash);
        loop {
            match branch.slots.get(branch.place(rest).ok()?)? {
                Slot::Branch(below) => (branch, rest) = (below, rest >> BITS),
                Slot::Entry(entry) => return (entry.hash == hash && *entry.key == *key).then_some(&entry.value),
                Slot::Same(entries) => {
                    return entries.iter().find(|entry| *entry.key == *key).map(|entry| &entry.value);
                }
            }
        }
    }

    fn insert_hashed(&mut self, hash: u64, key: &str, value: V) {
        let root = self.0.get_or_insert_with(|| Arc::new(Branch::none()));
        Arc::make_mut(root).insert(Entry { hash, key: key.into(), value }, hash, 0);
    }

    fn remove_hashed(&mut self, hash: u64, key: &str) {
        // Nothing is copied for a key that is not there.
        if self.get_hashed(hash, key).is_none() {
            return;
        }
        let Some(root) = &mut self.0 else { return };
        Arc::make_mut(root).remove(hash, key);
        if root.slots.is_empty() {
            self.0 = None;
        }
    }
}

impl<V: Clone> Branch<V> {
    fn none() -> Self {
        Self { ways: 0, slots: Vec::new() }
    }

    /// Where the slot of this hash is, or would be.
    fn place(&self, rest: u64) -> Result<usize, usize> {
        let way = 1_u32 << (rest & MASK);
        let at = (self.ways & (way - 1)).count_ones() as usize;
        if self.ways & way == 0 { Err(at) } else { Ok(at) }
    }

    fn open(&mut self, at: usize, rest: u64, slot: Slot<V>) {
        self.ways |= 1 << (rest & MASK);
        self.slots.insert(at, slot);
    }

    /// `rest` is what of the hash was not looked at in the `depth` steps before.
    fn insert(&mut self, entry: Entry<V>, rest: u64, depth: u32) {
        let at = match self.place(rest) {
            Ok(at) => at,
            Err(at) => return self.open(at, rest, Slot::Entry(entry)),
        };
        let slot = &mut self.slots[at];
        match slot {
            Slot::Branch(below) => Arc::make_mut(below).insert(entry, rest >> BITS, depth + 1),
            Slot::Entry(old) if old.key == entry.key => *old = entry,
            Slot::Entry(old) if old.hash == entry.hash => *slot = Slot::Same(vec![old.clone(), entry]),
            Slot::Same(entries) if entries.iter().any(|old| old.hash == entry.hash) => {
                entries.retain(|old| old.key != entry.key);
                entries.push(entry);
            }
            Slot::Entry(_) | Slot::Same(_) => {
                let mut below = Self::none();
                let old_rest = slot.hash() >> ((depth + 1) * BITS);
                below.open(0, old_rest, slot.clone());
                below.insert(entry, rest >> BITS, depth + 1);
                *slot = Slot::Branch(Arc::new(below));
            }
        }
    }

    fn remove(&mut self, rest: u64, key: &str) {
        let Ok(at) = self.place(rest) else { return };
        let is_left = match &mut self.slots[at] {
            Slot::Branch(below) => {
                let below = Arc::make_mut(below);
                below.remove(rest >> BITS, key);
                !below.slots.is_empty()
            }
            Slot::Entry(entry) => *entry.key != *key,
            Slot::Same(entries) => {
                entries.retain(|entry| *entry.key != *key);
                !entries.is_empty()
            }
        };
        if !is_left {
            self.slots.remove(at);
            self.ways &= !(1 << (rest & MASK));
        }
    }
}

impl<V> Slot<V> {
    /// The hash of an entry. A branch is never asked.
    fn hash(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.hash,
            Self::Same(entries) => entries.first().map_or(0, |entry| entry.hash),
            Self::Branch(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes that differ early, late, and not at all.
    fn hash() -> impl Strategy<Value = u64> {
        prop::sample::select(vec![0, 1, 1 << 5, 1 << 60, (1 << 60) | 1, u64::MAX, u64::MAX >> 1])
    }

    proptest! {
        #[test]
        fn it_is_a_map_whatever_the_hashes_are(
            changes in prop::collection::vec((hash(), 0..4_u32, any::<bool>()), 0..60),
        ) {
            let (mut map, mut model, mut before) = (Map::default(), BTreeMap::new(), Vec::new());
            for (n, (hash, key, put)) in changes.into_iter().enumerate() {
                let key = format!("{hash}-{key}");
                before.push((map.clone(), model.clone()));
                if put {
                    map.insert_hashed(hash, &key, n);
                    model.insert((hash, key), n);
                } else {
                    map.remove_hashed(hash, &key);
                    model.remove(&(hash, key));
                }
            }
            before.push((map, model));
            for (map, model) in &before {
                prop_assert_eq!(map.is_empty(), model.is_empty());
                for hash in [0, 1, 1 << 5, 1 << 60, (1 << 60) | 1, u64::MAX, u64::MAX >> 1] {
                    for key in 0..4 {
                        let key = format!("{hash}-{key}");
                        prop_assert_eq!(map.get_hashed(hash, &key), model.get(&(hash, key.clone())));
                    }
                }
            }
        }
    }

    #[test]
    fn a_change_among_a_hundred_thousand_copies_a_few_steps() {
        let mut map = Map::default();
        for n in 0..100_000 {
            map.insert(&n.to_string(), n);
        }
        let in_use = map.clone();
        map.insert("77777", 0);
        assert_eq!((in_use.get("77777"), map.get("77777")), (Some(&77777), Some(&0)));
        let branches = |map: &Map<i32>| map.0.as_ref().unwrap().slots.clone();
        let shared = std::iter::zip(branches(&in_use), branches(&map))
            .filter(|pair| matches!(pair, (Slot::Branch(a), Slot::Branch(b)) if Arc::ptr_eq(a, b)));
        assert_eq!(shared.count(), 31);
    }
}
