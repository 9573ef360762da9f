//! Where the ledger is written. One trait, so that several replicas may share a shelf later; here the embedded store of the node.

use std::{
    fmt::{self, Display},
    sync::Arc,
};

use mesh_core::store::Store;
use serde::Serialize;
use serde_json::Value;

/// One table, so that a change of token and node is one write: the kind of a row stands before the slash of its key.
const TABLE: &str = "tunnel";
pub(super) const NODES: &str = "node";
pub(super) const TOKENS: &str = "token";
pub(super) const META: &str = "meta";

/// What could not be read or written, for the log; it quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tunnel's ledger: {0}")]
pub struct Unwritten(String);

impl Unwritten {
    /// For this reason.
    pub fn new(reason: &dyn Display) -> Self {
        Self(reason.to_string())
    }

    pub(super) fn unreadable(name: &str, error: &serde_json::Error) -> Self {
        Self(format!("{name} cannot be read by this version (line {} column {})", error.line(), error.column()))
    }

    pub(super) fn unknown(name: &str) -> Self {
        Self(format!("{name} is nothing that this version knows"))
    }
}

/// One row put or removed. For the log it is the row's name: what a row holds may be a key.
#[derive(Clone, PartialEq)]
pub enum Change {
    /// The row is this from now on.
    Put(String, Value),
    /// There is no such row from now on.
    Remove(String),
    /// A row of another room's, which is written with these or not at all.
    Beside(Beside),
}

/// A row of the node's store that is not the ledger's. For the log it is the row's name, as its value may be an authority's key.
#[derive(Clone, PartialEq)]
pub struct Beside {
    /// Its table.
    pub table: &'static str,
    /// Its key.
    pub key: String,
    /// What it is from now on.
    pub value: Value,
}

impl Change {
    pub(super) fn put(key: String, value: &impl Serialize) -> Result<Self, Unwritten> {
        serde_json::to_value(value).map(|value| Self::Put(key, value)).map_err(|e| Unwritten::new(&e))
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, _) => write!(f, "Put({key})"),
            Self::Remove(key) => write!(f, "Remove({key})"),
            Self::Beside(row) => row.fmt(f),
        }
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beside({}/{})", self.table, self.key)
    }
}

/// Where rows are kept.
pub trait Shelf: Send + Sync {
    /// Every row, by key.
    ///
    /// # Errors
    /// See [`Unwritten`].
    fn all(&self) -> Result<Vec<(String, Value)>, Unwritten>;

    /// Writes all changes or none. They survive a crash once this returns. After an error either may be the case.
    ///
    /// # Errors
    /// See [`Unwritten`].
    fn write(&self, changes: Vec<Change>) -> Result<(), Unwritten>;
}

/// The embedded store of the node.
#[derive(Debug)]
pub struct StoreShelf(pub Arc<Store>);

impl Shelf for StoreShelf {
    fn all(&self) -> Result<Vec<(String, Value)>, Unwritten> {
        self.0.all(TABLE).map_err(|e| Unwritten::new(&e))
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), Unwritten> {
        let rows = changes.iter().map(|change| match change {
            Change::Put(key, value) => (TABLE, key.as_str(), Some(value)),
            Change::Remove(key) => (TABLE, key.as_str(), None),
            Change::Beside(Beside { table, key, value }) => (*table, key.as_str(), Some(value)),
        });
        self.0.write_rows(rows).map_err(|e| Unwritten::new(&e))
    }
}

/// The key of a row.
pub(super) fn key_of(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

/// Numbers sort as they count.
pub(super) fn node_key(number: u64) -> String {
    format!("{NODES}/{number:020}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_shows_which_row_it_is_and_nothing_of_what_the_row_holds() {
        let value = || json!({"key": "-----BEGIN PRIVATE KEY-----"});
        let beside = Beside { table: "authority", key: "join".into(), value: value() };
        let changes =
            [Change::Put("token/5f2c".into(), value()), Change::Remove("node/7".into()), Change::Beside(beside)];
        assert_eq!(format!("{changes:?}"), "[Put(token/5f2c), Remove(node/7), Beside(authority/join)]");
    }
}
