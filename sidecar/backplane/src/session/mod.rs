//! Sessions that several gateways share (design section 5): which gateway owns one, and the log from which the next owner takes over
//! what is unread. Queues, waiters and leases are in the owner's memory, and no concern of this.
//!
//! ```text
//! key.rs      a session's name within NATS
//! sessions.rs whose each session is, and what this gateway does with its own
//! table.rs    what this gateway knows of owners
//! missed.rs   whether a gateway that did not answer is gone
//! estates.rs  logs that a gateway leaves to the others, and that are no session's
//! sweep.rs    what nobody will give back any more
//! claims.rs   the bucket with the deeds
//! deed.rs     what the bucket says of a session (pure)
//! batch.rs    what a log says, as bytes (pure)
//! ledger.rs   what a log holds, and what of it may go (pure)
//! log/        the log of one session, in the hands of its owner
//! pieces.rs   records that are larger than a message of NATS
//! shelf.rs    the stream in which all logs stand
//! capacity.rs whether it has room for a record (pure)
//! ```

mod batch;
mod capacity;
mod claims;
mod deed;
mod error;
mod estates;
mod key;
mod ledger;
mod log;
mod missed;
mod pieces;
mod sessions;
mod shelf;
mod sweep;
mod table;

pub(crate) use self::key::Key;
pub use self::{
    batch::Place,
    error::SessionError,
    estates::Company,
    log::{Begin, Landed, Log},
    sessions::Sessions,
    table::{Hold, Owner, Peer},
};
