//! The messages of the seed as JSON: which there are, how they are read and how they are answered. Nothing here knows HTTP.
//!
//! ```text
//! fields.rs   members of one object: aliases, types, bounds, unknown keys
//! header.rs   what every message has in front
//! read.rs     bytes to a call
//! answer.rs   what was found, or why not, to JSON
//! ```

mod answer;
mod fields;
mod header;
mod read;
#[cfg(test)]
mod tests;

pub use answer::{done, refused, retrieve};
pub use header::{Adoption, Header, Own};
pub(crate) use read::ask;
pub use read::{Ask, Call};

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
            Self::SyncDataSystems | Self::SyncAdapterClasses => LONGEST_SYNC,
            _ => LONGEST,
        }
    }
}
