//! The ledger: which bootstrap tokens there are, which nodes joined with them, and what address each node has (NC sections 2, 5
//! and 8).
//!
//! A change is decided on the book in memory, written to the shelf, and shown to others only then, so that what a client was told
//! survives `kill -9`. Changes go one after the other; who only reads never waits for the disk. How far a node's connection has
//! come is in memory alone: after a start nobody is connected.
//!
//! When a write fails nobody knows what is on the disk. So the book never takes a number or an address back that may stand there,
//! and the next write says the whole row again.

mod away;
mod book;
mod import;
mod joining;
mod nodes;
mod routes;
mod rows;
mod seen;
mod shelf;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;

use parking_lot::Mutex;

pub use away::Away;
pub use import::{ImportError, Imported};
pub use nodes::{Besides, JoinError, Joined, Joiner, NodeView, ShowError, Shows};
pub use routes::ApproveError;
pub(crate) use routes::MOST_ROUTES;
pub use rows::{Labels, NodeRow, TokenRow};
pub use seen::Writes;
pub use shelf::{Beside, Change, Shelf, StoreShelf, Unwritten};
pub use tokens::{Mint, MintError, Minted, RevokeError};

use self::{
    book::Book,
    shelf::{META, NODES, TOKENS, key_of},
};
use crate::{addresses::Subnet, tokens::HashKey};

/// The keys of the shelf that stand alone.
const HASH_KEY: &str = "hash-key";
const NEXT: &str = "next-node";

/// The ledger. All methods that change it block for as long as the disk takes.
pub struct Ledger {
    shelf: Box<dyn Shelf>,
    key: HashKey,
    /// Held by whoever changes something, over the write to the disk.
    writing: Mutex<()>,
    /// Who waits to join, and is written by the first of them.
    joining: Mutex<joining::Queue>,
    book: Mutex<Book>,
}

impl Ledger {
    /// Reads the ledger; makes an empty one where there is none. Addresses that do not belong to `subnet`, or that two nodes
    /// have, are taken from their nodes, who get others when they come.
    ///
    /// # Errors
    /// The shelf cannot be read or written, or holds what this version does not know.
    pub fn open(shelf: Box<dyn Shelf>, subnet: Subnet) -> Result<Self, Unwritten> {
        let mut book = Book::new(subnet);
        let mut key = None;
        for (name, value) in shelf.all()? {
            let unreadable = |e: serde_json::Error| Unwritten::unreadable(&name, &e);
            match name.split_once('/') {
                Some((NODES, number)) => {
                    let number = number.parse().map_err(|_| Unwritten::unknown(&name))?;
                    book.load_node(number, serde_json::from_value(value).map_err(unreadable)?);
                }
                Some((TOKENS, id)) => book.load_token(id, serde_json::from_value(value).map_err(unreadable)?),
                Some((META, HASH_KEY)) => {
                    key = Some(HashKey::from_hex(serde_json::from_value(value).map_err(unreadable)?));
                }
                Some((META, NEXT)) => book.reach(serde_json::from_value(value).map_err(unreadable)?),
                _ => return Err(Unwritten::unknown(&name)),
            }
        }
        let key = match key {
            Some(key) => key,
            None => {
                let key = HashKey::generate().map_err(|e| Unwritten::new(&e))?;
                shelf.write(vec![Change::put(key_of(META, HASH_KEY), &key.hex())?])?;
                key
            }
        };
        Ok(Self { shelf, key, writing: Mutex::new(()), joining: Mutex::default(), book: Mutex::new(book) })
    }

    /// The network.
    pub fn subnet(&self) -> Subnet {
        self.book.lock().subnet()
    }

    /// How many addresses nodes have.
    pub fn addresses_taken(&self) -> usize {
        self.book.lock().addresses_taken()
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.subnet())
    }
}
