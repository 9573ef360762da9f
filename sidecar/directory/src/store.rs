//! Where a directory is kept: log, bodies and current records in one redb file, in one transaction for each group of entries, so that
//! log and state are equal after `kill -9` at any moment.
//!
//! Nothing is ever taken out of log and bodies. The records are what the log led to; they are kept so that a start need not replay it.

mod witnessed;

use std::{fs::File, path::PathBuf, sync::Arc};

use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError,
};

use crate::{
    Hash,
    entry::Leaf,
    ledger::Step,
    log::{KeyName, Nodes, Peaks, Place, leaf_hash},
    state::{Kind, Record, State},
    tokens::Tokens,
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

/// Bytes of pages that are kept in memory: records are served from the state, so this is for proofs and bodies.
const CACHE: usize = 16 << 20;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
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
    path: PathBuf,
    database: Database,
}

impl Store {
    /// Opens the store in `file`, which nobody else may read; `path` is its name for people. An empty file, and one without entries,
    /// becomes one of `origin`.
    ///
    /// # Errors
    /// Another process has it, it is none, or another log's.
    pub fn open(file: File, path: PathBuf, origin: &KeyName) -> Result<Self, StoreError> {
        let opened = Builder::new().set_cache_size(CACHE).create_file(file);
        let database = opened.map_err(|error| StoreError::Damaged { path: path.clone(), what: error.to_string() })?;
        let store = Self { path, database };
        let wanted = format!("{origin} ({FORMAT})");
        let found = store.run(|database| claim(database, &wanted))?;
        if found == wanted { Ok(store) } else { Err(StoreError::Other { path: store.path, found, wanted }) }
    }

    /// Keeps these steps: on disk when it returns, all of them or none.
    ///
    /// # Errors
    /// The disk refuses, or a step does not follow the last that is kept.
    pub fn commit(&self, steps: &[Step]) -> Result<(), StoreError> {
        let gap = self.run(|database| keep(database, steps))?;
        gap.map_or(Ok(()), |index| Err(self.damaged(format!("leaf {index} does not follow the last one"))))
    }

    /// State and right edge of the log, as they are kept. Their roots are compared with those that the last leaf says.
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
        Ok((state, peaks))
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
        self.run(|database| {
            let Some(table) = table(&database.begin_read()?, LEAVES)? else { return Ok((0, None)) };
            let last = table.last()?.map(|(index, leaf)| (index.value(), leaf.value().to_vec()));
            Ok(last.map_or((0, None), |(index, leaf)| (index + 1, Some(leaf))))
        })
    }

    /// The records, each with its folded key and the hash of its bytes: these are its canonical JSON, or the root tells.
    fn records(&self) -> Result<Vec<(Arc<str>, Record, Hash)>, StoreError> {
        let rows = self.run(|database| {
            let Some(table) = table(&database.begin_read()?, RECORDS)? else { return Ok(Ok(Vec::new())) };
            let mut rows = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or_default());
            for row in table.iter()? {
                let (key, bytes) = row?;
                let (kind, folded) = key.value();
                let record = Kind::read(kind).and_then(|kind| Record::read(kind, bytes.value()).ok());
                let Some(record) = record else { return Ok(Err(folded.to_owned())) };
                rows.push((Arc::from(folded), record, Hash::of(&[bytes.value()])));
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
        self.run(|database| {
            let Some(table) = table(&database.begin_read()?, LEAVES)? else { return Ok(None) };
            Ok(table.get(index)?.map(|leaf| leaf.value().to_vec()))
        })
    }

    /// A body, by its hash. What does not have that hash is not given out.
    ///
    /// # Errors
    /// The disk fails, or the body is another one.
    pub fn body(&self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let body = self.run(|database| {
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
        let rows = self.run(|database| {
            let Some(table) = table(&database.begin_read()?, TOKENS)? else { return Ok(Vec::new()) };
            let rows =
                table.iter()?.map(|row| row.map(|(hash, token)| (Hash::new(*hash.value()), token.value().to_vec())));
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        let read = |(hash, bytes): (Hash, Vec<u8>)| {
            let token = serde_json::from_slice(&bytes);
            token.map(|token| (hash, token)).map_err(|_| self.damaged(format!("the token {hash} cannot be read")))
        };
        Ok(Tokens::of(rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?))
    }

    /// Keeps what became of tokens: those of `hashes` as `tokens` has them, or gone where it has them no more.
    ///
    /// # Errors
    /// The disk refuses; then all is as it was.
    pub fn keep_tokens(&self, tokens: &Tokens, hashes: &[Hash]) -> Result<(), StoreError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(TOKENS)?;
                for hash in hashes {
                    // Texts and whole numbers are always written.
                    match tokens.get(hash).and_then(|token| serde_json::to_vec(token).ok()) {
                        Some(bytes) => drop(table.insert(hash.bytes(), bytes.as_slice())?),
                        None => drop(table.remove(hash.bytes())?),
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        work(&self.database).map_err(|error| StoreError::Disk { path: self.path.clone(), reason: error.to_string() })
    }

    fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.into() }
    }
}

/// The complete subtrees, for proofs and tiles.
impl Nodes for Store {
    type Error = StoreError;

    fn node(&self, place: Place) -> Result<Hash, StoreError> {
        let found = self.run(|database| {
            let Some(table) = table(&database.begin_read()?, NODES)? else { return Ok(None) };
            Ok(table.get((place.height, place.index))?.map(|hash| Hash::new(*hash.value())))
        })?;
        found.ok_or_else(|| self.damaged(format!("subtree {} of height {} is missing", place.index, place.height)))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path.display())
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

/// Whose file it is; from now on ours if it was nobody's, or has no entry yet: nobody knows such a log.
fn claim(database: &Database, wanted: &str) -> Result<String, redb::Error> {
    let read = database.begin_read()?;
    if let Some(meta) = table(&read, META)?
        && let Some(found) = meta.get("log")?
        && (found.value() == wanted || !found.value().ends_with(&format!("({FORMAT})")) || has_entries(&read)?)
    {
        return Ok(found.value().to_owned());
    }
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("log", wanted)?;
    transaction.commit()?;
    Ok(wanted.to_owned())
}

fn has_entries(transaction: &ReadTransaction) -> Result<bool, redb::Error> {
    Ok(match table(transaction, LEAVES)? {
        Some(leaves) => !leaves.is_empty()?,
        None => false,
    })
}

/// One transaction for all steps; the index of a step that does not follow, and then nothing is kept.
fn keep(database: &Database, steps: &[Step]) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut leaves = transaction.open_table(LEAVES)?;
        let mut nodes = transaction.open_table(NODES)?;
        let mut bodies = transaction.open_table(BODIES)?;
        let mut records = transaction.open_table(RECORDS)?;
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
