//! The log that nobody can rewrite, as pure functions and plain structures (contract 5.2 and 5.4).
//!
//! ```text
//! tree.rs        hashes of leaves and nodes, and how a log grows (RFC 6962)
//! prove.rs       proofs that a leaf is in it, and that it only grew
//! verify.rs      whether such proofs hold, on another way than they were made
//! tile.rs        the log as static files: which path names what (c2sp.org/tlog-tiles)
//! bundle.rs      many leaves in one file
//! key.rs         who signs: the log, and witnesses (c2sp.org/tlog-cosignature)
//! note.rs        a text and who signed it (c2sp.org/signed-note)
//! checkpoint.rs  what the log commits to at one size (c2sp.org/tlog-checkpoint)
//! receipt.rs     a leaf's proof and its checkpoint in one text (c2sp.org/tlog-proof)
//! ```
//! Where hashes and leaves are kept is the store's matter: this reads them through [`Nodes`].

pub mod bundle;
mod checkpoint;
#[cfg(test)]
mod edges;
mod key;
mod note;
pub mod prove;
mod receipt;
pub mod tile;
mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use key::{KeyId, KeyName, Kind, NoKey, NoSigner, PUBLIC, Seed, Signer, Time, Verifier, new_seed};
pub use note::{MOST_SIGNATURES, Note, NoteError, Signature, Signed};
pub use prove::ProofError;
pub use receipt::{Receipt, ReceiptError};
pub use tile::Tile;
pub use tree::{Missing, Nodes, Peaks, Place, Tree, leaf_hash, node_hash};
pub use verify::NotProven;
