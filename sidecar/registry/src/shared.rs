//! Live registrations of a node that has several gateways: what is registered with one is told to the others, and routed there as if
//! it had been registered with them, but that only the one keeps it on disk.
//!
//! It goes with its time, like any other. So an instance stays as long as it renews, whichever gateway it comes to; and what only a
//! gateway's own callers renewed goes after that gateway. Nothing goes at once when a gateway does, nor when what joins them is away.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Key, Kind, Registration, Registry,
    catalogue::{Change, Entry, WallTime},
    registry::{Ahead, State},
};

/// Entries of one piece of news: of 1 KiB each as they come, some hundred KiB.
const AT_ONCE: usize = 256;

/// The way to the node's other gateways.
pub trait Others: fmt::Debug + Send + Sync {
    /// Those that are there.
    fn gateways(&self) -> Vec<u16>;

    /// Tells one something, in the order of calls, and waits for nothing: it is called under a lock.
    fn tell(&self, gateway: u16, news: Bytes);
}

/// What one gateway tells another.
#[derive(Debug, Serialize, Deserialize)]
enum News {
    /// All that the sender has follows, up to [`News::Whole`].
    Begin,
    /// These are registered, or renewed.
    Put(Vec<Told>),
    /// These were taken out.
    Removed(Vec<Name>),
    /// That was all: what else the sender once told is no more.
    Whole,
}

/// An entry, with the time that it has left: clocks of two machines differ.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    registration: Arc<Registration>,
    left_ms: u64,
}

/// A key.
#[derive(Debug, Serialize, Deserialize)]
struct Name(Kind, String, String);

/// Which entries are of other gateways.
#[derive(Debug, Default)]
pub(crate) struct Theirs {
    /// Who told of each last.
    of: HashMap<Key, u16>,
    /// Who tells all that it has just now, and what of it was not told yet.
    untold: HashMap<u16, HashSet<Key>>,
}

impl Registry {
    /// From now on the others are told what is registered here.
    pub fn share(&self, others: Arc<dyn Others>) {
        // A node is joined once.
        let _ = self.others.set(others);
    }

    /// Another gateway tells something. What is not understood is of another version, and passed over.
    pub fn told(&self, from: u16, news: &[u8]) {
        let Ok(news) = serde_json::from_slice::<News>(news) else {
            tracing::debug!(from, "what another gateway tells of registrations is of no version that is known here");
            return;
        };
        let now = self.now();
        let mut disowned = Vec::new();
        self.change(|state| match news {
            News::Begin => state.begin(from),
            News::Put(all) => all.into_iter().fold(Change::None, |change, told| change.or(state.told(from, told, now))),
            News::Removed(all) => all.into_iter().map(Key::from).fold(Change::None, |change, key| {
                if !state.theirs.forget(&key) {
                    disowned.push(key.clone());
                }
                change.or(state.remove(&key))
            }),
            News::Whole => state.whole(from),
        });
        self.forget_on_disk(disowned);
    }

    /// Another gateway hears what it is told from here on: it is told all.
    pub fn joined(&self, gateway: u16) {
        let Some(others) = self.others.get() else { return };
        let now = self.now();
        // Under the lock: what is told first is true first.
        self.looked(|state| {
            let own = state.catalogue.live_entries().filter(|(key, _)| !state.theirs.of.contains_key(*key));
            let own: Vec<Told> = own.map(|(_, entry)| Told::of(entry, now)).collect();
            let mut own = own.into_iter().peekable();
            others.tell(gateway, News::Begin.write());
            while own.peek().is_some() {
                others.tell(gateway, News::Put(own.by_ref().take(AT_ONCE).collect()).write());
            }
            others.tell(gateway, News::Whole.write());
        });
    }

    /// These are ours now: the others are told. Called while they come into force.
    pub(crate) fn tell_put(&self, state: &mut State, entries: &[Entry]) {
        for entry in entries {
            state.theirs.forget(&entry.registration.key());
        }
        let Some(others) = self.others.get() else { return };
        let now = WallTime::now();
        for some in entries.chunks(AT_ONCE) {
            let news = News::Put(some.iter().map(|entry| Told::of(entry, now)).collect()).write();
            others.gateways().into_iter().for_each(|gateway| others.tell(gateway, news.clone()));
        }
    }

    /// This was taken out by who may: the others are told.
    pub(crate) fn tell_removed(&self, key: &Key) {
        let Some(others) = self.others.get() else { return };
        let news = News::Removed(vec![Name(key.kind, key.name.clone(), key.instance_id.clone())]).write();
        others.gateways().into_iter().for_each(|gateway| others.tell(gateway, news.clone()));
    }

    /// What was ours and was taken out elsewhere does not come again with the next start.
    fn forget_on_disk(&self, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        let kept = self.kept().clone();
        tokio::spawn(async move {
            if let Err(error) = kept.write(Vec::new(), keys).await {
                tracing::warn!(%error, "what another gateway took out stays on disk, and comes again until its time is over");
            }
        });
    }
}

impl State {
    fn begin(&mut self, from: u16) -> Change {
        let all = self.theirs.of.iter().filter(|(_, by)| **by == from).map(|(key, _)| key.clone()).collect();
        self.theirs.untold.insert(from, all);
        Change::None
    }

    /// Takes in what another gateway has, unless what stands here lasts longer or there is no room for it.
    fn told(&mut self, from: u16, told: Told, now: WallTime) -> Change {
        let Told { registration, left_ms } = told;
        let (key, until) = (registration.key(), WallTime(now.0.saturating_add(left_ms)));
        if let Some(untold) = self.theirs.untold.get_mut(&from) {
            untold.remove(&key);
        }
        let entry = Entry { registration, until };
        let by = self.theirs.of.get(&key).copied();
        let standing = self.catalogue.live(&key).filter(|_| by != Some(from));
        if standing.is_some_and(|standing| standing.until > until) {
            return Change::None;
        }
        if let Err(error) = self.admits(&entry, &Ahead::default(), &mut Ahead::default()) {
            tracing::debug!(from, %error, "a registration of another gateway is left out here");
            return Change::None;
        }
        self.theirs.of.insert(key, from);
        self.put(entry)
    }

    fn whole(&mut self, from: u16) -> Change {
        let gone = self.theirs.untold.remove(&from).unwrap_or_default();
        gone.into_iter().fold(Change::None, |change, key| {
            let is_its = self.theirs.of.get(&key) == Some(&from);
            if is_its {
                self.theirs.of.remove(&key);
                return change.or(self.remove(&key));
            }
            change
        })
    }
}

impl Theirs {
    /// This is ours, or is no more. Whether it was another's.
    pub(crate) fn forget(&mut self, key: &Key) -> bool {
        self.of.remove(key).is_some()
    }
}

impl Told {
    fn of(entry: &Entry, now: WallTime) -> Self {
        Self { registration: Arc::clone(&entry.registration), left_ms: entry.until.0.saturating_sub(now.0) }
    }
}

impl News {
    fn write(&self) -> Bytes {
        // Texts and numbers: nothing of it cannot be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl From<Name> for Key {
    fn from(Name(kind, name, instance_id): Name) -> Self {
        Self { kind, name, instance_id }
    }
}
