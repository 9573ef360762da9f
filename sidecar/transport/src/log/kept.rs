//! A record of the log in the hands of whoever works with what it says: where it is, and what became of it.
//!
//! The writer may move it meanwhile, so its place stands behind a lock that is held for as long as one mark takes. Who serves
//! connections has marks set by `marks.rs`, and never waits for that lock.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use parking_lot::Mutex;

use super::segment::{Mark, Segment};

/// A record on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    size: u64,
    /// The mark that was asked for.
    asked: AtomicU8,
    position: Mutex<Position>,
}

/// Where a record is.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) segment: Arc<Segment>,
    pub(crate) slot: u32,
    /// Where it begins among the records.
    pub(crate) at: u64,
    pub(crate) mark: Mark,
}

impl Kept {
    /// A record of `size` bytes that is on disk and not gone.
    pub(crate) fn new(position: Position, size: u64) -> Self {
        position.segment.count(size);
        let asked = AtomicU8::new(Mark::Fresh as u8);
        Self(Arc::new(Inner { size, asked, position: Mutex::new(position) }))
    }

    /// The bytes that it takes on disk.
    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// Where it is; `None` if it is gone.
    pub(crate) fn position(&self) -> Option<Position> {
        let position = self.0.position.lock();
        (position.mark < Mark::Gone).then(|| position.clone())
    }

    /// Writes down that it was given out: after a crash it comes again as redelivered. Waits for the system.
    pub(crate) fn given(&self) {
        self.mark(Mark::Given);
    }

    /// Writes down that it never comes again. That survives the end of the process when this returns. Waits for the system.
    pub(crate) fn gone(&self) {
        self.mark(Mark::Gone);
    }

    /// Notes that `mark` is asked for; `false`: it was already, and will be set.
    pub(super) fn asks(&self, mark: Mark) -> bool {
        self.0.asked.fetch_max(mark as u8, Ordering::AcqRel) < mark as u8
    }

    /// Whether it surely has this mark; never waits.
    pub(super) fn is_marked(&self, mark: Mark) -> bool {
        self.0.position.try_lock().is_some_and(|position| position.mark >= mark)
    }

    pub(super) fn mark(&self, mark: Mark) {
        let mut position = self.0.position.lock();
        if position.mark >= mark {
            return;
        }
        if let Err(error) = position.segment.mark(position.slot, 1, mark) {
            failed(&position.segment, &error);
        }
        self.settle(&mut position, mark);
    }

    /// Takes it as gone, and answers where its mark must be set: for many at once.
    pub(super) fn let_go(&self) -> Option<(Arc<Segment>, u32)> {
        let mut position = self.0.position.lock();
        if position.mark == Mark::Gone {
            return None;
        }
        self.settle(&mut position, Mark::Gone);
        Some((Arc::clone(&position.segment), position.slot))
    }

    /// It stands at `to` now, which is on disk; what became of it meanwhile is written there, and then the old place does
    /// not count any more.
    pub(super) fn moved(&self, to: Position) {
        let mut position = self.0.position.lock();
        if position.mark > to.mark
            && let Err(error) = to.segment.mark(to.slot, 1, position.mark)
        {
            failed(&to.segment, &error);
        }
        if let Err(error) = position.segment.mark(position.slot, 1, Mark::Moved) {
            failed(&position.segment, &error);
        }
        if position.mark < Mark::Gone {
            position.segment.discount(self.0.size);
            to.segment.count(self.0.size);
        }
        *position = Position { mark: position.mark, ..to };
    }

    fn settle(&self, position: &mut Position, mark: Mark) {
        position.mark = mark;
        if mark == Mark::Gone {
            position.segment.discount(self.0.size);
        }
    }
}

/// It is the same record.
impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Kept {}

/// A mark that cannot be written changes nothing for those who are here; after a crash its message may come again.
pub(super) fn failed(segment: &Segment, error: &io::Error) {
    tracing::warn!(file = %segment.path().display(), "a read message could not be marked, and may come again after a crash: {error}");
}
