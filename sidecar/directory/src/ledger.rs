//! Accepted writes become leaves: the state machine, the signatures and the tree, together and still without a disk.
//!
//! Who calls it keeps what a [`Step`] says before it answers anybody; after a step that could not be kept, the ledger is taken up
//! again from what was.

use serde_json::Value;

use crate::{
    DirectoryError, Hash, canonical,
    entry::{Entry, EntryKey, Leaf, LeafError, Mark, Operation, PublicKey, Signed},
    error::{Code, Why},
    log::{Checkpoint, Note, Peaks, Place, Signer, bundle, leaf_hash},
    message::{Adoption, Own},
    names::fold,
    state::{Act, Author, Delta, Guard, Policy, State},
};

/// How far the clock of who signs may be off, in milliseconds: five minutes, as Kerberos has it.
pub const SKEW: u64 = 5 * 60 * 1000;

/// Who submits a write. That a token is valid for this central system was checked.
#[derive(Clone, Debug)]
pub enum By {
    /// The holder of a token: the directory signs, and says so.
    Token,
    /// Somebody with a key.
    Own(Box<Own>),
    /// The holder of a token, who takes a key.
    Adopt(Box<Adoption>),
    /// The directory itself, where a lease has ended.
    Directory,
}

/// A write.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Of which central system.
    pub csid: String,
    /// What it does.
    pub act: Act,
    /// Under which conditions.
    pub guard: Guard,
    /// The body as it came: what the act was read from, and what is signed.
    pub body: Value,
    /// By whom.
    pub by: By,
}

/// What an accepted write adds. Kept whole or not at all.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place in the log.
    pub index: u64,
    /// The leaf.
    pub leaf: Vec<u8>,
    /// The canonical body, which is kept under its hash.
    pub body: Vec<u8>,
    /// The hash that the body is kept under.
    pub body_hash: Hash,
    /// What it does to the state.
    pub delta: Delta,
    /// The subtrees of the log that are complete with it.
    pub nodes: Vec<(Place, Hash)>,
}

/// The log's head, with who may sign what.
#[derive(Debug)]
pub struct Ledger {
    state: State,
    peaks: Peaks,
    signer: Signer,
    custodian: EntryKey,
    recovery: Vec<PublicKey>,
    policy: Policy,
}

impl Ledger {
    /// A ledger that goes on where `state` and `peaks` are. `signer` signs checkpoints, `custodian` entries for holders of tokens, and
    /// `recovery` are the keys that may replace a lost one.
    #[must_use]
    pub const fn new(
        state: State,
        peaks: Peaks,
        signer: Signer,
        custodian: EntryKey,
        recovery: Vec<PublicKey>,
        policy: Policy,
    ) -> Self {
        Self { state, peaks, signer, custodian, recovery, policy }
    }

    /// The state after all that was accepted.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from what was kept, after steps that were not.
    pub fn reset(&mut self, state: State, peaks: Peaks) {
        (self.state, self.peaks) = (state, peaks);
    }

    /// The signed checkpoint over all that was accepted: the same bytes whenever and wherever it is made.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Note> {
        let checkpoint =
            Checkpoint { origin: self.state.origin().clone(), size: self.peaks.size(), root: self.peaks.root() };
        let text = checkpoint.text();
        let signature = self.signer.sign(&text, 0);
        Note::new(text, vec![signature])
    }

    /// Judges a write at `now` (milliseconds since 1970) and takes it in; `None` when all is so already.
    ///
    /// # Errors
    /// What the state refuses; 7300 for an own entry that is not about this body, is old or too large; 7002 for a signature that does
    /// not hold.
    pub fn submit(&mut self, write: &Submission, now: u64) -> Result<Option<Step>, DirectoryError> {
        let body = canonical(&write.body).map_err(|_| DirectoryError::malformed("the body cannot be signed"))?;
        let body_hash = Hash::of(&[&body]);
        let (author, mut leaf) = match &write.by {
            By::Token => (Author::Token, self.signed(write, body_hash, now)?),
            By::Directory => (Author::Directory, self.signed(write, body_hash, now)?),
            By::Own(own) => self.own(own, write, body_hash, now)?,
            By::Adopt(adoption) => self.adopted(adoption, write, body_hash, now)?,
        };
        let delta = self.state.judge(&leaf.entry, author, &write.act, write.guard, self.policy)?;
        let Some(delta) = delta else { return Ok(None) };
        leaf.state = delta.root();
        let bytes = leaf.encode();
        if bytes.len() > bundle::LONGEST {
            return Err(DirectoryError::new(Code::BadRequest, Why::TooLarge, "the entry is too large for the log"));
        }
        let (index, mut nodes) = (self.peaks.size(), Vec::new());
        self.peaks.append(leaf_hash(&bytes), |place, hash| nodes.push((place, hash)));
        self.state.accept(delta.clone());
        Ok(Some(Step { index, leaf: bytes, body, body_hash, delta, nodes }))
    }

    /// The directory's entry on behalf of another.
    fn signed(&self, write: &Submission, body: Hash, now: u64) -> Result<Leaf, DirectoryError> {
        if let Act::Key(_) = write.act {
            return Err(DirectoryError::malformed("a key is replaced by an entry of its owner's own"));
        }
        let operation = write.act.operation();
        let (sequence, previous) = self.state.next_of(&write.csid);
        let (origin, csid) = (self.state.origin().clone(), write.csid.clone());
        let entry = Entry { origin, csid, operation, sequence, previous, body, time: now };
        let signed = Signed::new(&entry, &self.custodian);
        Ok(Leaf { entry, mark: Mark::Directory, signed, replacement: None, state: Hash::ZERO })
    }

    /// An entry by which the holder of a token takes a key: the new one signed it, and the directory, which signed until now, does once more.
    fn adopted(
        &self,
        adoption: &Adoption,
        write: &Submission,
        body: Hash,
        now: u64,
    ) -> Result<(Author, Leaf), DirectoryError> {
        let entry = &adoption.entry;
        is_of_now(entry, write, body, now)?;
        let leaf = Leaf {
            entry: entry.clone(),
            mark: Mark::Directory,
            signed: Signed::new(entry, &self.custodian),
            replacement: Some(adoption.new.clone()),
            state: Hash::ZERO,
        };
        if entry.operation != Operation::RotateKey {
            return Err(denied("only rotate-key takes a key"));
        }
        leaf.check().map_err(|error: LeafError| denied(error.to_string()))?;
        if replaces(&leaf, &write.act) {
            Ok((Author::Token, leaf))
        } else {
            Err(denied("the new key did not sign its own entry"))
        }
    }

    /// An entry that the caller signed: about this central system and this body, and signed just now.
    fn own(&self, own: &Own, write: &Submission, body: Hash, now: u64) -> Result<(Author, Leaf), DirectoryError> {
        let entry = &own.entry;
        is_of_now(entry, write, body, now)?;
        let key = own.signed.key;
        let (author, mark) = match entry.operation {
            Operation::Recover if self.recovery.contains(&key) => (Author::Recovery, Mark::Recovery),
            Operation::Recover => return Err(denied("the key is none of the configured recovery keys")),
            _ => (Author::Key(key), Mark::Owner),
        };
        let leaf = Leaf {
            entry: entry.clone(),
            mark,
            signed: own.signed.clone(),
            replacement: own.replacement.clone(),
            state: Hash::ZERO,
        };
        leaf.check().map_err(|error: LeafError| denied(error.to_string()))?;
        if !replaces(&leaf, &write.act) {
            return Err(denied("the new key did not sign its own entry"));
        }
        Ok((author, leaf))
    }
}

/// That an entry that came signed is about what is written, and was signed just now.
fn is_of_now(entry: &Entry, write: &Submission, body: Hash, now: u64) -> Result<(), DirectoryError> {
    if fold(&entry.csid) != fold(&write.csid) || entry.body != body {
        return Err(DirectoryError::malformed("the entry is about another central system or another body"));
    }
    if entry.is_near(now, SKEW) {
        return Ok(());
    }
    Err(DirectoryError::malformed("the entry was signed at another time: set the clock, and sign it anew"))
}

fn denied(text: impl Into<String>) -> DirectoryError {
    DirectoryError::new(Code::AccessDenied, Why::Denied, text)
}

/// Where a key is replaced, the second signature is the new one's.
pub(crate) fn replaces(leaf: &Leaf, act: &Act) -> bool {
    match act {
        Act::Key(new) => leaf.replacement.as_ref().is_some_and(|signed| signed.key == *new),
        _ => leaf.replacement.is_none(),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
pub(crate) mod tests;
