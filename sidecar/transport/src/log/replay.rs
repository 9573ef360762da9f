//! What the log holds when it is opened: every segment is read and checked before anything is believed.
//!
//! A file that cannot be trusted ends the start with its name, the offset and the remedy. To go on without it would be to
//! lose messages whose senders were told that they are safe, and nobody would know.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map},
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;

use super::{
    LogError, Metrics,
    entry::Entry,
    folder::Folder,
    inbox::Inbox,
    kept::{Kept, Position},
    millis,
    own::Own,
    pace::Pace,
    pool::Pool,
    pushed::{self, Block},
    record::{self, Head, Kind},
    scan::{self, Known},
    segment::{self, Mark, Opened, Segment},
    tail::InUse,
    writer::Writer,
};
use crate::queue::{MessageId, Origin};

/// A record that is not gone.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) kept: Kept,
    /// When it was first written, in milliseconds since 1970.
    pub(crate) time: u64,
    /// Whether it was given out before.
    pub(crate) given: bool,
}

/// What the log held.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// What is not gone, in the order in which it was first written.
    pub(crate) found: Vec<Found>,
    /// Pushes that their senders may repeat.
    pub(crate) pushed: Vec<PushedBefore>,
}

/// A push with an id, whose message may be gone.
#[derive(Debug)]
pub(crate) struct PushedBefore {
    pub(crate) sender: Origin,
    pub(crate) id: MessageId,
    /// When it came, in milliseconds since 1970.
    pub(crate) time: u64,
}

/// A record of a segment, before it is known whether a later segment has it too.
struct Read {
    head: Head,
    position: Position,
    body: Bytes,
}

/// Opens the log in `path`. The records that are not gone come in the order in which they were first written.
pub(super) fn open(
    path: &Path,
    capacity: u64,
    inbox: Arc<Inbox>,
    metrics: Metrics,
) -> Result<(Writer, Replayed), LogError> {
    let folder = Arc::new(Folder::open(path)?);
    let (mut pool, segments) = files(&folder, capacity)?;
    let ends: HashMap<u64, u64> = segments.iter().filter_map(|(_, before)| *before).collect();
    let mut reading = Reading { now: millis(SystemTime::now()), ..Reading::default() };
    let (mut full, mut before) = (Vec::new(), None);
    for (segment, _) in segments {
        let (segment, seen) = (Arc::new(segment), reading.pushed.len());
        let end = reading.segment(&segment, ends.get(&segment.number).copied())?;
        // A record that was written and not synced when the process was killed counts from now on.
        segment.sync().map_err(|error| LogError::disk(segment.path(), &error))?;
        before = Some((segment.number, end));
        let mut held = InUse::new(segment);
        let seen = reading.pushed.get(seen..).unwrap_or_default();
        seen.iter().for_each(|push| held.pushed.add(&push.sender, push.id, push.time));
        full.push(held);
    }
    let last = before.map_or(0, |(number, _)| number).max(pool.last());
    let next = (reading.next, last + 1);
    let mut pushed = std::mem::take(&mut reading.pushed);
    pushed.append(&mut reading.handed_on);
    let (found, lapsing) = reading.found(&mut full)?;
    pool.trim();
    let writer = Writer {
        inbox,
        folder,
        pool,
        tail: None,
        full,
        queue: VecDeque::new(),
        own: Own::default(),
        next,
        before,
        lapsing,
        cleaning: None,
        no_room: false,
        began: true,
        kept_house: Instant::now(),
        pace: Pace::default(),
        metrics,
    };
    Ok((writer, Replayed { found, pushed }))
}

/// A segment, and what it says of the one before it.
type Titled = (Segment, Option<(u64, u64)>);

/// Looks at all files: blank ones into the pool, unfinished ones away, segments in order.
fn files(folder: &Arc<Folder>, capacity: u64) -> Result<(Pool, Vec<Titled>), LogError> {
    let disk = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| LogError::disk(&path, &error)
    };
    let files = folder.files().map_err(disk(folder.path()))?;
    let next = files.last().map_or(1, |(number, _)| number + 1);
    let (mut pool, mut segments) = (Pool::new(Arc::clone(folder), capacity, next), Vec::new());
    for (_, path) in files {
        match segment::open(path.clone()).map_err(disk(&path))? {
            Opened::Segment(segment, before) => segments.push((segment, before)),
            Opened::Blank(blank) => pool.keep(blank),
            Opened::Unfinished => folder.remove(&path).map_err(disk(&path))?,
            Opened::Damaged => return Err(LogError::Damaged { path, offset: 0 }),
            Opened::Version(version) => return Err(LogError::Version { path, version }),
        }
    }
    segments.sort_by_key(|(segment, _)| segment.number);
    Ok((pool, segments))
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    /// By number of the record.
    records: BTreeMap<u64, Read>,
    /// The number after the greatest.
    next: u64,
    /// Of the messages that were read, in their order.
    pushed: Vec<PushedBefore>,
    /// Of the records that say what earlier segments knew.
    handed_on: Vec<PushedBefore>,
    /// Milliseconds since 1970.
    now: u64,
}

impl Reading {
    /// Reads a segment, and answers where it ends.
    fn segment(&mut self, segment: &Arc<Segment>, end: Option<u64>) -> Result<u64, LogError> {
        let disk = |error| LogError::disk(segment.path(), &error);
        let damaged = |at: usize| LogError::Damaged {
            path: segment.path().to_owned(),
            offset: segment.layout.records() + at as u64,
        };
        let marks = segment.marks().map_err(disk)?;
        let mark = |slot: u32| Mark::of(marks.get(slot as usize).copied().unwrap_or(0));
        let bytes = Bytes::from(segment.read(0, segment.layout.capacity).map_err(disk)?);
        let known = Known { life: segment.life, end, gone: &|slot| mark(slot) >= Mark::Gone };
        let scanned = scan::scan(&bytes, &known).map_err(|damage| damaged(damage.at))?;
        for (head, at) in scanned.records {
            self.next = self.next.max(head.id + 1);
            let mark = mark(head.slot);
            if mark == Mark::Moved {
                continue;
            }
            let length = usize::try_from(head.length).map_err(|_| damaged(at))?;
            let body = bytes.slice(at + record::HEAD..at + record::HEAD + length);
            self.note(head.kind, head.time, &body);
            // A small body must not keep the whole segment in memory.
            let body = match mark {
                Mark::Gone => Bytes::new(),
                _ if body.len() >= bytes.len() / 2 => body,
                _ => Bytes::copy_from_slice(&body),
            };
            let position = Position { segment: Arc::clone(segment), slot: head.slot, at: at as u64, mark };
            self.add(Read { head, position, body }).map_err(|error| LogError::disk(segment.path(), &error))?;
        }
        Ok(scanned.end as u64)
    }

    /// Keeps the id of a push: it may be repeated, also when its message is gone.
    fn note(&mut self, kind: Kind, time: u64, body: &Bytes) {
        let matters = matches!(kind, Kind::Message | Kind::Pushed) && pushed::lapses(time) > self.now;
        match if matters { Entry::decode(kind, body.clone()) } else { None } {
            Some(Entry::Message(stored)) => {
                let sender = stored.draft.origin;
                let id = stored.draft.id.map(|numbered| numbered.id);
                self.pushed.extend(id.map(|id| PushedBefore { sender, id, time }));
            }
            Some(Entry::Pushed { sender, blocks }) => {
                let ids = blocks.into_iter().flat_map(Block::ids);
                self.handed_on.extend(ids.map(|id| PushedBefore { sender: sender.clone(), id, time }));
            }
            _ => {}
        }
    }

    /// A record that stands in two segments was being moved when the process ended: the later place counts, and whatever
    /// became of it at either.
    fn add(&mut self, mut read: Read) -> std::io::Result<()> {
        if let Some(earlier) = self.records.remove(&read.head.id) {
            let mark = earlier.position.mark.max(read.position.mark);
            read.position.segment.mark(read.position.slot, 1, mark)?;
            earlier.position.segment.mark(earlier.position.slot, 1, Mark::Moved)?;
            read.position.mark = mark;
        }
        self.records.insert(read.head.id, read);
        Ok(())
    }

    /// Those that are not gone, in order; and of them what loses its meaning by itself.
    #[allow(clippy::type_complexity, reason = "named where it is kept, in the writer")]
    fn found(self, full: &mut [InUse]) -> Result<(Vec<Found>, BTreeMap<(u64, u64), Kept>), LogError> {
        let (mut found, mut lapsing) = (Vec::new(), BTreeMap::new());
        let mut held: HashMap<u64, &mut InUse> = full.iter_mut().map(|held| (held.segment.number, held)).collect();
        let now = self.now;
        for Read { head, position, body } in self.records.into_values() {
            if position.mark >= Mark::Gone {
                continue;
            }
            let unreadable = || LogError::Damaged {
                path: position.segment.path().to_owned(),
                offset: position.segment.layout.records() + position.at,
            };
            let entry = Entry::decode(head.kind, body).ok_or_else(unreadable)?;
            let given = position.mark == Mark::Given;
            let number = position.segment.number;
            let kept = Kept::new(position, record::size(head.length));
            if let hash_map::Entry::Occupied(mut held) = held.entry(number) {
                held.get_mut().kept.push(kept.clone());
            }
            let lapses = match entry {
                Entry::Tombstone { until, .. } => Some(until),
                Entry::Pushed { .. } => Some(pushed::lapses(head.time)),
                Entry::Message(_) | Entry::Involved { .. } => None,
            };
            lapsing.extend(lapses.map(|lapses| ((lapses, head.id), kept.clone())));
            if lapses.is_some_and(|lapses| lapses <= now) || matches!(entry, Entry::Pushed { .. }) {
                continue;
            }
            found.push(Found { entry, kept, time: head.time, given });
        }
        Ok((found, lapsing))
    }
}
