//! Where sessions are found: a map in many parts, so that two sessions seldom meet at one lock.
//!
//! A part is locked for the look-up only. Order of locks: a part, then a session within it; never the other way round.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
    time::Duration,
};

use mesh_core::SessionId;
use tokio::time::Instant;

use super::{cell::Cell, guests::Guests};
use crate::{
    TransportError,
    queue::{Effects, Origin, Tombstones},
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Parts of the map. A power of two; a thousand sessions in each where there are most, so that a look at all of a part, or
/// its growth, holds up callers for some 100 µs. Shuttle counts each lock.
pub(crate) const PARTS: usize = if cfg!(feature = "shuttle") { 4 } else { 1024 };

/// Sessions that are kept at most. An idle one takes less than 300 bytes, so this bounds their memory to 300 MiB.
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
    /// Nobody finds a session here any more, or makes one.
    has_ended: bool,
}

/// What a sweep of one part found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) fx: Effects,
    /// The idle sessions that were closed.
    pub(crate) closed: Vec<Arc<Cell>>,
    /// Those that stay and have something in them.
    pub(crate) holding: Vec<Arc<Cell>>,
    /// How many sessions there were.
    pub(crate) looked: usize,
}

impl Shards {
    pub(crate) fn new() -> Self {
        let tombstones = || Tombstones::at_most(MOST_TOMBSTONES / PARTS);
        let part = || Part { cells: HashMap::new(), tombstones: tombstones(), has_ended: false };
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(part())).collect(),
            hasher: RandomState::new(),
            sessions: AtomicUsize::new(0),
        }
    }

    /// The session, made for `who` if it is not there.
    pub(crate) fn open(
        &self,
        id: &SessionId,
        who: &Origin,
        guests: &Guests,
        now: Instant,
    ) -> Result<Arc<Cell>, TransportError> {
        let mut part = self.parts[self.part(id)].lock();
        if let Some(cell) = part.cells.get(id) {
            return Ok(Arc::clone(cell));
        }
        part.admit(id, now)?;
        self.has_place()?;
        let cell = Cell::new(id.clone(), guests.make(who)?, now);
        self.sessions.fetch_add(1, Ordering::Relaxed);
        part.cells.insert(id.clone(), Arc::clone(&cell));
        Ok(cell)
    }

    /// Whether one more session may be made.
    pub(crate) fn has_place(&self) -> Result<(), TransportError> {
        let has_place = self.sessions.load(Ordering::Relaxed) < MOST_SESSIONS;
        if has_place { Ok(()) } else { Err(TransportError::TooManySessions { limit: MOST_SESSIONS }) }
    }

    /// Puts in a session that was made elsewhere.
    pub(crate) fn put(&self, cell: &Arc<Cell>) -> Result<(), TransportError> {
        let mut part = self.parts[self.part(&cell.id)].lock();
        part.admit(&cell.id, Instant::now())?;
        self.has_place()?;
        if part.cells.insert(cell.id.clone(), Arc::clone(cell)).is_none() {
            self.sessions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a session out that was closed.
    pub(crate) fn forget(&self, cell: &Arc<Cell>) {
        let mut part = self.parts[self.part(&cell.id)].lock();
        if part.cells.get(&cell.id).is_some_and(|there| Arc::ptr_eq(there, cell)) {
            part.cells.remove(&cell.id);
            self.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends a session here that is another gateway's now. Answers how many of its messages stood nowhere else; `None`: it had ended.
    pub(crate) fn move_away(&self, cell: &Arc<Cell>, fx: &mut Effects) -> Option<usize> {
        self.forget(cell);
        let mut session = cell.session.lock();
        (!session.is_closed()).then(|| session.move_away(fx))
    }

    /// The session, if it is there.
    pub(crate) fn find(&self, id: &SessionId, now: Instant) -> Result<Option<Arc<Cell>>, TransportError> {
        let part = self.parts[self.part(id)].lock();
        part.admit(id, now)?;
        Ok(part.cells.get(id).map(Arc::clone))
    }

    /// Ends the session for good, and refuses its id until `until`.
    pub(crate) fn release(&self, id: &SessionId, until: Instant) -> Effects {
        let mut fx = Effects::default();
        let mut part = self.parts[self.part(id)].lock();
        part.tombstones.put(id, until);
        if let Some(cell) = part.cells.remove(id) {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            // Within the part's lock: whoever finds the session closed then finds its tombstone too.
            cell.session.lock().close(&mut fx);
        }
        fx
    }

    /// Refuses the id of a session that was released before the node was started again.
    pub(crate) fn refuse(&self, id: &SessionId, until: Instant) {
        self.parts[self.part(id)].lock().tombstones.put(id, until);
    }

    /// Forgets old tombstones of one part and the sessions that nobody has used for `idle`.
    pub(crate) fn sweep(&self, part: usize, now: Instant, idle: Duration) -> Swept {
        let mut swept = Swept::default();
        let Some(part) = self.parts.get(part) else { return swept };
        let mut part = part.lock();
        part.tombstones.sweep(now);
        swept.looked = part.cells.len();
        part.cells.retain(|_, cell| {
            let mut session = cell.session.lock();
            session.tidy();
            let is_idle = session.is_idle(now, idle);
            if is_idle {
                session.close(&mut swept.fx);
                swept.closed.push(Arc::clone(cell));
            } else if !session.is_empty() {
                swept.holding.push(Arc::clone(cell));
            }
            !is_idle
        });
        if part.cells.capacity() > 4 * part.cells.len().max(16) {
            part.cells.shrink_to_fit();
        }
        self.sessions.fetch_sub(swept.closed.len(), Ordering::Relaxed);
        swept
    }

    /// The sessions of one part, by their ids, from `from` on.
    pub(crate) fn list(&self, part: usize, from: Option<&SessionId>) -> Vec<Arc<Cell>> {
        let Some(part) = self.parts.get(part) else { return Vec::new() };
        let mut cells: Vec<_> = part
            .lock()
            .cells
            .values()
            .filter(|cell| from.is_none_or(|from| cell.id >= *from))
            .map(Arc::clone)
            .collect();
        cells.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        cells
    }

    /// Takes all sessions of one part out, as the process ends: whoever comes for one later is refused.
    pub(crate) fn end(&self, part: usize) -> Vec<Arc<Cell>> {
        let Some(part) = self.parts.get(part) else { return Vec::new() };
        let mut part = part.lock();
        part.has_ended = true;
        let cells: Vec<_> = part.cells.drain().map(|(_, cell)| cell).collect();
        self.sessions.fetch_sub(cells.len(), Ordering::Relaxed);
        cells
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// How many released sessions are remembered.
    pub(crate) fn tombstones(&self) -> usize {
        self.parts.iter().map(|part| part.lock().tombstones.len()).sum()
    }

    /// In which part a session lies.
    pub(crate) fn part(&self, id: &SessionId) -> usize {
        // PARTS is a power of two, so the low bits of the hash choose the part.
        self.hasher.hash_one(id) as usize & (PARTS - 1)
    }
}

impl Part {
    fn admit(&self, id: &SessionId, now: Instant) -> Result<(), TransportError> {
        if self.has_ended {
            return Err(TransportError::Ends);
        }
        if self.tombstones.refuse(id, now) { Err(TransportError::Released { session: id.clone() }) } else { Ok(()) }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn nobody_makes_a_session_beyond_the_most_until_one_is_gone() {
        let (shards, guests, now) = (Shards::new(), Guests::default(), Instant::now());
        let open = |id: &str| shards.open(&SessionId::new(id), &Origin::Application, &guests, now);
        assert!(open("first").is_ok());
        shards.sessions.store(MOST_SESSIONS, Ordering::Relaxed);
        assert!(open("first").is_ok(), "it is there");
        assert!(matches!(open("another"), Err(TransportError::TooManySessions { limit: MOST_SESSIONS })));
        shards.release(&SessionId::new("first"), now);
        assert!(open("another").is_ok());
    }

    #[test]
    fn nobody_finds_or_makes_a_session_where_all_were_taken_out() {
        let (shards, guests, now) = (Shards::new(), Guests::default(), Instant::now());
        let id = SessionId::new("one");
        let open = || shards.open(&id, &Origin::Application, &guests, now);
        assert!(open().is_ok());
        let taken: usize = (0..PARTS).map(|part| shards.end(part).len()).sum();
        assert_eq!((taken, shards.sessions()), (1, 0));
        assert!(matches!(open(), Err(TransportError::Ends)));
        assert!(matches!(shards.find(&id, now), Err(TransportError::Ends)));
    }
}
