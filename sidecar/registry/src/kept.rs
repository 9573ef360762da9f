//! Live registrations on disk, so that they survive the end of the process: durable before the answer.

use std::sync::Arc;

use mesh_core::store::{Store, StoreError};
use serde_json::Value;

use crate::{Key, RegistryError, catalogue::Entry};

/// The store's table of live registrations, keyed by kind, name and instance.
const TABLE: &str = "registrations";

/// Live registrations on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    store: Arc<Store>,
}

impl Kept {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Everything that was kept. What this version cannot read is named and left where it is; a newer one may know it.
    pub(crate) fn all(&self) -> Result<Vec<Entry>, RegistryError> {
        let rows = self.store.all::<Value>(TABLE).map_err(|e| failed(&e))?;
        Ok(rows.into_iter().filter_map(|(key, value)| readable(&key, value)).collect())
    }

    /// Keeps an entry; it is durable when this returns.
    pub(crate) async fn put(&self, entry: Entry) -> Result<(), RegistryError> {
        let key = entry.registration.key().to_string();
        self.store.run(move |store| store.put(TABLE, &key, &entry)).await.map_err(|e| failed(&e))
    }

    /// Forgets entries.
    pub(crate) async fn remove(&self, keys: Vec<Key>) -> Result<(), RegistryError> {
        let work = move |store: &Store| keys.iter().try_for_each(|key| store.remove(TABLE, &key.to_string()));
        self.store.run(work).await.map_err(|e| failed(&e))
    }
}

fn readable(key: &str, value: Value) -> Option<Entry> {
    match serde_json::from_value(value) {
        Ok(entry) => Some(entry),
        Err(error) => {
            tracing::warn!(key, %error, "a stored registration cannot be read by this version and is left alone");
            None
        }
    }
}

fn failed(error: &StoreError) -> RegistryError {
    RegistryError::Store(error.to_string())
}
