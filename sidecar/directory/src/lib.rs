//! The directory: one agreed list of central systems, adapter classes and data systems that nobody can rewrite (the Datanet
//! contract).
//!
//! ```text
//! front/      HTTP under /datanet/v1: a request in, an answer out
//! directory.rs  one open directory: keys, store, tokens and rules together
//! message/    the nine messages as JSON: reading with its leniencies, and answers
//! state/      the state machine: what an entry may do and what changes, retrievals and searches
//! trie/       the sparse Merkle tree over the state, and its proofs
//! ledger.rs   accepted writes become leaves
//! health.rs   which central systems were not reached
//! identity.rs  what the node says of its directory's keys, under its certificate
//! keeper.rs   writes of many callers, one commit for each group, and what readers see
//! store.rs    where it is kept
//! change.rs   one entry as those hear it who follow
//! publish.rs  the log as others read it: checkpoint, tiles, bundles, bodies
//! tokens.rs   who may write without a key
//! proofs.rs   proofs as JSON, and as a client verifies them
//! replay.rs   a log read from its first leaf on, and whether it may be so
//! replica.rs  a verified copy of another's directory
//! restore.rs  a store from an exported log
//! verifier.rs  whether an exported log or a receipt holds, on a way of its own
//! witness/    whose checkpoints we sign, and who signs ours
//! entry/      signed entries, chained for each central system, and the leaves that keep them
//! log/        the Merkle log, its tiles, checkpoints and receipts
//! ```
//! All below the front but the store is pure: bytes and values in, values out, without a network and without a clock.

pub mod change;
#[cfg(test)]
mod contract;
pub mod directory;
pub mod entry;
mod error;
pub mod front;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
mod hash;
pub mod health;
pub mod identity;
mod json;
pub mod keeper;
pub mod keys;
pub mod ledger;
mod lenient;
pub mod log;
pub mod message;
pub mod metrics;
mod names;
pub mod proofs;
pub mod publish;
pub mod replay;
pub mod replica;
pub mod restore;
mod seldom;
pub mod state;
pub mod store;
pub mod tokens;
pub mod trie;
pub mod verifier;
pub mod witness;

pub use error::{Code, DirectoryError, Why};
pub use hash::{Hash, Hasher};
pub use json::{LARGEST_WHOLE, canonical, read as read_json};
pub use lenient::{Leniency, Strictness, Used, warning};
