//! The embedded store: one redb file in `MESH_HOME` that holds what must survive `kill -9`.
//!
//! Values are JSON, so that a later version reads what an earlier one wrote. Every write is on disk when the call
//! returns. The calls block for as long as the disk takes: asynchronous callers use [`Store::run`].

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

use crate::private::{self, NotPrivate};

/// The store's file within `MESH_HOME`.
const FILE: &str = "state.redb";

/// The page cache. The state of a node is some dozen kilobytes, read once at start; redb's default of 1 GiB is meant
/// for databases.
const CACHE: usize = 1 << 20;

/// Owner only: the store holds the node's root key. A directory that is there stays as it is: Kubernetes makes the
/// mount points of volumes open to everybody in the pod, so the files guard themselves ([`crate::private`]).
const HOME_MODE: u32 = 0o700;

/// The embedded store. One process at a time has it.
pub struct Store {
    path: PathBuf,
    /// `None` after a write that failed: redb refuses everything after an I/O error until it is opened again.
    database: Mutex<Option<Database>>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the file.
    #[error("{path} is in use by another process: stop that one, or give this one a MESH_HOME of its own")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is no store, or a damaged one.
    #[error("{path} is damaged ({reason}): restore it from a backup, or move it away to start with a new identity")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not this user's alone: it holds the node's root key.
    #[error(transparent)]
    NotPrivate(NotPrivate),
    /// The disk did not do it: full, read-only, or failing.
    #[error("{path} cannot be written or read: {source}; nothing was changed")]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A value that this version cannot read or write.
    #[error("{path}: {table}/{key} holds what this version cannot read: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Store {
    /// Opens the store in `home`; both are made if they are not there.
    ///
    /// # Errors
    /// Another process has it, the file is damaged, or the disk refuses.
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        let disk = |source| StoreError::Disk { path: home.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(HOME_MODE).create(home).map_err(disk)?;
        let path = home.join(FILE);
        let database = open(&path)?;
        Ok(Self { path, database: Mutex::new(Some(database)) })
    }

    /// The value under `key`, if there is one.
    ///
    /// # Errors
    /// The disk failed, or the value cannot be read by this version.
    pub fn get<T: DeserializeOwned>(&self, table: &str, key: &str) -> Result<Option<T>, StoreError> {
        let bytes = self.with(|database| {
            let Some(open) = readable(database, table)? else { return Ok(None) };
            Ok(open.get(key)?.map(|guard| guard.value().to_vec()))
        })?;
        bytes.map(|bytes| self.decode(table, key, &bytes)).transpose()
    }

    /// Puts `value` under `key`. It is on disk when this returns.
    ///
    /// # Errors
    /// The disk failed; then the old value is still there.
    pub fn put<T: Serialize>(&self, table: &str, key: &str, value: &T) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value).map_err(|e| self.value(table, key, &e))?;
        self.with(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(definition(table))?.insert(key, bytes.as_slice())?;
            Ok(transaction.commit()?)
        })
    }

    /// Removes `key`. It is gone from disk when this returns; to remove what is not there is no error.
    ///
    /// # Errors
    /// The disk failed; then the old value is still there.
    pub fn remove(&self, table: &str, key: &str) -> Result<(), StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(definition(table))?.remove(key)?;
            Ok(transaction.commit()?)
        })
    }

    /// Puts and removes keys of a table, all of them or none; one write to disk for the lot.
    ///
    /// # Errors
    /// The disk failed; then everything is as it was.
    pub fn write<T: Serialize>(&self, table: &str, puts: &[(String, T)], removed: &[String]) -> Result<(), StoreError> {
        let puts = puts.iter().map(|(key, value)| (table, key.as_str(), Some(value)));
        let removed = removed.iter().map(|key| (table, key.as_str(), None));
        self.write_rows(puts.chain(removed))
    }

    /// Puts rows of any tables, each named by its table and its key, and removes those without a value; all of them or none.
    ///
    /// # Errors
    /// The disk failed; then everything is as it was.
    pub fn write_rows<'r, T: Serialize + 'r>(
        &self,
        rows: impl Iterator<Item = (&'r str, &'r str, Option<&'r T>)>,
    ) -> Result<(), StoreError> {
        let encoded = rows.map(|(table, key, value)| match value.map(serde_json::to_vec).transpose() {
            Ok(bytes) => Ok((table, key, bytes)),
            Err(e) => Err(self.value(table, key, &e)),
        });
        let rows: Vec<(&str, &str, Option<Vec<u8>>)> = encoded.collect::<Result<_, _>>()?;
        self.with(|database| {
            let transaction = database.begin_write()?;
            for of_one in rows.chunk_by(|(one, ..), (next, ..)| one == next) {
                let Some((table, ..)) = of_one.first() else { continue };
                let mut open = transaction.open_table(definition(table))?;
                for (_, key, value) in of_one {
                    match value {
                        Some(bytes) => drop(open.insert(*key, bytes.as_slice())?),
                        None => drop(open.remove(*key)?),
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// All values of a table, in the order of their keys.
    ///
    /// # Errors
    /// The disk failed, or a value cannot be read by this version.
    pub fn all<T: DeserializeOwned>(&self, table: &str) -> Result<Vec<(String, T)>, StoreError> {
        let rows = self.with(|database| {
            let Some(open) = readable(database, table)? else { return Ok(Vec::new()) };
            open.iter()?
                .map(|row| row.map(|(key, value)| (key.value().to_owned(), value.value().to_vec())))
                .collect::<Result<Vec<_>, _>>()
                .map_err(Into::into)
        })?;
        rows.into_iter().map(|(key, bytes)| Ok((key.clone(), self.decode(table, &key, &bytes)?))).collect()
    }

    /// Runs `work` on the store where blocking does no harm.
    ///
    /// # Errors
    /// What `work` answers; or that the runtime is shutting down.
    pub async fn run<T, F>(self: &Arc<Self>, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    {
        let store = Arc::clone(self);
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .unwrap_or_else(|e| Err(StoreError::Disk { path, source: io::Error::other(e) }))
    }

    /// Runs one step, on a database that was opened again if the last step broke it.
    fn with<T>(&self, step: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let mut slot = self.database.lock();
        let database = match &mut *slot {
            Some(database) => database,
            empty => empty.insert(open(&self.path)?),
        };
        step(database).map_err(|error| {
            if !matches!(error, redb::Error::ValueTooLarge(_)) {
                *slot = None;
            }
            failure(&self.path, error)
        })
    }

    fn decode<T: DeserializeOwned>(&self, table: &str, key: &str, bytes: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(bytes).map_err(|e| self.value(table, key, &e))
    }

    fn value(&self, table: &str, key: &str, error: &serde_json::Error) -> StoreError {
        // The position only: the text of a JSON error may quote the value, and the value may be a key.
        let reason = format!("line {} column {}", error.line(), error.column());
        StoreError::Value { path: self.path.clone(), table: table.to_owned(), key: key.to_owned(), reason }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

type Readable = redb::ReadOnlyTable<&'static str, &'static [u8]>;

fn definition(table: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
    TableDefinition::new(table)
}

/// The table, or nothing if nobody wrote to it yet.
fn readable(database: &Database, table: &str) -> Result<Option<Readable>, redb::Error> {
    match database.begin_read()?.open_table(definition(table)) {
        Ok(open) => Ok(Some(open)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let file = private::open(path, fs::OpenOptions::new().read(true).write(true).create(true).truncate(false));
    let file = file.map_err(|problem| match problem {
        NotPrivate::Disk { path, source } => StoreError::Disk { path, source },
        other => StoreError::NotPrivate(other),
    })?;
    Builder::new().set_cache_size(CACHE).create_file(file).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            StoreError::Disk { path: path.to_owned(), source }
        }
        other => StoreError::Damaged { path: path.to_owned(), reason: other.to_string() },
    })
}

fn failure(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) => StoreError::Disk { path, source },
        redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason },
        other => StoreError::Disk { path, source: io::Error::other(other.to_string()) },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_put_is_there_when_the_store_is_opened_again() {
        let home = tempfile::tempdir().unwrap();
        {
            let store = Store::open(home.path()).unwrap();
            store.put("routes", "b", &2).unwrap();
            store.put("routes", "a", &1).unwrap();
            store.put("routes", "c", &3).unwrap();
            store.remove("routes", "c").unwrap();
            store.remove("routes", "never there").unwrap();
        }
        let store = Store::open(home.path()).unwrap();
        assert_eq!(store.all::<u32>("routes").unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(store.get::<u32>("routes", "c").unwrap(), None);
        assert_eq!(store.get::<u32>("no such table", "a").unwrap(), None);
    }

    #[test]
    fn several_keys_are_written_together() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        store.put("t", "gone", &0).unwrap();
        let puts: Vec<_> = (0..3).map(|n| (n.to_string(), n)).collect();
        store.write("t", &puts, &["gone".to_owned(), "never there".to_owned()]).unwrap();
        assert_eq!(store.all::<u32>("t").unwrap(), puts);
        let rows = [("t", "0", None), ("t", "3", Some(&3)), ("other", "0", Some(&9))];
        store.write_rows(rows.into_iter()).unwrap();
        assert_eq!(store.all::<u32>("t").unwrap(), [("1".into(), 1), ("2".into(), 2), ("3".into(), 3)]);
        assert_eq!(store.get::<u32>("other", "0").unwrap(), Some(9));
    }

    #[test]
    fn a_second_process_is_told_whose_turn_it_is() {
        let home = tempfile::tempdir().unwrap();
        let _first = Store::open(home.path()).unwrap();
        let second = Store::open(home.path()).unwrap_err();
        assert!(matches!(second, StoreError::InUse { .. }), "{second}");
        assert!(second.to_string().contains("MESH_HOME"), "{second}");
    }

    #[test]
    fn a_damaged_file_is_named_with_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), b"this was never a store, but somebody put it here").unwrap();
        let error = Store::open(home.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    #[test]
    fn nobody_else_may_read_the_store() {
        let home = tempfile::tempdir().unwrap();
        let inner = home.path().join("mesh");
        let store = Store::open(&inner).unwrap();
        store.put("t", "k", &0).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join(FILE))), (HOME_MODE, 0o600));
        drop(store);
        fs::set_permissions(inner.join(FILE), fs::Permissions::from_mode(0o664)).unwrap();
        let store = Store::open(&inner).unwrap();
        assert_eq!((store.get("t", "k").unwrap(), mode(&inner.join(FILE))), (Some(0), 0o600));
    }

    #[test]
    fn a_link_in_the_stores_place_is_refused_with_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/shm/elsewhere", home.path().join(FILE)).unwrap();
        let error = Store::open(home.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotPrivate(NotPrivate::Link(_))), "{error}");
        assert!(error.to_string().contains("remove the link"), "{error}");
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_quoted_in_the_error() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        store.put("identity", "own", &"SECRET").unwrap();
        let error = store.get::<u32>("identity", "own").unwrap_err();
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}
