//! A log read from its first leaf on: whether each entry was signed by who may, followed the one before, did what its body says, and
//! led to the root that its leaf has (contract 5.4, full replay). What a validating witness and `mesh verify` do.

use crate::{
    Hash, canonical,
    entry::{Leaf, LeafError, Mark, Operation, PublicKey},
    error::DirectoryError,
    json,
    ledger::{Step, replaces},
    log::{KeyName, Peaks, leaf_hash},
    message::{Ask, Message, ask},
    names::fold,
    state::{Act, Author, Delta, Guard, Policy, State},
};

/// Why a log is not one that this directory may have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The leaf is none, or its signatures do not hold.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The body is not that of the entry.
    #[error("the body is not the one that was signed")]
    Body,
    /// The leaf is marked as the directory's or a recovery key's, and the key is another.
    #[error("the entry is marked as signed by the {0}, and the key is another")]
    Key(&'static str),
    /// The rules do not allow it.
    #[error("the entry breaks the rules: {0}")]
    Rules(String),
    /// It changes nothing, and stands in the log.
    #[error("the entry changes nothing")]
    Nothing,
    /// The state's root is another.
    #[error("the entry leads to the state {found}, its leaf says {said}")]
    Root {
        /// What the replay came to.
        found: Hash,
        /// What the leaf has.
        said: Hash,
    },
}

impl From<DirectoryError> for ReplayError {
    fn from(error: DirectoryError) -> Self {
        Self::Rules(error.to_string())
    }
}

/// A replay, as far as it came.
#[derive(Clone, Debug)]
pub struct Replay {
    state: State,
    peaks: Peaks,
    custodian: PublicKey,
    recovery: Vec<PublicKey>,
}

impl Replay {
    /// Before the first leaf of the log `origin`, whose directory signs with `custodian`.
    #[must_use]
    pub fn new(origin: KeyName, custodian: PublicKey, recovery: Vec<PublicKey>) -> Self {
        Self { state: State::new(origin), peaks: Peaks::default(), custodian, recovery }
    }

    /// The key of the directory.
    #[must_use]
    pub const fn custodian(&self) -> &PublicKey {
        &self.custodian
    }

    /// The keys that may replace a lost one.
    #[must_use]
    pub fn recovery(&self) -> &[PublicKey] {
        &self.recovery
    }

    /// The state after the leaves so far.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Size and root of the log so far.
    #[must_use]
    pub fn head(&self) -> (u64, Hash) {
        (self.peaks.size(), self.peaks.root())
    }

    /// Takes the next leaf, with the body that is kept under its entry's hash. After an error nothing was taken.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(&mut self, bytes: &[u8], body: &[u8]) -> Result<(), ReplayError> {
        let delta = self.judged(bytes, body)?;
        self.accept(bytes, delta);
        Ok(())
    }

    /// Size and root of the log with these leaves behind the ones so far.
    pub(crate) fn head_with<'l>(&self, leaves: impl Iterator<Item = &'l [u8]>) -> (u64, Hash) {
        let mut peaks = self.peaks.clone();
        leaves.for_each(|leaf| peaks.append(leaf_hash(leaf), |_, _| ()));
        (peaks.size(), peaks.root())
    }

    /// Takes in a leaf that was judged right before.
    pub(crate) fn accept(&mut self, bytes: &[u8], delta: Delta) {
        self.state.accept(delta);
        self.peaks.append(leaf_hash(bytes), |_, _| ());
    }

    /// The same, with what a store keeps of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn step(&mut self, bytes: &[u8], body: &[u8]) -> Result<Step, ReplayError> {
        let delta = self.judged(bytes, body)?;
        let (index, mut nodes) = (self.peaks.size(), Vec::new());
        self.state.accept(delta.clone());
        self.peaks.append(leaf_hash(bytes), |place, hash| nodes.push((place, hash)));
        let (leaf, body_hash, body) = (bytes.to_vec(), Hash::of(&[body]), body.to_vec());
        Ok(Step { index, leaf, body, body_hash, delta, nodes })
    }

    /// What a leaf would change, where it may come next.
    pub(crate) fn judged(&self, bytes: &[u8], body: &[u8]) -> Result<Delta, ReplayError> {
        let leaf = Leaf::read(bytes)?;
        leaf.check()?;
        if Hash::of(&[body]) != leaf.entry.body {
            return Err(ReplayError::Body);
        }
        let author = self.author(&leaf)?;
        let (act, guard) = read(&leaf, body)?;
        if !replaces(&leaf, &act) {
            return Err(LeafError::Replacement.into());
        }
        let delta = self.state.judge(&leaf.entry, author, &act, guard, Policy::REPLAY)?.ok_or(ReplayError::Nothing)?;
        let (found, said) = (delta.root(), leaf.state);
        if found == said { Ok(delta) } else { Err(ReplayError::Root { found, said }) }
    }

    fn author(&self, leaf: &Leaf) -> Result<Author, ReplayError> {
        let key = leaf.signed.key;
        match leaf.mark {
            Mark::Owner => Ok(Author::Key(key)),
            Mark::Directory if key != self.custodian => Err(ReplayError::Key("directory")),
            Mark::Directory if leaf.entry.operation == Operation::Expire => Ok(Author::Directory),
            Mark::Directory => Ok(Author::Token),
            Mark::Recovery if self.recovery.contains(&key) => Ok(Author::Recovery),
            Mark::Recovery => Err(ReplayError::Key("recovery key")),
        }
    }
}

/// What a body says, read as the front reads it.
fn read(leaf: &Leaf, body: &[u8]) -> Result<(Act, Guard), ReplayError> {
    let value = json::read(body).map_err(|_| ReplayError::Body)?;
    if canonical(&value).ok().as_deref() != Some(body) {
        return Err(ReplayError::Body);
    }
    let message = match leaf.entry.operation {
        Operation::Connect => Message::Connect,
        Operation::Disconnect => Message::Disconnect,
        Operation::SyncDataSystems => Message::SyncDataSystems,
        Operation::SyncAdapterClasses => Message::SyncAdapterClasses,
        Operation::DeltaDataSystems => Message::DeltaDataSystems,
        Operation::DeltaAdapterClasses => Message::DeltaAdapterClasses,
        Operation::RotateKey => Message::RotateKey,
        Operation::Recover => Message::RecoverKey,
        Operation::Expire => return Ok((Act::Expire, Guard::default())),
    };
    let (ask, _) = ask(message, &value)?;
    match ask {
        Ask::Write { csid, act, guard } if fold(&csid) == fold(&leaf.entry.csid) => Ok((act, guard)),
        _ => Err(ReplayError::Body),
    }
}
