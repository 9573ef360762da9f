//! A record of the log in the hands of whoever works with what it says: where it is, and what became of it.
//!
//! The writer may move it meanwhile, so its place stands behind a lock that is held for as long as one mark takes.

use std::{io, sync::Arc};

use parking_lot::Mutex;

use super::segment::{Mark, Segment};

/// A record on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    size: u64,
    place: Mutex<Place>,
}

/// Where a record is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) segment: Arc<Segment>,
    pub(crate) slot: u32,
    /// Where it begins among the records.
    pub(crate) at: u64,
    pub(crate) mark: Mark,
}

impl Kept {
    /// A record of `size` bytes that is on disk and not gone.
    pub(crate) fn new(place: Place, size: u64) -> Self {
        place.segment.count(size);
        Self(Arc::new(Inner { size, place: Mutex::new(place) }))
    }

    /// The bytes that it takes on disk.
    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// Where it is; `None` if it is gone.
    pub(crate) fn place(&self) -> Option<Place> {
        let place = self.0.place.lock();
        (place.mark < Mark::Gone).then(|| place.clone())
    }

    /// Writes down that it was given out: after a crash it comes again as redelivered.
    pub(crate) fn given(&self) {
        self.mark(Mark::Given);
    }

    /// Writes down that it never comes again. That survives the end of the process when this returns.
    pub(crate) fn gone(&self) {
        self.mark(Mark::Gone);
    }

    fn mark(&self, mark: Mark) {
        let mut place = self.0.place.lock();
        if place.mark >= mark {
            return;
        }
        if let Err(error) = place.segment.mark(place.slot, 1, mark) {
            failed(&place.segment, &error);
        }
        self.settle(&mut place, mark);
    }

    /// Takes it as gone, and answers where its mark must be set: for many at once.
    pub(super) fn let_go(&self) -> Option<(Arc<Segment>, u32)> {
        let mut place = self.0.place.lock();
        if place.mark == Mark::Gone {
            return None;
        }
        self.settle(&mut place, Mark::Gone);
        Some((Arc::clone(&place.segment), place.slot))
    }

    /// It stands at `to` now, which is on disk; what became of it meanwhile is written there, and then the old place does
    /// not count any more.
    pub(super) fn moved(&self, to: Place) {
        let mut place = self.0.place.lock();
        if place.mark > to.mark
            && let Err(error) = to.segment.mark(to.slot, 1, place.mark)
        {
            failed(&to.segment, &error);
        }
        if let Err(error) = place.segment.mark(place.slot, 1, Mark::Moved) {
            failed(&place.segment, &error);
        }
        if place.mark < Mark::Gone {
            place.segment.discount(self.0.size);
            to.segment.count(self.0.size);
        }
        *place = Place { mark: place.mark, ..to };
    }

    fn settle(&self, place: &mut Place, mark: Mark) {
        place.mark = mark;
        if mark == Mark::Gone {
            place.segment.discount(self.0.size);
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
