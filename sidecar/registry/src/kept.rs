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

    /// Keeps these entries and forgets those keys, with one write; it is durable when this returns.
    pub(crate) async fn write(&self, entries: Vec<Entry>, gone: Vec<Key>) -> Result<(), RegistryError> {
        let work = move |store: &Store| {
            let puts: Vec<_> = entries.into_iter().map(|entry| (entry.registration.key().to_string(), entry)).collect();
            let removed: Vec<_> = gone.iter().map(Key::to_string).collect();
            store.write(TABLE, &puts, &removed)
        };
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
