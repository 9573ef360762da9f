//! The thread that writes the log: it takes what has come in, writes it with one fsync, and tells everybody at once. What
//! comes meanwhile is the next group.
//!
//! It alone gives records their place, so their order on disk is the order in which they land. Between two groups it keeps house
//! (`housekeeping.rs`).

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    LogError, Metrics,
    folder::Folder,
    group::{Group, What},
    inbox::{Append, Inbox, Work},
    kept::{Kept, Position},
    own::Own,
    pace::Pace,
    pool::{NoFile, Pool, Purpose},
    pushed::Pushed,
    segment::{Blank, Mark},
    tail::{InUse, Tail},
};

/// How often a full disk is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How often the house is kept while nothing comes in: marks are on disk that much later at most.
pub(super) const HOUSE: Duration = Duration::from_secs(1);

/// Failed segments that are kept until what is left in them is elsewhere. A disk that fails so often takes nothing more.
const FAILED: usize = 4;

/// The writer of the log.
pub(super) struct Writer {
    pub(super) inbox: Arc<Inbox>,
    pub(super) folder: Arc<Folder>,
    pub(super) pool: Pool,
    pub(super) tail: Option<Tail>,
    /// The segments before the tail, in order.
    pub(super) full: Vec<InUse>,
    /// What has come in and is not written, in order.
    pub(super) queue: VecDeque<Append>,
    /// What gets a file of its own.
    pub(super) own: Own,
    /// The next record's number, and the next segment's.
    pub(super) next: (u64, u64),
    /// How the log ended when it was opened.
    pub(super) before: Option<(u64, u64)>,
    /// What loses its meaning by itself, by when and by which record.
    pub(super) lapsing: BTreeMap<(u64, u64), Kept>,
    pub(super) cleaning: Option<super::housekeeping::Cleaning>,
    /// Whether something waits because the disk is full.
    pub(super) no_room: bool,
    /// Whether a segment was begun since the house was kept.
    pub(super) began: bool,
    pub(super) kept_house: Instant,
    pub(super) pace: Pace,
    pub(super) metrics: Metrics,
}

impl Writer {
    /// Writes until it is asked to end.
    pub(super) fn run(mut self) {
        self.pool.make_ahead();
        loop {
            let work = self.inbox.wait(self.patience());
            let mut ending = self.take(work);
            if let Some((enough, until)) = self.pace.company(self.queue.len(), Instant::now())
                && !self.queue.is_empty()
                && !ending
            {
                let work = self.inbox.gather(enough - self.queue.len(), until);
                ending = self.take(work);
            }
            self.write_group();
            self.keep_house();
            if ending && (self.queue.is_empty() || self.no_room) {
                if self.own.is_empty() || self.own.lacks_room() {
                    return self.finish();
                }
                self.own.wait();
            }
        }
    }

    /// Takes in what has come; says whether the log ends.
    fn take(&mut self, work: Work) -> bool {
        self.queue.extend(work.appends);
        work.burials.into_iter().for_each(|burial| self.bury(burial));
        if let Some((append, file)) = work.filled.and_then(|file| self.own.filled(file)) {
            self.land_own(append, file);
        }
        work.ending
    }

    /// How long nothing may happen.
    fn patience(&self) -> Option<Duration> {
        if self.lacks_room() {
            Some(ASK_AGAIN)
        } else if !self.queue.is_empty() || self.cleaning.is_some() {
            Some(Duration::ZERO)
        } else {
            let keeps = !self.full.is_empty() || self.tail.as_ref().is_some_and(|tail| !tail.held.is_dead());
            keeps.then_some(HOUSE)
        }
    }

    fn write_group(&mut self) {
        let mut group = Group::default();
        self.hand_on(&mut group);
        self.move_some(&mut group);
        self.fill(&mut group);
        if !group.is_empty() {
            self.land(group);
        }
        self.own.go_on(&self.folder, &self.inbox, || self.pool.number());
    }

    /// Whether something waits because the disk is full.
    pub(super) fn lacks_room(&self) -> bool {
        self.no_room || self.own.lacks_room()
    }

    /// Takes as many of the waiting records as one group holds, in order.
    fn fill(&mut self, group: &mut Group) {
        self.forget_withdrawn();
        self.no_room = false;
        while let Some(front) = self.queue.front() {
            let size = front.record.size();
            if size > self.pool.capacity() {
                self.queue.pop_front().into_iter().for_each(|append| self.own.add(append));
                continue;
            }
            if !group.takes(size) {
                return;
            }
            match self.make_room(size, group, Purpose::New) {
                Ok(true) => {}
                Ok(false) => return,
                Err(NoFile::Full) => {
                    self.no_room = true;
                    return;
                }
                Err(NoFile::Failed(error)) => {
                    if let Some(append) = self.queue.pop_front() {
                        self.refuse(append, &error);
                    }
                    continue;
                }
            }
            let (Some(append), Some(tail)) = (self.queue.pop_front(), &mut self.tail) else { return };
            if append.claim.take() {
                tail.place(append.record, self.next.0, What::New(append.landed), group);
                self.next.0 += 1;
            } else {
                (append.landed)(Err(LogError::Withdrawn));
            }
        }
    }

    /// A record has its own file, in which all is on disk but its head.
    fn land_own(&mut self, append: Append, file: io::Result<Blank>) {
        match file.map_err(NoFile::of) {
            Ok(blank) if append.claim.take() => self.begin_own(append, blank),
            Ok(blank) => {
                self.pool.give_back(blank);
                (append.landed)(Err(LogError::Withdrawn));
            }
            Err(_) if append.claim.is_withdrawn() => (append.landed)(Err(LogError::Withdrawn)),
            Err(NoFile::Full) => {
                let ask_again = if self.pool.shrink() { None } else { Some(Instant::now() + ASK_AGAIN) };
                self.own.add_again(append, ask_again);
            }
            Err(NoFile::Failed(error)) => self.refuse(append, &error),
        }
    }

    fn begin_own(&mut self, append: Append, blank: Blank) {
        if let Err(error) = self.require_a_disk().and_then(|()| self.begin(blank)) {
            return self.refuse(append, &error);
        }
        let (Some(tail), mut group) = (&mut self.tail, Group::default()) else { return };
        tail.place_own(append.record, self.next.0, What::New(append.landed), &mut group);
        self.next.0 += 1;
        self.land(group);
    }

    fn refuse(&self, append: Append, error: &io::Error) {
        self.metrics.failures.inc();
        append.claim.take();
        (append.landed)(Err(LogError::disk(self.folder.path(), error)));
    }

    /// Lets go those who gave up while the disk was full: what they hold may be what others wait for.
    fn forget_withdrawn(&mut self) {
        if !self.no_room {
            return;
        }
        let queue = std::mem::take(&mut self.queue);
        let (gone, wanted) = queue.into_iter().partition::<Vec<_>, _>(|append| append.claim.is_withdrawn());
        self.queue = wanted.into();
        gone.into_iter().for_each(|append| (append.landed)(Err(LogError::Withdrawn)));
    }

    /// Makes sure that the tail takes a record of `size` bytes. `false`: not in this group, which must be on disk before the
    /// next segment is begun.
    pub(super) fn make_room(&mut self, size: u64, group: &Group, purpose: Purpose) -> Result<bool, NoFile> {
        if self.tail.as_ref().is_some_and(|tail| tail.takes(size)) {
            return Ok(true);
        }
        if !group.is_empty() {
            return Ok(false);
        }
        self.require_a_disk().map_err(NoFile::Failed)?;
        self.free_dead();
        let blank = self.pool.take(size, purpose)?;
        self.begin(blank).map_err(NoFile::Failed)?;
        Ok(true)
    }

    /// Makes `blank` the segment at the end.
    fn begin(&mut self, blank: Blank) -> io::Result<()> {
        let before = self.tail.as_ref().map(Tail::name).or(self.before);
        let segment = blank.begin(self.next.1, before).map_err(|(blank, error)| {
            self.pool.give_back(blank);
            error
        })?;
        self.next.1 += 1;
        if let Some(full) = self.tail.replace(Tail::new(segment)) {
            self.full.push(full.held);
        }
        self.began = true;
        Ok(())
    }

    fn require_a_disk(&self) -> io::Result<()> {
        let failed = self.held().filter(|held| held.segment.has_failed()).count();
        if failed < FAILED { Ok(()) } else { Err(io::Error::other("too many writes have failed")) }
    }

    /// Writes a group, and tells everybody.
    fn land(&mut self, group: Group) {
        let Some(tail) = &mut self.tail else { return };
        let segment = Arc::clone(&tail.held.segment);
        self.metrics.groups.inc();
        let start = Instant::now();
        if let Err(error) = group.write(&segment) {
            self.metrics.failures.inc();
            tracing::error!(file = %segment.path().display(), "messages could not be written, their pushes are refused: {error}");
            tail.disown(&group);
            let error = LogError::disk(segment.path(), &error);
            for member in group.members {
                if let What::New(landed) = member.what {
                    landed(Err(error.clone()));
                }
            }
            self.cleaning = None;
            return;
        }
        tail.synced();
        let (now, there) = (Instant::now(), group.members.len() + self.queue.len() + self.inbox.appends());
        self.pace.wrote(now - start, there, now);
        for member in group.members {
            let position =
                Position { segment: Arc::clone(&segment), slot: member.slot, at: member.at, mark: Mark::Fresh };
            if let What::Moved { kept, mark } = member.what {
                kept.moved(Position { mark, ..position });
                tail.held.kept.push(kept);
                self.metrics.moved.inc();
                continue;
            }
            let (kept, record) = (Kept::new(position, member.record.size()), member.record);
            tail.held.kept.push(kept.clone());
            if let Some(lapses) = record.lapses {
                self.lapsing.insert((lapses, record.id()), kept.clone());
            }
            if let Some((sender, id)) = &record.numbered {
                tail.held.pushed.add(sender, *id, record.time());
            }
            if let What::New(landed) = member.what {
                self.metrics.records.inc();
                landed(Ok(kept));
            }
        }
        let handed_on = |held: &&mut InUse| group.handed_on.contains(&held.segment.number);
        self.full.iter_mut().filter(handed_on).for_each(|held| held.pushed = Pushed::default());
    }

    /// All segments.
    pub(super) fn held(&self) -> impl Iterator<Item = &InUse> {
        self.full.iter().chain(self.tail.iter().map(|tail| &tail.held))
    }

    /// Ends in order: what still waits for room hears that there is none, and all marks are on disk.
    fn finish(mut self) {
        for append in std::mem::take(&mut self.queue).into_iter().chain(std::mem::take(&mut self.own).end()) {
            if append.claim.take() {
                (append.landed)(Err(LogError::Full { path: self.folder.path().to_owned() }));
            }
        }
        self.sync_marks();
    }
}
