//! A verified copy of another process's directory: what a replica beside an application keeps, so that lookups need not ask the
//! directory (contract section 7, `maxStaleness` of D-8).
//!
//! It believes two keys, that of the log and that of the directory, and nothing that it is sent. A checkpoint is taken where the log's
//! key signed it and a proof leads from the own head to it; entries are taken where a proof leads from the head behind them to that
//! checkpoint. Then they are replayed by the rules of the directory itself, and each has to come to the state root that its leaf says. So
//! that all that is here is a beginning of the signed log, at every moment, and catching up takes the memory of one bundle.
//!
//! A second history, an altered entry or a broken rule end it: what is kept is let go, nothing is answered and nothing is followed until
//! a person makes another one. A log that outgrows its bound does not: it is full at the entry for which there is no room, keeps what is
//! before it, and still follows checkpoints, so that a second history is noticed. A bound is never taken on somebody's word: what does
//! not fit has to be the log's.
//!
//! Pure: who fetches, when, and what is told of it is left to others (the sidecar, which has one beside each application).

use std::fmt;

use serde_json::Value;

use crate::{
    Hash,
    entry::{Leaf, PublicKey},
    json::{self, Room},
    log::{Checkpoint, CheckpointError, NotProven, Note, Verifier, verify},
    replay::{Replay, ReplayError},
    state::{Change, Record, State},
};

/// Bytes that a record takes beside its text: its keys, its places in the maps, and its part of the tree. A data system with a text of
/// some 200 bytes takes 600 to 800.
const BESIDE: u64 = 600;

/// Bytes that a value takes beside its text, a member of an object with its key.
const VALUE: u64 = 96;

/// A body may take this part of the room, a quarter, while it is read.
const READ: u64 = 4;

/// Why a replica has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// What came as a checkpoint is none, or the log's key did not sign it.
    #[error("the checkpoint is not the log's: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The log signed two histories, or a proof between them was altered.
    #[error("the log over {second} entries does not continue the one over {first} that was seen before: {why}")]
    Forked {
        /// Entries of the head that was verified.
        first: u64,
        /// Entries of the checkpoint that does not continue it.
        second: u64,
        /// What does not hold.
        why: NotProven,
    },
    /// Entries are not those that the checkpoint is over.
    #[error("the entries from {first} on are not those of the log: {why}")]
    Altered {
        /// The first of them.
        first: u64,
        /// What does not hold.
        why: NotProven,
    },
    /// The log has an entry that may not be in it.
    #[error("entry {index} may not be in the log: {why}")]
    Broken {
        /// Which.
        index: u64,
        /// Why.
        why: ReplayError,
    },
}

/// What there is no room for: the replica stays before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for entry {index}, whose {what} more than {most} bytes: give the replica more, or none")]
pub struct Full {
    /// Which.
    pub index: u64,
    /// What of it does not fit.
    pub what: Excess,
    /// The bound in bytes.
    pub most: u64,
}

/// What takes too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Its body, as it comes.
    Body,
    /// Its body, when it is read.
    Values,
    /// All records together, after it.
    Records,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "body has",
            Self::Values => "body takes, when it is read,",
            Self::Records => "records take, with all before them,",
        })
    }
}

/// An entry as it is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'b> {
    /// The leaf.
    pub leaf: &'b [u8],
    /// The body that is kept under its hash.
    pub body: &'b [u8],
}

/// A verified copy, as far as it came.
#[derive(Debug)]
pub struct Replica {
    log: Verifier,
    replay: Replay,
    /// The newest checkpoint that continues what is here.
    target: Option<Checkpoint>,
    held: u64,
    most: u64,
    full: Option<Full>,
    ended: Option<Ended>,
}

impl Replica {
    /// An empty copy of the log that `log` signs, whose directory signs with `directory`. `recovery` are the keys that may replace a lost
    /// one. At most `most` bytes of records are kept.
    #[must_use]
    pub fn new(log: Verifier, directory: PublicKey, recovery: Vec<PublicKey>, most: u64) -> Self {
        let replay = Replay::new(log.name().clone(), directory, recovery);
        Self { log, replay, target: None, held: 0, most, full: None, ended: None }
    }

    /// The records, after as many entries as its revision says.
    ///
    /// # Errors
    /// Why there are none any more.
    pub fn state(&self) -> Result<&State, &Ended> {
        self.ended.as_ref().map_or_else(|| Ok(self.replay.state()), Err)
    }

    /// The newest checkpoint that was verified, also when the replica has ended: what a person compares with others.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Checkpoint> {
        self.target.as_ref()
    }

    /// How many entries are here, and how many the newest checkpoint is over.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let (here, _) = self.replay.head();
        (here, self.target.as_ref().map_or(here, |target| target.size))
    }

    /// Bytes that the records take, as they count towards the bound.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Where it stays, as there is no room for more.
    #[must_use]
    pub const fn full(&self) -> Option<&Full> {
        self.full.as_ref()
    }

    /// Reads a checkpoint that was fetched.
    ///
    /// # Errors
    /// It is none of this log's; the replica has ended.
    pub fn read(&mut self, note: &Note) -> Result<Checkpoint, Ended> {
        self.going_on()?;
        let read = Checkpoint::open(note, &self.log, &[]).map(|(checkpoint, _)| checkpoint);
        read.map_err(|error| self.end(error.into()))
    }

    /// Goes on where an earlier copy was, which had seen this checkpoint last: what is shown has to continue it. To be called first.
    ///
    /// # Errors
    /// It is none of this log's; the replica has ended.
    pub fn resume(&mut self, seen: &Note) -> Result<(), Ended> {
        self.target = Some(self.read(seen)?);
        Ok(())
    }

    /// From which size the proof has to lead that [`Self::follow`] takes with a checkpoint; `None` for one that has nothing new.
    #[must_use]
    pub fn proven_from(&self, next: &Checkpoint) -> Option<u64> {
        match &self.target {
            None => Some(0),
            Some(known) if known.size < next.size || (known.size == next.size && known.root != next.root) => {
                Some(known.size)
            }
            Some(_) => None,
        }
    }

    /// Takes a checkpoint from [`Self::read`] that continues the last one, with the proof that it does. An older one changes nothing: a
    /// log that waits for its witnesses shows such.
    ///
    /// # Errors
    /// It is another history; the replica has ended.
    pub fn follow(&mut self, next: Checkpoint, proof: &[Hash]) -> Result<(), Ended> {
        self.going_on()?;
        if self.proven_from(&next).is_none() {
            return Ok(());
        }
        if let Some(known) = &self.target {
            let holds = verify::consistency(known.size, known.root, next.size, next.root, proof);
            let (first, second) = (known.size, next.size);
            holds.map_err(|why| self.end(Ended::Forked { first, second, why }))?;
        }
        self.target = Some(next);
        Ok(())
    }

    /// Takes the next entries, with the proof that leads from the log over them to the newest checkpoint: none where they are not the
    /// log's, else as far as there is room.
    ///
    /// # Errors
    /// They are not the log's, or may not be in it; the replica has ended.
    pub fn take(&mut self, entries: &[Fetched<'_>], proof: &[Hash]) -> Result<(), Ended> {
        self.going_on()?;
        self.are_next(entries.iter().map(|entry| entry.leaf), proof)?;
        for entry in entries {
            if self.full.is_none() {
                self.take_one(*entry)?;
            }
        }
        Ok(())
    }

    /// The next entry has a body of this hash, which is longer than the `most` bytes that are fetched here. `proof` as for [`Self::take`].
    /// Where the hash is not the one that was signed it says nothing of the log, and nothing changes.
    ///
    /// # Errors
    /// The leaf is not the log's; the replica has ended.
    pub fn is_too_long(&mut self, leaf: &[u8], body: Hash, most: u64, proof: &[Hash]) -> Result<(), Ended> {
        self.going_on()?;
        self.are_next([leaf].into_iter(), proof)?;
        if Leaf::read(leaf).is_ok_and(|leaf| leaf.entry.body == body) {
            self.stay(Excess::Body, most);
        }
        Ok(())
    }

    /// Whether these leaves are the next ones of the log that the checkpoint is over.
    fn are_next<'l>(&mut self, leaves: impl Iterator<Item = &'l [u8]>, proof: &[Hash]) -> Result<(), Ended> {
        let (first, _) = self.replay.head();
        let (size, root) = self.replay.head_with(leaves);
        let (last, signed) = self.target.as_ref().map_or((first, root), |target| (target.size, target.root));
        let holds = verify::consistency(size, root, last, signed, proof);
        holds.map_err(|why| self.end(Ended::Altered { first, why }))
    }

    fn stay(&mut self, what: Excess, most: u64) {
        let (index, _) = self.replay.head();
        self.full.get_or_insert(Full { index, what, most });
    }

    fn take_one(&mut self, entry: Fetched<'_>) -> Result<(), Ended> {
        let (index, _) = self.replay.head();
        // What somebody else sends in the body's place says nothing of room, and is told of below.
        let is_its_own = || Leaf::read(entry.leaf).is_ok_and(|leaf| leaf.entry.body == Hash::of(&[entry.body]));
        if !self.has_room_for(entry.body) && is_its_own() {
            self.stay(Excess::Values, self.most / READ);
            return Ok(());
        }
        let delta = self.replay.judged(entry.leaf, entry.body);
        let delta = delta.map_err(|why| self.end(Ended::Broken { index, why }))?;
        let held = after(self.held, self.replay.state(), &delta.changes);
        if held > self.most {
            self.stay(Excess::Records, self.most);
            return Ok(());
        }
        self.replay.accept(entry.leaf, delta);
        self.held = held;
        Ok(())
    }

    /// Whether a body takes a quarter of the room at most while it is read: a list of zeros takes forty times its bytes.
    fn has_room_for(&self, body: &[u8]) -> bool {
        if body.len() as u64 <= self.most / (READ * 40) {
            return true;
        }
        let room = Room::new(usize::try_from(self.most / (READ * VALUE)).unwrap_or(usize::MAX));
        // What is no JSON is told by whoever reads it next.
        let _ = json::read_within(body, &room);
        !room.is_short()
    }

    fn going_on(&self) -> Result<(), Ended> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, why: Ended) -> Ended {
        let (directory, recovery) = (*self.replay.custodian(), self.replay.recovery().to_vec());
        self.replay = Replay::new(self.log.name().clone(), directory, recovery);
        (self.held, self.full) = (0, None);
        self.ended = Some(why.clone());
        why
    }
}

/// What the records take after these changes, each of another record.
fn after(held: u64, state: &State, changes: &[Change]) -> u64 {
    changes.iter().fold(held, |held, change| {
        let before = state.record(change.kind, &change.key);
        held.saturating_sub(taken(before.as_ref())).saturating_add(taken(change.record.as_ref()))
    })
}

fn taken(record: Option<&Record>) -> u64 {
    let of = |record: &Record| BESIDE + record.canonical().len() as u64 + VALUE * params(record).map_or(0, values);
    record.map_or(0, of)
}

/// What somebody wrote of a form of his own, which is kept as values and not as text.
fn params(record: &Record) -> Option<&Value> {
    match record {
        Record::Csid(_) => None,
        Record::Class(class) => class.definition()?.params.as_ref(),
        Record::Address(data) => data.params.as_deref(),
    }
}

fn values(of: &Value) -> u64 {
    match of {
        Value::Array(items) => 1 + items.iter().map(values).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(values).sum::<u64>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
