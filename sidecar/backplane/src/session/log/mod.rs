//! The log of one session in the hands of its owner: a subject of `JetStream` to which only whoever knows its last message appends.
//!
//! Whoever opens it first appends a fence, and then reads what is unread: so no append of an owner before it comes behind what was
//! read. What waits while an append is under way goes into the next one together; what nobody waits for waits a moment for company.

mod fence;
mod large;
mod open;
mod read;
mod wish;
mod writer;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

pub use self::wish::{Begin, Landed};
pub(crate) use self::{fence::fence, open::open, read::read};
use self::{
    large::Large,
    wish::{Consumed, Group, Wish, Wishes},
};
use super::{
    batch::{Body, Place},
    error::SessionError,
    key::Key,
    ledger::Ledger,
    shelf::Shelf,
};

/// When something is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// At once: somebody waits.
    Now,
    /// With what comes next, within a moment.
    Soon,
}

/// The log of one session.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    shelf: Shelf,
    session: Key,
    subject: String,
    /// Which opening of the log this is.
    writer: u64,
    epoch: u64,
    state: Mutex<State>,
    /// Wakes the task that writes.
    bell: Notify,
    /// Ends with the ownership.
    moved: CancellationToken,
}

/// What stands behind the lock.
struct State {
    wishes: Wishes,
    /// The last message of the log.
    last: u64,
    /// Batches that were written, or are being.
    number: u64,
    ledger: Ledger,
    /// Whether somebody waits for what is to be written.
    is_awaited: bool,
    /// Whether there is a task that writes.
    is_written: bool,
    /// Whether something is being purged.
    is_purged: bool,
}

impl Log {
    /// Appends a record, however large. `begin` is asked when it is begun, and `false` withdraws it; `landed` hears where it stands,
    /// or why it does not: [`SessionError::Full`] where `JetStream` has no room for records, and [`SessionError::Away`] where too much
    /// waits for it already. Records of a size that a message may have land in the order of the calls.
    pub fn append(&self, record: Bytes, begin: Begin, landed: Landed) {
        // Before the stream's room is counted: whoever is refused takes none of it, however often that one tries again.
        if let Some(why) = self.0.refuses() {
            return landed(Err(why));
        }
        if !self.0.shelf.has_room(record.len()) {
            return landed(Err(SessionError::Full("the stream with the sessions' records is full".into())));
        }
        if wish::fits(&record, self.0.shelf.largest) {
            return self.0.wants(Wish::Append { body: Body::Whole(record), begin: Some(begin), landed }, When::Now);
        }
        let Some(place) = Large::of(&self.0, record.len()) else { return landed(Err(too_much())) };
        tokio::spawn(async move {
            if begin() {
                place.append(record, landed).await;
            } else {
                landed(Err(SessionError::Withdrawn));
            }
        });
    }

    /// The same for a record that nobody waits for, of a size that a message may have: it is written with what comes next.
    pub fn note(&self, record: Bytes, landed: Landed) {
        self.0.wants(Wish::Note { record, landed }, When::Soon);
    }

    /// Writes down that records were read, with what comes next; at once if it is waited for. Done when that lasts, which takes as long as
    /// the servers are away or have no room.
    ///
    /// # Errors
    /// [`SessionError::Moved`] and [`SessionError::Unsure`]: another owner may give them out again.
    pub fn consume(&self, places: &[Place]) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        let most = wish::most_places(self.0.shelf.largest);
        let wanted: Vec<_> = places.chunks(most).map(|places| self.consume_at_once(places.to_vec())).collect();
        async move { try_join_all(wanted).await.map(drop) }
    }

    fn consume_at_once(&self, places: Vec<Place>) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        let (tell, told) = oneshot::channel();
        self.0.wants(Wish::Consume(Consumed::new(places, tell)), When::Soon);
        let inner = Arc::clone(&self.0);
        async move {
            inner.hurries();
            // Who had it is gone only with the task that writes.
            told.await.unwrap_or(Err(SessionError::Unsure))
        }
    }

    /// Ready when all that was wanted before is written down, or is known not to be.
    pub async fn written(&self) {
        // The task that writes stays for a while: without it there is nothing under way.
        if self.0.state.lock().is_written {
            // In order, so what came before it is done when this is.
            let _ = self.consume_at_once(Vec::new()).await;
        }
    }

    /// Looks whether the log stands as it was left, by appending nothing to it: a person may have purged it, and servers may have lost
    /// it. Where they have, it has moved.
    ///
    /// # Errors
    /// As [`Self::consume`] has, and [`SessionError::Away`].
    pub async fn verify(&self) -> Result<(), SessionError> {
        self.consume_at_once(Vec::new()).await
    }

    /// Ready when another gateway owns the session: nothing is appended any more.
    pub async fn moved(&self) {
        self.0.moved.cancelled().await;
    }

    /// Whether another gateway owns the session.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.0.moved.is_cancelled()
    }

    /// Purges all that is kept of the session: it was released, or has nothing in it and is given back.
    ///
    /// # Errors
    /// The servers are away.
    pub async fn purge(&self) -> Result<(), SessionError> {
        // What whoever comes next has appended meanwhile stays.
        let below = self.0.state.lock().last + 1;
        self.0.shelf.purge(self.0.shelf.names.all_of_session(&self.0.session), Some(below)).await
    }
}

impl Inner {
    /// Why no record may wait now, if none may.
    fn refuses(&self) -> Option<SessionError> {
        if self.moved.is_cancelled() {
            return Some(SessionError::Moved);
        }
        (!self.state.lock().wishes.has_place()).then(too_much)
    }

    /// Has a wish fulfilled.
    fn wants(self: &Arc<Self>, wish: Wish, when: When) {
        if self.moved.is_cancelled() {
            return wish.fails(SessionError::Moved);
        }
        let (starts, rings) = {
            let mut state = self.state.lock();
            let is_first = state.wishes.is_empty();
            if let Err(wish) = state.wishes.push(wish) {
                drop(state);
                return wish.fails(too_much());
            }
            let is_due =
                (when == When::Now || state.wishes.are_many()) && !std::mem::replace(&mut state.is_awaited, true);
            (!std::mem::replace(&mut state.is_written, true), is_first || is_due)
        };
        if starts {
            tokio::spawn(Arc::clone(self).run());
        } else if rings {
            self.bell.notify_one();
        }
    }

    /// Somebody waits for what is to be written.
    fn hurries(&self) {
        let mut state = self.state.lock();
        let rings = !state.wishes.is_empty() && !std::mem::replace(&mut state.is_awaited, true);
        drop(state);
        if rings {
            self.bell.notify_one();
        }
    }

    /// What is to be written next, together; `None`: nothing that somebody waits for.
    fn next(&self) -> Option<Group> {
        let mut state = self.state.lock();
        if !state.is_awaited {
            return None;
        }
        let group = Group::of(&mut state.wishes, self.shelf.largest);
        state.is_awaited = !state.wishes.is_empty();
        group
    }
}

/// Why something is not begun: what waits has a bound.
fn too_much() -> SessionError {
    SessionError::Away("too much of the session waits to be written already".into())
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("session", &self.0.session).field("epoch", &self.0.epoch).finish_non_exhaustive()
    }
}
