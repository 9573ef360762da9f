//! The messages of the seed as JSON: which there are, how they are read and how they are answered. Nothing here knows HTTP.
//!
//! ```text
//! fields.rs   members of one object: aliases, types, bounds, unknown keys
//! header.rs   what every message has in front
//! read.rs     bytes to a call
//! list.rs     lists: what is asked, and the answer
//! answer.rs   what was found, or why not, to JSON
//! ```

mod answer;
mod fields;
mod header;
mod list;
mod read;
#[cfg(test)]
mod tests;

pub use answer::{done, refused, retrieve};
pub use header::{Adoption, Header, Own};
pub use list::List;
pub use read::{Ask, Call};
pub(crate) use read::{ask, batch, unread};

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident = $path:literal, $operation:literal;)*) => {
        /// A message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Message {
            $($(#[$doc])* $name,)*
        }

        impl Message {
            /// All of them: the seed's in the order of the contract's section 2, then ours.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its path under `/datanet/v1`.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)*
                }
            }

            /// What `header.operation` says where there is one path for all.
            #[must_use]
            pub const fn operation(self) -> &'static str {
                match self {
                    $(Self::$name => $operation,)*
                }
            }
        }
    };
}

messages! {
    /// 2.1
    Connect = "/central-systems/connect", "connect";
    /// 2.2
    Disconnect = "/central-systems/disconnect", "disconnect";
    /// 2.3.1
    SyncDataSystems = "/data-systems/sync", "syncDataSystems";
    /// 2.3.2
    SyncAdapterClasses = "/adapter-classes/sync", "syncAdapterClasses";
    /// 3.1
    RetrieveCentralSystem = "/central-systems/retrieve", "retrieveCentralSystem";
    /// 3.2
    RetrieveAdapterClass = "/adapter-classes/retrieve", "retrieveAdapterClass";
    /// 3.3
    RetrieveDataSystem = "/data-systems/retrieve", "retrieveDataSystem";
    /// 4.1
    SearchCentralSystems = "/central-systems/search", "searchCentralSystems";
    /// 4.2
    SearchAdapterClasses = "/adapter-classes/search", "searchAdapterClasses";
    /// Ours: some data systems are changed or withdrawn, and all others stay (D-3).
    DeltaDataSystems = "/data-systems/delta", "deltaDataSystems";
    /// Ours: the same of adapter classes.
    DeltaAdapterClasses = "/adapter-classes/delta", "deltaAdapterClasses";
    /// Ours: all central systems, in pages.
    ListCentralSystems = "/central-systems/list", "listCentralSystems";
    /// Ours: all adapter classes with their definitions, in pages.
    ListAdapterClasses = "/adapter-classes/list", "listAdapterClasses";
    /// Ours: all data systems, in pages.
    ListDataSystems = "/data-systems/list", "listDataSystems";
    /// Ours: another key for a central system, signed by the old one and the new one.
    RotateKey = "/central-systems/rotate-key", "rotateKey";
    /// Ours: another key in place of a lost one, signed by a recovery key and the new one.
    RecoverKey = "/central-systems/recover-key", "recoverKey";
}

/// Bytes of the longest snapshot (contract section 2).
const LONGEST_SYNC: usize = 8 << 20;

/// Bytes of all other messages.
const LONGEST: usize = 64 << 10;

impl Message {
    /// The message of a path under `/datanet/v1`.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|message| message.path() == path)
    }

    /// The message of a `header.operation`.
    #[must_use]
    pub fn of_operation(operation: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|message| message.operation() == operation)
    }

    /// Bytes that its body may have when it is unpacked.
    #[must_use]
    pub const fn longest(self) -> usize {
        match self {
            Self::SyncDataSystems | Self::SyncAdapterClasses | Self::DeltaDataSystems | Self::DeltaAdapterClasses => {
                LONGEST_SYNC
            }
            _ => LONGEST,
        }
    }

    /// Whether it changes something.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Disconnect
                | Self::SyncDataSystems
                | Self::SyncAdapterClasses
                | Self::DeltaDataSystems
                | Self::DeltaAdapterClasses
                | Self::RotateKey
                | Self::RecoverKey
        )
    }

    /// The list in the body of a sync or a delta that may come as lines.
    #[must_use]
    pub const fn list(self) -> Option<&'static str> {
        match self {
            Self::SyncDataSystems | Self::DeltaDataSystems => Some("dataSystems"),
            Self::SyncAdapterClasses | Self::DeltaAdapterClasses => Some("adapterClasses"),
            _ => None,
        }
    }
}
