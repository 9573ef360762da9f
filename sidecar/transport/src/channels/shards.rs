//! Where sessions are found: a map in many parts, so that two sessions seldom meet at one lock.
//!
//! A part is locked for the look-up only. Order of locks: a part, then a session within it; never the other way round.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
};

use mesh_core::SessionId;
use tokio::time::Instant;

use super::cell::Cell;
use crate::{
    TransportError,
    queue::{Effects, Tombstones},
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Parts of the map. A power of two well above the number of cores, so that a sweep of one part holds up few callers.
const PARTS: usize = 256;

/// Sessions that are kept at most. An idle one takes some 300 bytes, so this bounds their memory to about 300 MiB.
pub(crate) const MOST_SESSIONS: usize = 1 << 20;

/// Tombstones that are kept at most, over all parts: about 100 bytes each.
const MOST_TOMBSTONES: usize = 1 << 18;

/// All sessions of the node.
#[derive(Debug)]
pub(crate) struct Shards {
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
    sessions: AtomicUsize,
}

#[derive(Debug)]
struct Part {
    cells: HashMap<SessionId, Arc<Cell>>,
    tombstones: Tombstones,
}

impl Shards {
    pub(crate) fn new() -> Self {
        let part = || Part { cells: HashMap::new(), tombstones: Tombstones::at_most(MOST_TOMBSTONES / PARTS) };
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(part())).collect(),
            hasher: RandomState::new(),
            sessions: AtomicUsize::new(0),
        }
    }

    /// The session, made if it is not there.
    pub(crate) fn open(&self, id: &SessionId, now: Instant) -> Result<Arc<Cell>, TransportError> {
        let mut part = self.part(id).lock();
        if let Some(cell) = part.cells.get(id) {
            return Ok(Arc::clone(cell));
        }
        part.admit(id, now)?;
        if self.sessions.load(Ordering::Relaxed) >= MOST_SESSIONS {
            return Err(TransportError::TooManySessions { limit: MOST_SESSIONS });
        }
        self.sessions.fetch_add(1, Ordering::Relaxed);
        let cell = Cell::new(now);
        part.cells.insert(id.clone(), Arc::clone(&cell));
        Ok(cell)
    }

    /// The session, if it is there.
    pub(crate) fn find(&self, id: &SessionId, now: Instant) -> Result<Option<Arc<Cell>>, TransportError> {
        let part = self.part(id).lock();
        part.admit(id, now)?;
        Ok(part.cells.get(id).map(Arc::clone))
    }

    /// Ends the session for good, and refuses its id until `until`.
    pub(crate) fn release(&self, id: &SessionId, until: Instant) -> Effects {
        let mut fx = Effects::default();
        let mut part = self.part(id).lock();
        part.tombstones.put(id, until);
        if let Some(cell) = part.cells.remove(id) {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            // Within the part's lock: whoever finds the session closed then finds its tombstone too.
            cell.session.lock().close(&mut fx);
        }
        fx
    }

    /// Forgets old tombstones and the sessions that `is_idle` chooses; answers what fell out of them and how many they
    /// were.
    pub(crate) fn sweep(&self, now: Instant, is_idle: impl Fn(&Cell) -> bool) -> Swept {
        let mut swept = Swept::default();
        for part in &self.parts {
            let mut part = part.lock();
            part.tombstones.sweep(now);
            part.cells.retain(|_, cell| {
                let idle = is_idle(cell);
                if idle {
                    cell.session.lock().close(&mut swept.fx);
                    swept.sessions += 1;
                }
                !idle
            });
            if part.cells.capacity() > 4 * part.cells.len().max(16) {
                part.cells.shrink_to_fit();
            }
        }
        self.sessions.fetch_sub(swept.sessions, Ordering::Relaxed);
        swept
    }

    /// All sessions of one part after the other, without a lock held while they are looked at.
    pub(crate) fn each(&self, mut look: impl FnMut(&Arc<Cell>)) {
        for part in &self.parts {
            let cells: Vec<_> = part.lock().cells.values().map(Arc::clone).collect();
            cells.iter().for_each(&mut look);
        }
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// How many released sessions are remembered.
    pub(crate) fn tombstones(&self) -> usize {
        self.parts.iter().map(|part| part.lock().tombstones.len()).sum()
    }

    fn part(&self, id: &SessionId) -> &Mutex<Part> {
        // PARTS is a power of two, so the low bits of the hash choose the part.
        &self.parts[self.hasher.hash_one(id) as usize & (PARTS - 1)]
    }
}

impl Part {
    fn admit(&self, id: &SessionId, now: Instant) -> Result<(), TransportError> {
        if self.tombstones.refuse(id, now) { Err(TransportError::Released { session: id.clone() }) } else { Ok(()) }
    }
}

/// What a sweep found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) fx: Effects,
    pub(crate) sessions: usize,
}
