//! Copies of the grid's messages that are consumed in ack mode, in a log of `JetStream` that this gateway leaves to the others when it
//! goes (G-15). The log is never what is given out from: as long as this gateway is there, its memory is. A message is given out
//! without waiting for its copy; where the servers are away or full it is in memory alone, and is written when they take it.
//!
//! ```text
//! stands.rs   where each copy stands (pure)
//! heir.rs     which estate is ours, and what others have left
//! opening.rs  an estate that is open, and what becomes of it when it is not as it was left
//! adopting.rs what was left in it, on its way into the topics
//! line.rs     which of that is read, and which has to wait (pure)
//! undertaker.rs   copies that are not needed any more
//! ```

mod adopting;
mod heir;
mod line;
mod opening;
mod stands;
mod undertaker;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mesh_backplane::{Hold, Log, Place, SessionError, Sessions, Standing};
use mesh_core::Live;
use mesh_grid::{Copies, Grid};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::stands::{Opening, Stands};

/// How often is looked whether all is written, at the end.
const LOOKED: Duration = Duration::from_millis(20);

/// The copies of this gateway's messages.
#[derive(Default)]
pub(super) struct Kept {
    state: Mutex<State>,
    /// Wakes whoever looks after estates: a copy is lacking.
    lacks: Notify,
    /// Wakes whoever removes copies.
    over: Notify,
    adopted: AtomicU64,
    /// Held while what others left is put into the topics: one estate at a time, as a round of it is in memory.
    taking: Arc<tokio::sync::Mutex<()>>,
    last_opening: AtomicU64,
    /// Ends what looks after estates.
    end: CancellationToken,
}

#[derive(Default)]
struct State {
    stands: Stands,
    open: HashMap<Opening, Open>,
    /// Why a copy was not written, the last time.
    problem: Option<String>,
    /// Nobody says for long what became of what is on its way there.
    held_up: Option<Opening>,
    /// Whether one was written since that was asked.
    has_written: bool,
}

impl State {
    /// How many messages are in memory alone, and not just on their way.
    fn alone(&self) -> usize {
        let is_held_up = self.held_up.is_some_and(|opening| self.stands.is_own(opening));
        if is_held_up { self.stands.unwritten() } else { self.stands.lacking() }
    }
}

/// An estate that is open.
struct Open {
    estate: u16,
    log: Log,
    /// It is ours as long as this is held.
    hold: Hold,
}

/// What the tasks work with.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) sessions: Sessions,
    pub(super) grid: Weak<Grid>,
    pub(super) live: Arc<Live>,
    pub(super) standing: watch::Receiver<Standing>,
}

/// How many copies there are, for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) written: usize,
    pub(super) unwritten: usize,
    /// Messages that others left and that are given out here, since the start.
    pub(super) adopted: u64,
}

/// What the grid has of it.
#[derive(Debug)]
pub(super) struct OfGrid(pub(super) Arc<Kept>);

impl Copies for OfGrid {
    fn keep(&self, name: u64, record: Bytes) {
        let kept = &self.0;
        let log = {
            let mut state = kept.state.lock();
            let opening = state.stands.keeps(name, record.len());
            opening.and_then(|opening| Some((opening, state.open.get(&opening)?.log.clone())))
        };
        let Some((opening, log)) = log else { return kept.lacks.notify_one() };
        // Not under the lock: what is refused is told here and now.
        let (begun, told) = (Arc::clone(kept), Arc::clone(kept));
        let begin = Box::new(move || begun.state.lock().stands.is_needed(name));
        log.append(record, begin, Box::new(move |landed| told.landed(name, opening, landed)));
    }

    fn forget(&self, name: u64) {
        if self.0.state.lock().stands.forgets(name) {
            self.0.over.notify_one();
        }
    }
}

impl Kept {
    /// Begins to keep, and to take over what others leave.
    pub(super) fn start(self: &Arc<Self>, means: Means) {
        let (heir, end) = (Arc::clone(self), self.end.clone());
        let inherits = heir.inherit(means.clone());
        tokio::spawn(async move { end.run_until_cancelled(inherits).await });
        tokio::spawn(Arc::clone(self).bury(means.sessions));
    }

    /// How many there are.
    pub(super) fn figures(&self) -> Figures {
        let state = self.state.lock();
        let (written, unwritten) = (state.stands.written(), state.stands.unwritten());
        Figures { written, unwritten, adopted: self.adopted.load(Ordering::Relaxed) }
    }

    /// This gateway is about to leave: what is on its way is written, within `patience`, for whoever takes it over.
    pub(super) async fn end(&self, patience: Duration) {
        let written = async {
            while !self.is_settled() {
                sleep(LOOKED).await;
            }
        };
        let is_late = timeout(patience, written).await.is_err();
        // Not before: what is lacking is written by whoever looks after estates.
        self.end.cancel();
        let unwritten = self.figures().unwritten;
        if is_late && unwritten > 0 {
            tracing::warn!(unwritten, "messages that are not acknowledged are lost with this gateway");
        }
    }

    fn landed(&self, name: u64, opening: Opening, landed: Result<Place, SessionError>) {
        let mut state = self.state.lock();
        state.has_written |= landed.is_ok();
        match &landed {
            Ok(_) | Err(SessionError::Withdrawn) => {}
            Err(why) => state.problem = Some(why.to_string()),
        }
        state.stands.landed(name, opening, landed.ok());
        let lacks_any = state.stands.lacking() > 0;
        drop(state);
        self.over.notify_one();
        if lacks_any {
            self.lacks.notify_one();
        }
    }

    /// Whether all is written and removed that is to be.
    fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.stands.unwritten() == 0 && state.stands.leaving() == 0
    }
}

/// Neither texts of users nor logs are part of what it says.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.figures(), f)
    }
}
