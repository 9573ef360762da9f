//! Which registrations there are: live ones that the API made and renews, and permanent ones of the configuration.
//!
//! Pure: the time comes in, what changed goes out. `registry.rs` stores it and rebuilds the routes.
//! Keeps PTP section 10.3. A permanent entry wins over a live one of the same key.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{Key, Kind, Registration, RegistryError};

/// Below this a timestamp is a duration, otherwise an absolute time (PTP section 10.3).
const FIRST_ABSOLUTE: u64 = 1_800_000;
/// An institution runs thousands of instances at most; this is ten times what the tests route.
pub(crate) const MOST_ENTRIES: usize = 100_000;
/// What all live entries may weigh together, so that a hundred thousand large ones cannot take the node's memory.
pub(crate) const MOST_BYTES: usize = 256 << 20;

/// A time of the wall clock, in milliseconds since 1970: registrations carry absolute times and survive restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);

impl WallTime {
    /// The time now.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The time that the clock shows then once it has jumped so many milliseconds.
    fn jumped(self, by: i64) -> Self {
        Self(self.0.saturating_add_signed(by))
    }

    fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A live entry; what the store keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What was registered; whoever exports it holds it too.
    pub registration: Arc<Registration>,
    /// Its time; it goes when the grace after it has passed.
    pub until: WallTime,
}

impl Entry {
    /// An entry that came in at `now`.
    #[must_use]
    pub(crate) fn new(registration: Registration, now: WallTime) -> Self {
        let given = u64::try_from(registration.timestamp).unwrap_or(0);
        let until = if given < FIRST_ABSOLUTE { WallTime(now.0.saturating_add(given)) } else { WallTime(given) };
        Self { registration: Arc::new(registration), until }
    }

    /// Whether it was given a duration, and no time of the wall clock.
    fn lasts(&self) -> bool {
        u64::try_from(self.registration.timestamp).unwrap_or(0) < FIRST_ABSOLUTE
    }

    /// What it weighs against [`MOST_BYTES`]: about what it takes in memory.
    fn bytes(&self) -> usize {
        let Registration { content, attachments, .. } = &*self.registration;
        let services = content.services.iter().map(|s| texts(s.texts()) + attrs(&s.attrs) + RECORD);
        let references = content.references.iter().map(|r| texts(r.texts()) + attrs(&r.attrs) + RECORD);
        services.sum::<usize>() + references.sum::<usize>() + attrs(attachments) + RECORD
    }
}

/// What a record takes beside its texts.
const RECORD: usize = 512;

fn texts<'a>(texts: impl Iterator<Item = (&'static str, &'a str)>) -> usize {
    texts.map(|(_, text)| text.len()).sum()
}

fn attrs(map: &BTreeMap<String, String>) -> usize {
    // Each text has its own allocation of some 32 bytes.
    map.iter().map(|(key, value)| key.len() + value.len() + 64).sum()
}

/// What a change means for the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: a renewal, or an entry behind a permanent one.
    None,
    /// The routes of this key are others now.
    Routes,
}

impl Change {
    /// Both changes together.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::None { other } else { self }
    }
}

/// All registrations.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    live: HashMap<Key, Entry>,
    permanent: HashMap<Key, Arc<Registration>>,
    ends: BTreeSet<(WallTime, Key)>,
    bytes: usize,
}

/// What entries that were admitted and are not in yet will add.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    entries: usize,
    bytes: usize,
}

impl Catalogue {
    /// Whether `entry` fits in behind what is `ahead` of it; if so it is added there.
    ///
    /// # Errors
    /// [`RegistryError::Full`] with the bound that it would break.
    pub(crate) fn admits(&self, entry: &Entry, ahead: &mut Ahead) -> Result<(), RegistryError> {
        let old = self.live.get(&entry.registration.key());
        if old.is_none() && self.live.len() + ahead.entries >= MOST_ENTRIES {
            return Err(RegistryError::Full(format!("{MOST_ENTRIES} live registrations")));
        }
        let bytes = self.bytes - old.map_or(0, Entry::bytes) + entry.bytes() + ahead.bytes;
        if bytes > MOST_BYTES {
            return Err(RegistryError::Full(format!("{MOST_BYTES} bytes of live registrations")));
        }
        ahead.entries += usize::from(old.is_none());
        ahead.bytes += entry.bytes();
        Ok(())
    }

    /// Takes an entry in; the same key overwrites. The caller has asked [`Self::admits`].
    pub(crate) fn put(&mut self, entry: Entry) -> Change {
        let key = entry.registration.key();
        self.bytes += entry.bytes();
        self.ends.insert((entry.until, key.clone()));
        let shadowed = self.permanent.contains_key(&key);
        let renewed = match self.live.get(&key) {
            Some(old) => {
                if old.until != entry.until {
                    self.ends.remove(&(old.until, key.clone()));
                }
                self.bytes -= old.bytes();
                old.registration.is_renewed_by(&entry.registration)
            }
            None => false,
        };
        self.live.insert(key, entry);
        if shadowed || renewed { Change::None } else { Change::Routes }
    }

    /// Takes a live entry out; one that is not there is no error.
    pub(crate) fn remove(&mut self, key: &Key) -> Change {
        let Some(old) = self.live.remove(key) else { return Change::None };
        self.bytes -= old.bytes();
        self.ends.remove(&(old.until, key.clone()));
        if self.permanent.contains_key(key) { Change::None } else { Change::Routes }
    }

    /// The first live entries whose time and grace have passed at `now`; they stay until they are removed.
    #[must_use]
    pub(crate) fn expired(&self, now: WallTime, grace: Duration, most: usize) -> Vec<Key> {
        let over = self.ends.iter().take_while(|(until, _)| until.plus(grace) <= now);
        over.take(most).map(|(_, key)| key.clone()).collect()
    }

    /// Replaces all permanent entries. Answers the keys whose routes are others now.
    pub(crate) fn set_permanent(&mut self, registrations: Vec<Registration>) -> Vec<Key> {
        let next: HashMap<Key, Arc<Registration>> = registrations.into_iter().map(|r| (r.key(), Arc::new(r))).collect();
        let old = std::mem::replace(&mut self.permanent, next);
        let keys: HashSet<&Key> = old.keys().chain(self.permanent.keys()).collect();
        keys.into_iter().filter(|key| old.get(*key) != self.permanent.get(*key)).cloned().collect()
    }

    /// What is in force for a key.
    #[must_use]
    pub(crate) fn get(&self, key: &Key) -> Option<&Registration> {
        self.permanent.get(key).or_else(|| self.live.get(key).map(|entry| &entry.registration)).map(Arc::as_ref)
    }

    /// The live entry of a key, also when a permanent one is in force.
    #[must_use]
    pub(crate) fn live(&self, key: &Key) -> Option<&Entry> {
        self.live.get(key)
    }

    /// All live entries, in no order.
    pub(crate) fn live_entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.live.iter()
    }

    /// Whether a permanent entry is in force for a key.
    #[must_use]
    pub(crate) fn is_permanent(&self, key: &Key) -> bool {
        self.permanent.contains_key(key)
    }

    /// The keys of everything in force, in order.
    #[must_use]
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.permanent.keys().cloned().collect();
        keys.extend(self.live.keys().filter(|key| !self.permanent.contains_key(*key)).cloned());
        keys.sort();
        keys
    }

    /// Everything in force of a kind (all kinds for `None`), in no order: [`in_order`] needs no lock.
    #[must_use]
    pub(crate) fn export(&self, kind: Option<Kind>) -> Vec<Arc<Registration>> {
        let live = self.live.iter().filter(|(key, _)| !self.permanent.contains_key(*key));
        let live = live.map(|(key, entry)| (key, &entry.registration));
        let all = self.permanent.iter().chain(live);
        all.filter(|(key, _)| kind.is_none_or(|kind| key.kind == kind)).map(|(_, one)| Arc::clone(one)).collect()
    }

    /// The wall clock jumped by so many milliseconds: what was given a duration has as much of it left as before.
    pub(crate) fn jumped(&mut self, by: i64) {
        let ends = &mut self.ends;
        for (key, entry) in self.live.iter_mut().filter(|(_, entry)| entry.lasts()) {
            let until = entry.until.jumped(by);
            let mut end = (std::mem::replace(&mut entry.until, until), key.clone());
            ends.remove(&end);
            end.0 = until;
            ends.insert(end);
        }
    }

    /// Milliseconds until a live entry goes.
    #[must_use]
    pub(crate) fn goes_in(&self, key: &Key, now: WallTime, grace: Duration) -> Option<u64> {
        self.live.get(key).map(|entry| entry.until.plus(grace).0.saturating_sub(now.0))
    }

    /// How many live and how many permanent entries there are.
    #[must_use]
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.live.len(), self.permanent.len())
    }
}

/// Registrations in the order of their keys.
#[must_use]
pub(crate) fn in_order(mut all: Vec<Arc<Registration>>) -> Vec<Arc<Registration>> {
    all.sort_unstable_by(|a, b| {
        let (a, b) = (&**a, &**b);
        (a.kind, &a.name, &a.instance_id).cmp(&(b.kind, &b.name, &b.instance_id))
    });
    all
}

#[cfg(test)]
mod tests;
