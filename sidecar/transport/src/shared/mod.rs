//! Sessions that several gateways of the node share (design sections 5 and 6): what the channels need to know of who owns a session,
//! and of the log from which its next owner takes over what is unread. Who keeps that, and how, is the program's business.
//!
//! ```text
//! log.rs     the log of a session of ours, as the channels use it
//! recent.rs  ids of pushes that have been read, and may be repeated still (pure)
//! record.rs  what a record of it says, as bytes (pure)
//! ```

mod log;
mod recent;
mod record;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use mesh_core::SessionId;

pub(crate) use self::{
    log::{Recorded, SharedLog, consume},
    record::{Read, Record},
};

/// Whose each session is.
pub trait Owners: fmt::Debug + Send + Sync {
    /// Who owns a session: this gateway, if nobody has it who is there and it may be claimed; `None`: nobody.
    fn owner(&self, session: &SessionId, may_claim: bool) -> BoxFuture<'static, Result<Option<Owner>, OwnerError>>;

    /// Where the other gateways that are there take calls, as `host:port`.
    fn others(&self) -> Vec<Arc<str>>;
}

/// Who owns a session.
#[derive(Debug)]
pub enum Owner {
    /// This gateway, as long as this is held.
    Here(Box<dyn Ours>),
    /// Another one, to which the call goes on.
    There(Box<dyn Theirs>),
}

/// A session that this gateway owns. It is given back by nobody while this is held.
pub trait Ours: fmt::Debug + Send + Sync {
    /// Opens its log, and answers what is unread in it, in order. No record has more than `most` bytes.
    fn open(&self, most: u64) -> BoxFuture<'_, Result<Opened, OwnerError>>;

    /// Releases it: its id is refused until `until`, in milliseconds since 1970, and what is kept of it goes.
    fn release(&self, until: u64) -> BoxFuture<'_, Result<(), OwnerError>>;

    /// Gives it back; with `is_empty` what is left of its log goes too. `false`: somebody else holds it still.
    fn give_back(self: Box<Self>, is_empty: bool) -> BoxFuture<'static, Result<bool, OwnerError>>;
}

/// A log that was opened, and what is unread in it.
pub type Opened = (Arc<dyn SessionLog>, Vec<(Place, Bytes)>);

/// Another gateway that owns a session.
pub trait Theirs: fmt::Debug + Send + Sync {
    /// Where it takes calls, as `host:port`; `None`: it is not there, or does not say.
    fn address(&self) -> Option<Arc<str>>;

    /// It says that it does not own the session, or does not answer: whoever comes next looks again.
    fn refused(&self);

    /// Nobody listens where it should. Whether it is gone: what it owns is claimed then before it was silent for long.
    fn is_gone(&self) -> BoxFuture<'static, bool>;
}

/// The log of a session that this gateway owns.
pub trait SessionLog: fmt::Debug + Send + Sync {
    /// Appends a record. `begin` is asked when it is begun, and `false` withdraws it; `landed` hears where it stands, in the order of
    /// the calls and never before this returns, or why it does not.
    fn append(&self, record: Bytes, begin: Begin, landed: Landed);

    /// The same for a small record that nobody waits for: it is written a moment later.
    fn note(&self, record: Bytes, landed: Landed);

    /// Has written down that records were read, in the order of the calls. It lasts once what is answered is ready, and is done without it
    /// too, a moment later.
    fn consume(&self, places: Vec<Place>) -> BoxFuture<'static, Result<(), OwnerError>>;

    /// Ready when all that was wanted before is written down, or is known not to be.
    fn written(&self) -> BoxFuture<'static, ()>;

    /// Ready when this gateway does not own the session any more, whoever does.
    fn moved(&self) -> BoxFuture<'static, ()>;

    /// Whether this gateway does not own the session any more.
    fn has_moved(&self) -> bool;
}

/// Asked when a record is begun; `false`: nobody waits for it any more.
pub type Begin = Box<dyn FnOnce() -> bool + Send>;

/// Told where a record stands, or why it does not.
pub type Landed = Box<dyn FnOnce(Result<Place, OwnerError>) + Send>;

/// Where a record stands in the log of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The number of the batch that it came with.
    pub sequence: u64,
    /// Its place within the batch.
    pub index: u32,
}

/// Why a session cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// It was released, and is refused until then.
    #[error("the session was released")]
    Released {
        /// In milliseconds since 1970.
        until: u64,
    },
    /// Another gateway owns it now, or this one gave it up. Nothing was done: whoever looks again finds the next owner.
    #[error("another gateway owns the session now: ask again")]
    Moved,
    /// There is no room where the gateways keep what they share. Nothing was done.
    #[error("no room for what the gateways share: pop or release, or raise nats.maxBytes ({0})")]
    Full(String),
    /// What joins the gateways is away. Nothing was done.
    #[error("what joins the gateways does not answer: ask again ({0})")]
    Away(String),
    /// Whether it is done nobody knows: it was under way when the servers went, or when another gateway took over.
    #[error("it is not known whether the message is kept: push it again with the same id")]
    Unsure,
    /// Whoever asked gave up before anything was done.
    #[error("nobody waits for it any more")]
    Withdrawn,
    /// What is kept of it cannot be read.
    #[error("what is kept of the session cannot be read: {0}")]
    Damaged(String),
}
