//! The state machine of the directory: an entry in, a verdict and what changes out. It has no clock, no randomness and no order of a
//! hash map, so that every replay of a log comes to the same roots.
//!
//! ```text
//! record.rs      what is held
//! act.rs         what an entry does, as plain values
//! judge.rs       whether it may, and what changes (D-1 to D-5)
//! find.rs        retrievals and searches (D-6, D-7)
//! list.rs        all that is held of one kind
//! page.rs        pages of long answers (D-9)
//! shared.rs      one copy of what many say
//! ```

mod act;
mod find;
mod judge;
mod list;
mod page;
mod record;
mod shared;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

pub use act::{Act, Author, Connect, Guard, NewClass, Policy, Which};
pub use find::{Found, Named};
pub use page::{Page, Wanted};
pub use record::{CentralSystem, Change, Class, DataSystem, Kind, Lease, Offer, Owner, Protocol, Record};
pub use shared::Shared;

use crate::{
    Hash,
    log::KeyName,
    names::fold,
    trie::{self, Proof, Trie, place},
};

/// The current state.
#[derive(Clone, Debug)]
pub struct State {
    origin: KeyName,
    systems: BTreeMap<String, CentralSystem>,
    classes: BTreeMap<String, Class>,
    /// Folded label to the classes that it is the label of: a snapshot may name its classes by label, thousands of times.
    labels: BTreeMap<String, BTreeSet<String>>,
    /// Keys and records are shared with the states before and after: a directory has the one that is written and the one that is read.
    addresses: BTreeMap<Arc<str>, Arc<DataSystem>>,
    trie: Trie,
    revision: u64,
}

/// What an accepted entry does. It belongs to the state that judged it.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The records that change, each once.
    pub changes: Vec<Change>,
    /// The revision after it: how many entries there are then.
    pub revision: u64,
    trie: Trie,
}

impl Delta {
    /// The state's root after it.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.trie.root()
    }
}

impl State {
    /// The state of an empty log.
    #[must_use]
    pub fn new(origin: KeyName) -> Self {
        let (systems, classes, labels, addresses) = Default::default();
        Self { origin, systems, classes, labels, addresses, trie: Trie::default(), revision: 0 }
    }

    /// The state that consists of these records, after so many entries, each with its folded key and the hash of its canonical JSON.
    /// Whoever takes it up compares the root with that of the last leaf.
    #[must_use]
    pub fn of(origin: KeyName, revision: u64, records: Vec<(Arc<str>, Record, Hash)>) -> Self {
        let mut state = Self::new(origin);
        let leaf = |(key, record, hash): &(Arc<str>, Record, Hash)| trie::Change {
            key: place(record.kind().as_str(), key),
            value: Some(*hash),
        };
        let trie = state.trie.with(records.iter().map(leaf).collect());
        let (mut changes, mut addresses) = (Vec::new(), Vec::new());
        for (key, record, _) in records {
            match record {
                Record::Address(data) => addresses.push((key, data)),
                other => changes.push(Change::put(key, other)),
            }
        }
        state.accept(Delta { changes, revision, trie });
        // All at once: a map that grows one by one in order leaves half of each of its nodes empty.
        state.addresses = addresses.into_iter().collect();
        state
    }

    /// Takes in what an entry does that this very state judged.
    pub fn accept(&mut self, delta: Delta) {
        for change in delta.changes {
            let key = change.key;
            if change.kind == Kind::Class {
                self.relabel(&key, change.record.as_ref());
            }
            match (change.kind, change.record) {
                (_, Some(Record::Csid(system))) => drop(self.systems.insert(key.to_string(), system)),
                (_, Some(Record::Class(class))) => drop(self.classes.insert(key.to_string(), class)),
                (_, Some(Record::Address(data))) => drop(self.addresses.insert(key, data)),
                (Kind::Csid, None) => drop(self.systems.remove(&*key)),
                (Kind::Class, None) => drop(self.classes.remove(&*key)),
                (Kind::Address, None) => drop(self.addresses.remove(&key)),
            }
        }
        (self.trie, self.revision) = (delta.trie, delta.revision);
    }

    /// A class is another from now on, or there is none.
    fn relabel(&mut self, key: &str, record: Option<&Record>) {
        if let Some(old) = self.classes.get(key).and_then(Class::folded_label)
            && let Some(keys) = self.labels.get_mut(&old)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.labels.remove(&old);
            }
        }
        if let Some(Record::Class(class)) = record
            && let Some(label) = class.folded_label()
        {
            self.labels.entry(label).or_default().insert(key.to_owned());
        }
    }

    /// How many entries led to it.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The log that it belongs to.
    #[must_use]
    pub const fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// The root over all records.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.trie.root()
    }

    /// That a key has its record, or that it is free.
    #[must_use]
    pub fn prove(&self, kind: Kind, key: &str) -> Proof {
        self.trie.prove(&place(kind.as_str(), &kind.fold(key)))
    }

    /// Sequence and previous hash of the next entry of a central system.
    #[must_use]
    pub fn next_of(&self, csid: &str) -> (u64, Hash) {
        self.systems.get(&fold(csid)).map_or((1, Hash::ZERO), |system| (system.sequence + 1, system.previous))
    }

    /// The data systems of a central system, by its folded id.
    fn addresses_of(&self, folded: &str) -> impl Iterator<Item = (&Arc<str>, &DataSystem)> {
        let prefix = format!("{folded}.");
        let from = self.addresses.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let all = from.map(|(address, data)| (address, data.as_ref()));
        all.take_while(move |(address, _)| address.starts_with(&prefix))
    }
}
