//! What callers want of a log, and how many wishes go into one batch.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::session::{
    batch::{Batch, Body, Entry, Place},
    error::SessionError,
};

/// Entries of a batch: as many as are told in some 100 µs.
const MOST: usize = 512;
/// What may wait in memory for one log, in bytes: eight of the largest batches. One record more is taken, however large.
const WAITING: usize = 8 << 20;
/// What a wish takes beside its bytes, with whoever waits for it.
const OVERHEAD: usize = 256;

/// Asked when a record is begun; `false`: nobody waits for it any more.
pub type Begin = Box<dyn FnOnce() -> bool + Send>;

/// Told where a record stands, or why it does not.
pub type Landed = Box<dyn FnOnce(Result<Place, SessionError>) + Send>;

/// What a caller wants.
pub(super) enum Wish {
    /// That a record is appended; it is begun already where `begin` is gone.
    Append { body: Body, begin: Option<Begin>, landed: Landed },
    /// That records count no more.
    Consume { places: Vec<Place>, tell: oneshot::Sender<Result<(), SessionError>> },
}

/// Wishes that wait, in order. What they take in memory is bounded: while it is not known what became of a batch they come and none
/// goes.
#[derive(Default)]
pub(super) struct Wishes {
    queue: VecDeque<Wish>,
    bytes: usize,
}

/// Wishes that go into one batch.
#[derive(Default)]
pub(super) struct Group {
    pub(super) entries: Vec<Entry>,
    /// Who is told what becomes of each entry.
    tells: Vec<Tell>,
}

enum Tell {
    Landed(u32, Landed),
    Consumed(oneshot::Sender<Result<(), SessionError>>),
}

/// Whether a record fits into a batch, also when it is moved.
pub(super) fn fits(record: &Bytes, largest: usize) -> bool {
    Batch::head() + Entry::Record(Body::Whole(record.clone())).size_moved() <= largest
}

/// How many places of a batch of `largest` bytes may be consumed at once, at least one.
pub(super) fn most_places(largest: usize) -> usize {
    let empty = Batch::head() + Entry::Consumed(Vec::new()).size();
    (largest.saturating_sub(empty) / Entry::PLACE).max(1)
}

impl Wishes {
    /// Has one more wait; one that may not is answered.
    pub(super) fn push(&mut self, wish: Wish) -> Result<(), Wish> {
        let bound = match wish {
            Wish::Append { .. } => WAITING,
            // What is read makes room: it waits beside as much.
            Wish::Consume { .. } => 2 * WAITING,
        };
        if self.bytes >= bound {
            return Err(wish);
        }
        self.bytes += wish.takes();
        self.queue.push_back(wish);
        Ok(())
    }

    /// Whether one more record may wait.
    pub(super) fn has_place(&self) -> bool {
        self.bytes < WAITING
    }

    /// Whether something else of so many bytes may wait too; it does then.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        let takes = self.has_place();
        self.bytes += if takes { bytes } else { 0 };
        takes
    }

    /// That waits no more.
    pub(super) fn frees(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes all.
    pub(super) fn take(&mut self) -> VecDeque<Wish> {
        self.queue.iter().for_each(|wish| self.bytes = self.bytes.saturating_sub(wish.takes()));
        std::mem::take(&mut self.queue)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn pop(&mut self) -> Option<Wish> {
        let wish = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(wish.takes());
        Some(wish)
    }
}

impl Wish {
    /// It is not fulfilled.
    pub(super) fn fails(self, why: SessionError) {
        match self {
            Self::Append { landed, .. } => landed(Err(why)),
            // Without a receiver nobody waits.
            Self::Consume { tell, .. } => drop(tell.send(Err(why))),
        }
    }

    /// What it takes in memory.
    fn takes(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Append { body, .. } => Entry::Record(body.clone()).size(),
                Self::Consume { places, .. } => Entry::PLACE * places.len(),
            }
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Append { body, .. } => Entry::Record(body.clone()),
            Self::Consume { places, .. } => Entry::Consumed(places.clone()),
        }
    }
}

impl Group {
    /// Takes as many wishes as fit into a batch of `largest` bytes, also when its records are moved, in order; a single one always does.
    pub(super) fn of(wishes: &mut Wishes, largest: usize) -> Option<Self> {
        let (mut group, mut bytes) = (Self::default(), Batch::head());
        while let Some(wish) = wishes.queue.front() {
            let entry = wish.entry();
            bytes += entry.size_moved();
            if !group.entries.is_empty() && (bytes > largest || group.entries.len() >= MOST) {
                break;
            }
            match wishes.pop() {
                Some(Wish::Append { begin, landed, .. }) => {
                    if begin.is_some_and(|begin| !begin()) {
                        bytes -= entry.size_moved();
                        landed(Err(SessionError::Withdrawn));
                        continue;
                    }
                    // There are a few hundred.
                    let index = u32::try_from(group.entries.len()).unwrap_or(u32::MAX);
                    group.tells.push(Tell::Landed(index, landed));
                }
                Some(Wish::Consume { tell, .. }) => group.tells.push(Tell::Consumed(tell)),
                None => break,
            }
            group.entries.push(entry);
        }
        (!group.entries.is_empty()).then_some(group)
    }

    /// Tells everybody, in order, what became of the batch.
    pub(super) fn tell(self, landed: &Result<u64, SessionError>) {
        for one in self.tells {
            match one {
                Tell::Landed(index, tell) => tell(landed.clone().map(|sequence| Place { sequence, index })),
                Tell::Consumed(tell) => drop(tell.send(landed.clone().map(drop))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    type Heard = Arc<Mutex<Vec<Result<Place, SessionError>>>>;

    fn append(bytes: usize, is_wanted: bool, heard: &Heard) -> Wish {
        let (body, heard) = (Body::Whole(vec![0; bytes].into()), Arc::clone(heard));
        Wish::Append {
            body,
            begin: Some(Box::new(move || is_wanted)),
            landed: Box::new(move |it| heard.lock().push(it)),
        }
    }

    fn wishes(all: impl IntoIterator<Item = (usize, bool)>, heard: &Heard) -> Wishes {
        let mut wishes = Wishes::default();
        for (bytes, is_wanted) in all {
            assert!(wishes.push(append(bytes, is_wanted, heard)).is_ok());
        }
        wishes
    }

    #[test]
    fn what_waits_goes_together_as_far_as_it_fits() {
        let heard = Heard::default();
        let mut wishes = wishes([(400, true), (400, true), (9, false), (400, true), (5000, true)], &heard);
        let sizes = |group: &Group| group.entries.iter().map(Entry::size).collect::<Vec<_>>();
        let first = Group::of(&mut wishes, 1000).unwrap();
        assert_eq!(sizes(&first), [405, 405]);
        assert_eq!(*heard.lock(), [Err(SessionError::Withdrawn)]);
        first.tell(&Ok(7));
        let places = [0, 1].map(|index| Ok(Place { sequence: 7, index }));
        assert_eq!(heard.lock().split_off(1), places);
        assert_eq!(sizes(&Group::of(&mut wishes, 1000).unwrap()), [405]);
        assert_eq!(sizes(&Group::of(&mut wishes, 1000).unwrap()), [5005], "one goes however large it is");
        assert!(Group::of(&mut wishes, 1000).is_none());
    }

    #[test]
    fn a_batch_has_so_many_entries_and_no_more() {
        let heard = Heard::default();
        let mut wishes = wishes((0..=MOST).map(|_| (1, true)), &heard);
        assert_eq!(Group::of(&mut wishes, 1 << 20).unwrap().entries.len(), MOST);
        assert_eq!(wishes.queue.len(), 1);
    }

    #[test]
    fn a_batch_that_fits_into_a_message_fits_too_when_its_records_are_moved() {
        let heard = Heard::default();
        let largest = 4000;
        let mut wishes = wishes((0..MOST).map(|_| (1, true)), &heard);
        while let Some(group) = Group::of(&mut wishes, largest) {
            let moved = group.entries.into_iter().map(|entry| match entry {
                Entry::Record(body) => Entry::Moved(Place { sequence: 1, index: 0 }, body),
                other => other,
            });
            let batch = Batch { writer: 1, number: 1, epoch: 1, entries: moved.collect() };
            assert!(batch.write().len() <= largest, "{} bytes", batch.write().len());
        }
        let room = largest - Batch::head() - Entry::Record(Body::Whole(Bytes::new())).size_moved();
        let fit = |bytes| fits(&vec![0; bytes].into(), largest);
        assert!(fit(room) && !fit(room + 1));
        let places = vec![Place { sequence: 1, index: 0 }; most_places(largest)];
        let batch = |places| Batch { writer: 1, number: 1, epoch: 1, entries: vec![Entry::Consumed(places)] };
        assert!(batch(places.clone()).write().len() <= largest);
        assert!(batch([places, vec![Place { sequence: 1, index: 0 }]].concat()).write().len() > largest);
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_read_may_wait_beside_it() {
        let (heard, mut wishes) = (Heard::default(), Wishes::default());
        let mut count = 0;
        while wishes.push(append(1 << 20, true, &heard)).is_ok() {
            count += 1;
            assert!(count < 100, "it takes all that comes");
        }
        assert!(count == 8 && !wishes.takes(1));
        let consume = || Wish::Consume { places: Vec::new(), tell: oneshot::channel().0 };
        assert!(wishes.push(consume()).is_ok());
        assert!(Group::of(&mut wishes, 1 << 20).is_some(), "one goes, and another one comes");
        assert!(wishes.takes(64 << 20) && !wishes.takes(1), "one thing is taken however large it is");
        assert!(wishes.push(append(1, true, &heard)).is_err() && wishes.push(consume()).is_err());
        wishes.frees(64 << 20);
        assert!(wishes.push(append(1, true, &heard)).is_ok());
        assert_eq!((wishes.take().len(), wishes.bytes), (9, 0));
    }
}
