//! Whether an entry may do what it says, and what changes (D-1 to D-5).

mod sync;

use std::sync::Arc;

use super::{
    Delta, State,
    act::{Act, Author, Connect, Guard, Policy},
    record::{CentralSystem, Change, Kind, Lease, Owner, Record},
};
use crate::{
    Hash,
    entry::{Entry, Operation},
    error::{Code, DirectoryError, Why},
    names::fold,
};

type Verdict = Result<Option<Vec<Change>>, DirectoryError>;

/// One entry before the state.
struct Case<'a> {
    state: &'a State,
    entry: &'a Entry,
    author: Author,
    guard: Guard,
    policy: Policy,
    /// The folded id.
    csid: String,
    /// What is known of it.
    system: Option<&'a CentralSystem>,
}

impl State {
    /// What the entry does; `None` when all is so already, and no entry is to be made of it.
    ///
    /// # Errors
    /// When the rules of the directory do not allow it: 7310, 7311, 7312, or 7300 for another log's entry, one that does not follow
    /// the last of its central system, and one whose guards do not hold.
    pub fn judge(
        &self,
        entry: &Entry,
        author: Author,
        act: &Act,
        guard: Guard,
        policy: Policy,
    ) -> Result<Option<Delta>, DirectoryError> {
        if entry.origin != self.origin {
            return Err(DirectoryError::malformed(format!(
                "the entry is for {}, this log is {}",
                entry.origin, self.origin
            )));
        }
        if !fits(entry.operation, act) {
            return Err(DirectoryError::malformed("the entry's operation is not that of the call"));
        }
        let csid = fold(&entry.csid);
        let case = Case { state: self, entry, author, guard, policy, system: self.systems.get(&csid), csid };
        let Some(changes) = case.act(act)? else { return Ok(None) };
        case.follows()?;
        let trie = self.trie.with(changes.iter().map(Change::leaf).collect());
        Ok(Some(Delta { changes, revision: self.revision + 1, trie }))
    }
}

/// Whether an entry does what the call says. A lost key is replaced by the same words as any other.
const fn fits(operation: Operation, act: &Act) -> bool {
    let (said, own) = (operation as u8, act.operation() as u8);
    said == own || matches!((operation, act), (Operation::Recover, Act::Key(_)))
}

impl Case<'_> {
    fn act(&self, act: &Act) -> Verdict {
        match act {
            Act::Connect(connect) => self.connect(connect),
            Act::Disconnect => self.disconnect(),
            Act::DataSystems(list) => self.data_systems(list),
            Act::Classes(list) => self.classes(list),
            Act::DataDelta(which) => self.data_delta(which),
            Act::ClassDelta(which) => self.class_delta(which),
            Act::Key(key) => self.key(Owner::Key(*key)),
            Act::Expire => self.expire(),
        }
    }

    /// The revision after this entry.
    const fn revision(&self) -> u64 {
        self.state.revision + 1
    }

    /// That the entry comes right after the last of its central system: else it is old, or one is missing.
    fn follows(&self) -> Result<(), DirectoryError> {
        let next = self.state.next_of(&self.csid);
        if next == (self.entry.sequence, self.entry.previous) {
            return Ok(());
        }
        let text = format!("the next entry of {} has sequence {} and previous {}", self.entry.csid, next.0, next.1);
        Err(DirectoryError::new(Code::BadRequest, Why::Conflict, text))
    }

    fn owner(&self) -> Option<Owner> {
        match self.author {
            Author::Key(key) => Some(Owner::Key(key)),
            Author::Token => Some(Owner::Token),
            Author::Recovery | Author::Directory => None,
        }
    }

    fn error(why: Why, text: String) -> DirectoryError {
        DirectoryError::new(Code::InvalidCentralSystem, why, text)
    }

    /// What is known of the central system, which must be the author's.
    fn owned(&self) -> Result<&CentralSystem, DirectoryError> {
        let system = self.system.ok_or_else(|| self.unknown())?;
        if self.owner() == Some(system.owner) {
            return Ok(system);
        }
        let text =
            format!("{} belongs to another owner: pick another id, or use the key or token of its owner", system.csid);
        Err(Self::error(Why::Conflict, text))
    }

    fn connected(&self) -> Result<&CentralSystem, DirectoryError> {
        self.owned().and_then(|system| if system.connected { Ok(system) } else { Err(self.unknown()) })
    }

    fn unknown(&self) -> DirectoryError {
        Self::error(Why::Missing, format!("{} is not connected: connect it first", self.entry.csid))
    }

    /// The central system's own record, with this entry as its last.
    fn noted(&self, system: CentralSystem) -> Change {
        let revision = self.revision();
        let record = CentralSystem { sequence: self.entry.sequence, previous: self.entry.hash(), revision, ..system };
        Change::put(self.csid.as_str().into(), Record::Csid(record))
    }

    /// D-1.
    fn connect(&self, connect: &Connect) -> Verdict {
        let known = self.system.map(|_| self.owned()).transpose()?;
        let Some(owner) = self.owner() else {
            return Err(Self::error(Why::Denied, "only a central system connects itself".to_owned()));
        };
        let until = |ttl: u64| Lease { ttl, until: self.entry.time.saturating_add(ttl) };
        let lease = connect.ttl.map(until);
        let equal = |known: &CentralSystem| {
            let said = (&known.endpoint, &known.desc) == (&connect.endpoint, &connect.desc);
            // A lease is prolonged by each connect, and that is to be seen.
            known.connected && said && known.lease.is_none() && lease.is_none()
        };
        if known.is_some_and(equal) {
            return Ok(None);
        }
        let system = known.cloned().unwrap_or_else(|| self.new_system(owner));
        let (endpoint, desc) = (connect.endpoint.clone(), connect.desc.clone());
        Ok(Some(vec![self.noted(CentralSystem { endpoint, desc, lease, connected: true, ..system })]))
    }

    fn new_system(&self, owner: Owner) -> CentralSystem {
        CentralSystem {
            csid: self.entry.csid.clone(),
            endpoint: String::new(),
            desc: None,
            owner,
            connected: false,
            lease: None,
            classes: Default::default(),
            classes_revision: self.revision(),
            data_revision: self.revision(),
            sequence: 0,
            previous: Hash::ZERO,
            revision: 0,
        }
    }

    /// D-2.
    fn disconnect(&self) -> Verdict {
        let system = self.owned()?;
        Ok(system.connected.then(|| self.withdrawn(system)))
    }

    /// The end of a lease (D-1): the entry's time decides, which the directory signs.
    fn expire(&self) -> Verdict {
        let system = self.system.ok_or_else(|| self.unknown())?;
        let ended = system.lease.is_some_and(|lease| lease.until <= self.entry.time);
        if self.author != Author::Directory || !ended {
            return Err(Self::error(Why::Denied, format!("the lease of {} has not ended", system.csid)));
        }
        Ok(system.connected.then(|| self.withdrawn(system)))
    }

    /// The central system, its classes and its data addresses, at once; the id stays its owner's.
    fn withdrawn(&self, system: &CentralSystem) -> Vec<Change> {
        let (classes_revision, data_revision) = (self.revision(), self.revision());
        let mut gone =
            CentralSystem { connected: false, lease: None, classes_revision, data_revision, ..system.clone() };
        gone.classes.clear();
        let mut changes = vec![self.noted(gone)];
        changes.extend(system.classes.iter().filter_map(|class| self.without_offer(class)));
        let addresses = self.state.addresses_of(&self.csid);
        changes.extend(addresses.map(|(key, _)| Change { kind: Kind::Address, key: Arc::clone(key), record: None }));
        changes
    }

    /// Rotation and recovery of a key.
    fn key(&self, new: Owner) -> Verdict {
        let system = self.system.ok_or_else(|| self.unknown())?;
        if self.author != Author::Recovery {
            self.owned()?;
        }
        if system.owner == new {
            return Ok(None);
        }
        Ok(Some(vec![self.noted(CentralSystem { owner: new, ..system.clone() })]))
    }
}
