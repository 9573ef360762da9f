//! Where a directory is kept: log, bodies and current records in one redb file, in one transaction for each group of entries, so that
//! log and state are equal after `kill -9` at any moment.
//!
//! Nothing is ever taken out of log and bodies. The records are what the log led to; they are kept so that a start need not replay it.

mod disk;
mod examined;
mod names;
mod opened;
mod witnessed;

use std::{fs::File, path::PathBuf, sync::Arc};

pub use examined::Examined;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
};
use serde::{Deserialize, Serialize};

use self::opened::Opened;
use crate::{
    Hash,
    entry::Leaf,
    ledger::Step,
    log::{Checkpoint, KeyName, Nodes, Note, Peaks, Place, Verifier, leaf_hash},
    state::{Kind, Record, Shared, State},
    tokens::{Token, Tokens},
};

/// Index to leaf.
const LEAVES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("leaves");

/// Complete subtrees of the log, by height and index.
const NODES: TableDefinition<'_, (u8, u64), &[u8; 32]> = TableDefinition::new("nodes");

/// SHA-256 to body.
const BODIES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("bodies");

/// Records, by kind and folded key.
const RECORDS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("records");

/// Hash of a token to what is known of it.
const TOKENS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("tokens");

/// What the file is: its format and the log's origin.
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");

/// The format that this version writes.
const FORMAT: &str = "datanet 1";

/// Where the checkpoint over all that is kept stands among them.
const HEAD: &str = "head";

/// Where it stands how many tokens there are.
const TOKENS_KEPT: &str = "tokens";

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk did not do it; nothing was changed.
    #[error("{path} cannot be written or read: {reason}; nothing was changed")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is another log's, or of a format of later versions.
    #[error("{path} is the log {found}, not {wanted}: give each log a file of its own")]
    Other {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// The disk failed, and what was written last may be in memory alone: nothing is read or written until the process starts anew.
    #[error(
        "{path} failed ({reason}), and may lack what was written last: look after its disk, then start this node anew"
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The entries in it were signed by another key of the directory.
    #[error("{path} has entries that another directory key signed: restore keys.json as it was, or its Secret")]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// What is kept does not belong together.
    #[error("{path} is damaged: {what}; restore it from a backup or from another's copy of the log")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The store of one log. One process at a time has it.
pub struct Store {
    database: Opened,
}

impl Store {
    /// Opens the store in `file`, which nobody else may read; `path` is its name for people. An empty file, and one without entries,
    /// becomes one of `origin`.
    ///
    /// # Errors
    /// Another process has it, it is none, or another log's.
    pub fn open(file: File, path: PathBuf, origin: &KeyName) -> Result<Self, StoreError> {
        let store = Self { database: Opened::new(file, path)? };
        let wanted = format!("{origin} ({FORMAT})");
        let found = store.write(|database| names::claim(database, &wanted))?;
        let found = found.ok_or_else(|| store.damaged("entries without the name of their log"))?;
        store.has_witnessed_what_it_says()?;
        if found == wanted { Ok(store) } else { Err(StoreError::Other { path: store.path(), found, wanted }) }
    }

    /// Keeps these steps: on disk when it returns, all of them or none. `head` is the signed checkpoint over the log with them.
    ///
    /// # Errors
    /// The disk refuses, or a step does not follow the last that is kept.
    pub fn commit(&self, steps: &[Step], head: Option<&Note>) -> Result<(), StoreError> {
        let gap = self.write(|database| keep(database, steps, head))?;
        gap.map_or(Ok(()), |index| Err(self.damaged(format!("leaf {index} does not follow the last one"))))
    }

    /// State and right edge of the log, as they are kept. Their roots are compared with those that the last leaf says, and the
    /// checkpoint that was signed last.
    ///
    /// # Errors
    /// The disk fails, or log and records do not belong together.
    pub fn load(&self, origin: &KeyName) -> Result<(State, Peaks), StoreError> {
        let (size, last) = self.head()?;
        let state = State::of(origin.clone(), size, self.records()?);
        let peaks = Peaks::of(self, size)?;
        let Some(last) = last else {
            return if state.root() == Hash::ZERO {
                Ok((state, peaks))
            } else {
                Err(self.damaged("records without a log"))
            };
        };
        let leaf = Leaf::read(&last).map_err(|error| self.damaged(format!("leaf {}: {error}", size - 1)))?;
        let known = self.node(Place { height: 0, index: size - 1 })?;
        if known != leaf_hash(&last) {
            return Err(self.damaged(format!("leaf {} is not the one whose hash is kept", size - 1)));
        }
        if state.root() != leaf.state {
            return Err(self.damaged(format!(
                "the records have the root {}, the last leaf says {}",
                state.root(),
                leaf.state
            )));
        }
        let head = Checkpoint { origin: origin.clone(), size, root: peaks.root() }.text();
        if self.signed()?.is_some_and(|note| note.text() != head) {
            return Err(self.damaged(format!("the log of {size} entries is not the one that was signed last")));
        }
        Ok((state, peaks))
    }

    /// The checkpoint over all that is kept; `None` where an earlier version wrote last. Nothing of it is verified.
    ///
    /// # Errors
    /// The disk fails, or it is none.
    pub fn signed(&self) -> Result<Option<Note>, StoreError> {
        let note = self.read(|database| said(&database.begin_read()?, HEAD))?;
        let note = note.map(|note| Note::parse(note.as_bytes())).transpose();
        note.map_err(|error| self.damaged(format!("the checkpoint that was signed last: {error}")))
    }

    /// That the checkpoint over all that is kept was signed by this log.
    ///
    /// # Errors
    /// The disk fails, or it was not.
    pub fn is_signed_by(&self, log: &Verifier) -> Result<(), StoreError> {
        let opened = self.signed()?.map(|note| Checkpoint::open(&note, log, &[]).map(|_| ())).transpose();
        opened.map(|_| ()).map_err(|error| self.damaged(format!("the checkpoint that was signed last: {error}")))
    }

    /// How many leaves there are.
    ///
    /// # Errors
    /// The disk fails.
    pub fn size(&self) -> Result<u64, StoreError> {
        self.head().map(|(size, _)| size)
    }

    /// How many leaves there are, and the last of them.
    fn head(&self) -> Result<(u64, Option<Vec<u8>>), StoreError> {
        self.read(|database| {
            let Some(table) = table(&database.begin_read()?, LEAVES)? else { return Ok((0, None)) };
            let last = table.last()?.map(|(index, leaf)| (index.value(), leaf.value().to_vec()));
            Ok(last.map_or((0, None), |(index, leaf)| (index + 1, Some(leaf))))
        })
    }

    /// The records, each with its folded key and the hash of its bytes: these are its canonical JSON, or the root tells.
    fn records(&self) -> Result<Vec<(Arc<str>, Record, Hash)>, StoreError> {
        let rows = self.read(|database| {
            let Some(table) = table(&database.begin_read()?, RECORDS)? else { return Ok(Ok(Vec::new())) };
            let mut rows = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or_default());
            let mut shared = Shared::default();
            for row in table.iter()? {
                let (key, bytes) = row?;
                let (kind, folded) = key.value();
                let key = Arc::from(folded);
                let record = Kind::read(kind).and_then(|kind| shared.read(kind, &key, bytes.value()).ok());
                let Some(record) = record else { return Ok(Err(folded.to_owned())) };
                rows.push((key, record, Hash::of(&[bytes.value()])));
            }
            Ok(Ok(rows))
        })?;
        rows.map_err(|key| self.damaged(format!("the record {key:?} cannot be read")))
    }

    /// A leaf.
    ///
    /// # Errors
    /// The disk fails.
    pub fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|database| {
            let Some(table) = table(&database.begin_read()?, LEAVES)? else { return Ok(None) };
            Ok(table.get(index)?.map(|leaf| leaf.value().to_vec()))
        })
    }

    /// A body, by its hash. What does not have that hash is not given out.
    ///
    /// # Errors
    /// The disk fails, or the body is another one.
    pub fn body(&self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let body = self.read(|database| {
            let Some(table) = table(&database.begin_read()?, BODIES)? else { return Ok(None) };
            Ok(table.get(hash.bytes())?.map(|body| body.value().to_vec()))
        })?;
        if body.as_ref().is_some_and(|body| Hash::of(&[body]) != *hash) {
            return Err(self.damaged(format!("the body {hash} has another hash")));
        }
        Ok(body)
    }

    /// The tokens that are kept.
    ///
    /// # Errors
    /// The disk fails, or one cannot be read.
    pub fn tokens(&self) -> Result<Tokens, StoreError> {
        let (rows, count) = self.read(|database| {
            let read = database.begin_read()?;
            let count = said(&read, TOKENS_KEPT)?;
            let Some(table) = table(&read, TOKENS)? else { return Ok((Vec::new(), count)) };
            let rows =
                table.iter()?.map(|row| row.map(|(hash, token)| (Hash::new(*hash.value()), token.value().to_vec())));
            Ok((rows.collect::<Result<Vec<_>, _>>()?, count))
        })?;
        if count.is_some_and(|count| count != rows.len().to_string()) {
            return Err(self.damaged("some of the tokens are gone"));
        }
        let read = |(hash, bytes): (Hash, Vec<u8>)| {
            let kept = serde_json::from_slice::<KeptToken>(&bytes).ok();
            let token = kept.and_then(|kept| kept.of(&hash));
            token.map(|token| (hash, token)).ok_or_else(|| self.damaged(format!("the token {hash} is another")))
        };
        Ok(Tokens::of(rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?))
    }

    /// Keeps what became of tokens: those of `hashes` as `tokens` has them, or gone where it has them no more.
    ///
    /// # Errors
    /// The disk refuses; then all is as it was.
    pub fn keep_tokens(&self, tokens: &Tokens, hashes: &[Hash]) -> Result<(), StoreError> {
        self.write(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(TOKENS)?;
                for hash in hashes {
                    // Texts and whole numbers are always written.
                    let kept = tokens.get(hash).map(|token| KeptToken::new(hash, token));
                    match kept.and_then(|kept| serde_json::to_vec(&kept).ok()) {
                        Some(bytes) => drop(table.insert(hash.bytes(), bytes.as_slice())?),
                        None => drop(table.remove(hash.bytes())?),
                    }
                }
            }
            let count = transaction.open_table(TOKENS)?.len()?.to_string();
            transaction.open_table(META)?.insert(TOKENS_KEPT, count.as_str())?;
            Ok(transaction.commit()?)
        })
    }

    /// Makes the file as small as what is in it: nothing of log, bodies and records is taken out, and a process that dies meanwhile
    /// leaves all of it.
    ///
    /// # Errors
    /// The disk fails.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.database.compact()
    }

    /// Reads all that is kept: each leaf, subtree and body.
    ///
    /// # Errors
    /// The disk fails, or what is damaged, by name.
    pub fn examine_all(&self) -> Result<(), StoreError> {
        let (size, mut examined) = (self.size()?, Examined::default());
        while examined.size() < size {
            examined = self.examine(&examined, size)?;
        }
        Ok(())
    }

    /// Why nothing is read or written until the process starts anew.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.database.lost()
    }

    fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        self.database.read(work)
    }

    fn write<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        self.database.write(work)
    }

    fn path(&self) -> PathBuf {
        self.database.path().clone()
    }

    fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path(), what: what.into() }
    }
}

/// The complete subtrees, for proofs and tiles.
impl Nodes for Store {
    type Error = StoreError;

    fn node(&self, place: Place) -> Result<Hash, StoreError> {
        let found = self.read(|database| {
            let Some(table) = table(&database.begin_read()?, NODES)? else { return Ok(None) };
            Ok(table.get((place.height, place.index))?.map(|hash| Hash::new(*hash.value())))
        })?;
        found.ok_or_else(|| self.damaged(format!("subtree {} of height {} is missing", place.index, place.height)))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.database.path().display())
    }
}

/// The table, or nothing if nobody wrote to it yet.
fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, redb::Error> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the file says of itself.
fn said(transaction: &ReadTransaction, key: &str) -> Result<Option<String>, redb::Error> {
    let Some(meta) = table(transaction, META)? else { return Ok(None) };
    Ok(meta.get(key)?.map(|value| value.value().to_owned()))
}

/// What is kept of a token.
#[derive(Serialize, Deserialize)]
struct KeptToken {
    #[serde(flatten)]
    token: Token,
    /// The hash of what it is kept under and of the rest, as tokens are in no log; `None` where an earlier version wrote it.
    #[serde(default)]
    mark: Option<Hash>,
}

impl KeptToken {
    fn new(hash: &Hash, token: &Token) -> Self {
        Self { token: token.clone(), mark: Some(mark_of(hash, token)) }
    }

    /// The token, if it is the one that was kept under this hash.
    fn of(self, hash: &Hash) -> Option<Token> {
        let holds = self.mark.is_none_or(|mark| mark == mark_of(hash, &self.token));
        holds.then_some(self.token)
    }
}

fn mark_of(hash: &Hash, token: &Token) -> Hash {
    // Texts and whole numbers are always written.
    Hash::of(&[hash.bytes(), &serde_json::to_vec(token).unwrap_or_default()])
}

/// One transaction for all steps; the index of a step that does not follow, and then nothing is kept.
fn keep(database: &Database, steps: &[Step], head: Option<&Note>) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut leaves = transaction.open_table(LEAVES)?;
        let mut nodes = transaction.open_table(NODES)?;
        let mut bodies = transaction.open_table(BODIES)?;
        let mut records = transaction.open_table(RECORDS)?;
        let mut meta = transaction.open_table(META)?;
        match head {
            Some(note) => drop(meta.insert(HEAD, note.encode().as_str())?),
            // It would be of another log than this one becomes.
            None if !steps.is_empty() => drop(meta.remove(HEAD)?),
            None => {}
        }
        for step in steps {
            let next = leaves.last()?.map_or(0, |(index, _)| index.value() + 1);
            if next != step.index {
                return Ok(Some(step.index));
            }
            leaves.insert(step.index, step.leaf.as_slice())?;
            bodies.insert(step.body_hash.bytes(), step.body.as_slice())?;
            for (place, hash) in &step.nodes {
                nodes.insert((place.height, place.index), hash.bytes())?;
            }
            for change in &step.delta.changes {
                let key = (change.kind.as_str(), change.key.as_ref());
                match &change.record {
                    Some(record) => drop(records.insert(key, record.canonical().as_slice())?),
                    None => drop(records.remove(key)?),
                }
            }
        }
    }
    transaction.commit()?;
    Ok(None)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
