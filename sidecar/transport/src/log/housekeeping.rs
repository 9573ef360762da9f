//! What the writer does between two groups: marks become durable, empty segments are used again, and what old segments
//! still hold is moved to the end where that frees them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    LogError,
    group::Group,
    group::What,
    inbox::Burial,
    kept::{self, Kept},
    millis,
    pool::Purpose,
    reclaim::{self, Need, Usage},
    record::{Head, Record},
    segment::{Mark, Segment},
    tail::InUse,
    writer::{HOUSE, Writer},
};

/// Bytes that are moved with one group while pushes wait beside them.
const BESIDE: u64 = 1 << 20;

/// A segment that is being emptied.
pub(super) struct Cleaning {
    number: u64,
    kept: Vec<Kept>,
    next: usize,
}

/// Whether a record was moved.
enum Moved {
    /// It is in the group, or gone already.
    Yes,
    /// Not in this group.
    NotNow,
    NoRoom,
    Unreadable,
}

impl Writer {
    pub(super) fn keep_house(&mut self) {
        let due = self.kept_house.elapsed() >= HOUSE;
        if due {
            self.kept_house = Instant::now();
            self.lapse();
            self.sync_marks();
            self.free_dead();
            self.full.iter_mut().for_each(InUse::forget_gone);
        }
        if due || self.lacks_room() || self.began {
            self.began = false;
            self.choose();
            self.count();
        }
    }

    /// Writes down what the segments that are to be used again know of pushes that may be repeated.
    pub(super) fn hand_on(&mut self, group: &mut Group) {
        let now = millis(SystemTime::now());
        for held in self.full.iter_mut().filter(|held| held.is_dead()) {
            held.pushed.lapse(now);
        }
        let Some(held) = self.full.iter().find(|held| held.is_dead() && !held.pushed.is_empty()) else { return };
        let (number, records) = (held.segment.number, held.pushed.records());
        for record in records {
            // Asked again with the next group; until then the segment stays.
            let Ok(true) = self.make_room(record.size(), group, Purpose::Room) else { return };
            let Some(tail) = &mut self.tail else { return };
            tail.place(record, self.next.0, What::Known, group);
            self.next.0 += 1;
        }
        group.handed_on.push(number);
    }

    /// Uses those segments again in which nothing is left.
    pub(super) fn free_dead(&mut self) {
        let (dead, full) = std::mem::take(&mut self.full).into_iter().partition::<Vec<_>, _>(InUse::is_free);
        self.full = full;
        for held in dead {
            let file = held.segment.path();
            let freed =
                if held.segment.has_failed() { self.folder.remove(file) } else { self.pool.recycle(&held.segment) };
            if let Err(error) = freed {
                tracing::warn!(file = %file.display(), "an empty segment stays until the next start: {error}");
            }
        }
    }

    /// Begins to empty a segment, if one is to be emptied.
    fn choose(&mut self) {
        if self.cleaning.is_some() {
            return;
        }
        let failed = self.tail.as_ref().is_some_and(|tail| tail.held.segment.has_failed());
        if let Some(tail) = self.tail.take_if(|_| failed) {
            self.before = Some(tail.name());
            self.full.push(tail.held);
        }
        let usages: Vec<Usage> =
            self.full.iter().filter(|held| !held.stuck && !held.is_dead()).map(InUse::usage).collect();
        let need = if self.lacks_room() { Need::Room } else { Need::Order };
        let number = reclaim::choose(&usages, need, self.pool.capacity());
        let held = number.and_then(|number| self.full.iter().find(|held| held.segment.number == number));
        self.cleaning = held.map(|held| Cleaning { number: held.segment.number, kept: held.here(), next: 0 });
    }

    /// Adds to `group` some of what is still in the segment that is being emptied.
    pub(super) fn move_some(&mut self, group: &mut Group) {
        let Some(mut cleaning) = self.cleaning.take() else { return };
        while group.bytes < BESIDE {
            let Some(kept) = cleaning.kept.get(cleaning.next).cloned() else { return };
            match self.move_one(&kept, cleaning.number, group) {
                Moved::Yes => cleaning.next += 1,
                Moved::NotNow => break,
                // Asked again when the house is kept the next time.
                Moved::NoRoom => return,
                Moved::Unreadable => {
                    tracing::error!("a record of segment {} cannot be read: it keeps its place", cleaning.number);
                    self.full.iter_mut().filter(|h| h.segment.number == cleaning.number).for_each(|h| h.stuck = true);
                    return;
                }
            }
        }
        self.cleaning = Some(cleaning);
    }

    fn move_one(&mut self, kept: &Kept, number: u64, group: &mut Group) -> Moved {
        let Some(position) = kept.position().filter(|position| position.segment.number == number) else {
            return Moved::Yes;
        };
        if !group.takes(kept.size()) {
            return Moved::NotNow;
        }
        match self.make_room(kept.size(), group, Purpose::Room) {
            Ok(true) => {}
            Ok(false) => return Moved::NotNow,
            Err(_) => return Moved::NoRoom,
        }
        let Ok(bytes) = position.segment.read(position.at, kept.size()) else { return Moved::Unreadable };
        let Some(head) = Head::decode(&bytes, position.segment.life) else { return Moved::Unreadable };
        if let Some(tail) = &mut self.tail {
            let what = What::Moved { kept: kept.clone(), mark: position.mark };
            tail.place(Record::again(head, bytes), head.id, what, group);
        }
        Moved::Yes
    }

    /// Marks records as gone, many with one write.
    pub(super) fn bury(&self, burial: Burial) {
        let mut graves: BTreeMap<u64, (Arc<Segment>, Vec<u32>)> = BTreeMap::new();
        for (segment, slot) in burial.kept.iter().filter_map(Kept::let_go) {
            graves.entry(segment.number).or_insert_with(|| (segment, Vec::new())).1.push(slot);
        }
        let mut done = Ok(());
        for (segment, mut slots) in graves.into_values() {
            slots.sort_unstable();
            for run in slots.chunk_by(|a, b| a + 1 == *b) {
                let Some(first) = run.first() else { continue };
                if let Err(error) = segment.mark(*first, run.len(), Mark::Gone) {
                    kept::failed(&segment, &error);
                    done = Err(LogError::disk(segment.path(), &error));
                }
            }
            if burial.buried.is_some()
                && let Err(error) = segment.sync()
            {
                done = Err(LogError::disk(segment.path(), &error));
            }
        }
        if let Some(buried) = burial.buried {
            buried(done);
        }
    }

    /// Lets go what has lost its meaning.
    fn lapse(&mut self) {
        let still = self.lapsing.split_off(&(millis(SystemTime::now()), 0));
        std::mem::replace(&mut self.lapsing, still).into_values().for_each(|kept| kept.gone());
    }

    pub(super) fn sync_marks(&self) {
        for held in self.held() {
            if let Err(error) = held.segment.sync_marks() {
                kept::failed(&held.segment, &error);
            }
        }
    }

    pub(super) fn count(&self) {
        let held: u64 = self.held().map(|held| held.segment.layout.length()).sum();
        let live: u64 = self.held().map(|held| held.segment.live()).sum();
        self.metrics.held.set(i64::try_from(held + self.pool.bytes()).unwrap_or(i64::MAX));
        self.metrics.live.set(i64::try_from(live).unwrap_or(i64::MAX));
        self.metrics.full.set(i64::from(self.lacks_room()));
    }
}
