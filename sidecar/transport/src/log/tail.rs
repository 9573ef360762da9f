//! The segment at the end of the log, and those before it.

use std::sync::Arc;

use super::{
    group::{Group, Member, What},
    kept::Kept,
    pushed::Pushed,
    reclaim::Usage,
    record::Record,
    segment::{Mark, Segment},
};

/// A segment with the records that were written to it.
pub(super) struct InUse {
    pub(super) segment: Arc<Segment>,
    /// Those that are not gone, and some that are.
    pub(super) kept: Vec<Kept>,
    /// Pushes with an id that stand in it, and in no later record.
    pub(super) pushed: Pushed,
    /// How many bytes were not gone when `kept` was last looked through.
    looked: u64,
    /// Whether something in it cannot be read, so that it can not be emptied.
    pub(super) stuck: bool,
}

/// The segment at the end.
pub(super) struct Tail {
    pub(super) held: InUse,
    /// Where the next record goes.
    pub(super) end: u64,
    slot: u32,
    /// Up to where all is on disk.
    synced: u64,
}

impl InUse {
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        Self { segment, kept: Vec::new(), pushed: Pushed::default(), looked: u64::MAX, stuck: false }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            number: self.segment.number,
            live: self.segment.live(),
            capacity: self.segment.layout.capacity,
            failed: self.segment.has_failed(),
        }
    }

    /// Whether no record in it counts any more.
    pub(super) fn is_dead(&self) -> bool {
        self.segment.live() == 0
    }

    /// Whether its file may be used for something else.
    pub(super) fn is_free(&self) -> bool {
        self.is_dead() && self.pushed.is_empty()
    }

    /// The records that are still here.
    pub(super) fn here(&self) -> Vec<Kept> {
        self.kept.iter().filter(|kept| self.holds(kept)).cloned().collect()
    }

    /// Forgets what is gone, when half of it is: so each record is looked at about twice.
    pub(super) fn forget_gone(&mut self) {
        let live = self.segment.live();
        if live < self.looked / 2 {
            let number = self.segment.number;
            self.kept.retain(|kept| kept.position().is_some_and(|position| position.segment.number == number));
            self.kept.shrink_to_fit();
            self.looked = live;
        }
    }

    fn holds(&self, kept: &Kept) -> bool {
        kept.position().is_some_and(|position| position.segment.number == self.segment.number)
    }
}

impl Tail {
    pub(super) fn new(segment: Segment) -> Self {
        Self { held: InUse::new(Arc::new(segment)), end: 0, slot: 0, synced: 0 }
    }

    /// Whether a record of `size` bytes fits.
    pub(super) fn takes(&self, size: u64) -> bool {
        let layout = &self.held.segment.layout;
        !self.held.segment.has_failed() && self.slot < layout.slots && self.end.saturating_add(size) <= layout.capacity
    }

    /// Gives `record` its place, as a member of `group`.
    pub(super) fn place(&mut self, mut record: Record, id: u64, what: What, group: &mut Group) {
        if group.is_empty() {
            group.at = self.end;
        }
        record.place(self.held.segment.life, id, self.slot, self.synced);
        let (size, at, slot) = (record.size(), self.end, self.slot);
        self.end += size;
        self.slot += 1;
        group.bytes += size;
        group.members.push(Member { record, slot, at, what });
    }

    /// The same for a record in a file of its own, where it is on disk already but for its head. The head says so.
    pub(super) fn place_own(&mut self, record: Record, id: u64, what: What, group: &mut Group) {
        let synced = std::mem::replace(&mut self.synced, record.size());
        self.place(record, id, what, group);
        self.synced = synced;
        group.heads_only = true;
    }

    /// All that was placed is on disk.
    pub(super) fn synced(&mut self) {
        self.synced = self.end;
    }

    /// How it goes on behind it: its number, and where its records end.
    pub(super) fn name(&self) -> (u64, u64) {
        (self.held.segment.number, self.synced)
    }

    /// What was placed and could not be written must not come to life: nobody was told that it is there.
    pub(super) fn disown(&self, group: &Group) {
        if let Some(first) = group.members.first()
            && let Err(error) = self.held.segment.mark(first.slot, group.members.len(), Mark::Moved)
        {
            tracing::warn!(file = %self.held.segment.path().display(), "what was refused may come after a crash: {error}");
        }
    }
}
