mod deltas;
mod lists;
mod owners;
mod replay;
mod snapshots;

use super::*;
use crate::{
    entry::{Entry, EntryKey, PublicKey},
    error::DirectoryError,
};

/// A state and a caller that makes the right entries for it.
pub(super) struct World {
    pub(super) state: State,
    pub(super) policy: Policy,
    pub(super) time: u64,
    /// What was judged and accepted, for replays.
    pub(super) done: Vec<(Entry, Author, Act, Guard)>,
}

/// The key of a caller.
pub(super) fn key(n: u8) -> PublicKey {
    EntryKey::from_seed(&[n; 32]).unwrap().public()
}

pub(super) fn author(n: u8) -> Author {
    Author::Key(key(n))
}

impl World {
    pub(super) fn new() -> Self {
        let state = State::new(KeyName::new("log.example/datanet").unwrap());
        Self { state, policy: Policy::default(), time: 1000, done: Vec::new() }
    }

    pub(super) fn entry(&self, csid: &str, act: &Act) -> Entry {
        let (sequence, previous) = self.state.next_of(csid);
        let origin = self.state.origin().clone();
        Entry {
            origin,
            csid: csid.to_owned(),
            operation: act.operation(),
            sequence,
            previous,
            body: Hash::ZERO,
            time: self.time,
        }
    }

    /// The codes of a refusal, or whether an entry was made.
    pub(super) fn guarded(&mut self, csid: &str, author: Author, act: Act, guard: Guard) -> Result<bool, (u16, u16)> {
        let entry = self.entry(csid, &act);
        self.submit(entry, author, act, guard).map_err(|error| (error.code.number(), error.status()))
    }

    pub(super) fn does(&mut self, csid: &str, author: Author, act: Act) -> Result<bool, (u16, u16)> {
        self.guarded(csid, author, act, Guard::default())
    }

    pub(super) fn submit(
        &mut self,
        entry: Entry,
        author: Author,
        act: Act,
        guard: Guard,
    ) -> Result<bool, DirectoryError> {
        let Some(delta) = self.state.judge(&entry, author, &act, guard, self.policy)? else { return Ok(false) };
        self.state.accept(delta);
        self.done.push((entry, author, act, guard));
        Ok(true)
    }
}

pub(super) fn connect(endpoint: &str) -> Act {
    Act::Connect(Connect { endpoint: endpoint.to_owned(), desc: None, ttl: None })
}

pub(super) fn class(name: &str, protocol: &str, version: &str) -> NewClass {
    let protocol = Protocol { name: protocol.to_owned(), version: version.to_owned() };
    NewClass { name: name.to_owned(), protocol, desc: None, params: None }
}

pub(super) fn data(address: &str, class: &str) -> DataSystem {
    DataSystem {
        data_address: address.into(),
        name: "n".into(),
        endpoint: "a:1".into(),
        adapter_class: class.into(),
        desc: None,
        params: None,
        revision: 0,
    }
}
