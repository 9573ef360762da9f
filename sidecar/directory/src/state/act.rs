//! What an entry does, decoded: every text in it is checked for its form already.

use serde_json::Value;

use super::record::{DataSystem, Protocol};
use crate::entry::{Operation, PublicKey};

/// Who says it. That a signature or a token shows that is another's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The holder of this key.
    Key(PublicKey),
    /// The directory, for the holder of a token of this central system.
    Token,
    /// The holder of a recovery key.
    Recovery,
    /// The directory itself.
    Directory,
}

/// What is to be done with a central system.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Registers or refreshes it.
    Connect(Connect),
    /// Withdraws it.
    Disconnect,
    /// Replaces its data systems.
    DataSystems(Vec<DataSystem>),
    /// Replaces its classes.
    Classes(Vec<NewClass>),
    /// Changes some of its data systems, and withdraws those with these addresses; all others stay.
    DataDelta(Which<DataSystem>),
    /// Changes some of its classes, and withdraws those with these names; all others stay.
    ClassDelta(Which<NewClass>),
    /// Gives it another key.
    Key(PublicKey),
    /// Withdraws it since its lease has ended.
    Expire,
}

impl Act {
    /// What its entry is called. A key that is replaced is so by its owner, unless it was lost.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Connect(_) => Operation::Connect,
            Self::Disconnect => Operation::Disconnect,
            Self::DataSystems(_) => Operation::SyncDataSystems,
            Self::Classes(_) => Operation::SyncAdapterClasses,
            Self::DataDelta(_) => Operation::DeltaDataSystems,
            Self::ClassDelta(_) => Operation::DeltaAdapterClasses,
            Self::Key(_) => Operation::RotateKey,
            Self::Expire => Operation::Expire,
        }
    }
}

/// What a delta changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Which<T> {
    /// Is there from now on, as it is said here.
    pub changed: Vec<T>,
    /// The keys of what is there no more.
    pub withdrawn: Vec<String>,
}

/// What a connect says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Where it is reached.
    pub endpoint: String,
    /// What it says of itself.
    pub desc: Option<String>,
    /// Milliseconds for which it lasts; `None`: until it is withdrawn.
    pub ttl: Option<u64>,
}

/// A class of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct NewClass {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// What is said of it.
    pub desc: Option<String>,
    /// Kept as they came.
    pub params: Option<Value>,
}

/// What a caller of a sync wants to be sure of (D-3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Nothing of this kind changed since this revision.
    pub base: Option<u64>,
    /// The snapshot may withdraw as much as it likes.
    pub force: bool,
    /// Classes that nobody offers are marked, not refused (D-4).
    pub pending: bool,
}

/// What the directory's configuration allows. It decides whether an entry is made; a replay takes what was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether data systems may name classes that nobody offers (yet).
    pub pending: bool,
    /// The share in percent that one snapshot may withdraw without `force`.
    pub most_withdrawn: u8,
    /// Data systems that a central system may have: a snapshot has its bound by its size, deltas add up.
    pub most_data: usize,
    /// Classes that it may offer: each entry of its own writes their names, and each search that finds nothing looks at them.
    pub most_classes: usize,
}

impl Policy {
    /// As many as a snapshot may have lines: some 100 MiB of memory.
    pub const MOST_DATA: usize = 200_000;

    /// Some tens run at a central system.
    pub const MOST_CLASSES: usize = 1000;

    /// Of a replay.
    pub const REPLAY: Self =
        Self { pending: true, most_withdrawn: 100, most_data: usize::MAX, most_classes: usize::MAX };
}

impl Default for Policy {
    fn default() -> Self {
        Self { pending: false, most_withdrawn: 100, most_data: Self::MOST_DATA, most_classes: Self::MOST_CLASSES }
    }
}
