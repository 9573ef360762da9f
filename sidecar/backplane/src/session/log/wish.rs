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
/// Places that become one wish as they come: fewer than the smallest batch has room for.
const TOGETHER: usize = 256;

/// Asked when a record is begun; `false`: nobody waits for it any more.
pub type Begin = Box<dyn FnOnce() -> bool + Send>;

/// Told where a record stands, or why it does not.
pub type Landed = Box<dyn FnOnce(Result<Place, SessionError>) + Send>;

/// What a caller wants.
pub(super) enum Wish {
    /// That a record is appended; it is begun already where `begin` is gone.
    Append { body: Body, begin: Option<Begin>, landed: Landed },
    /// That a small record is appended for which nobody waits.
    Note { record: Bytes, landed: Landed },
    /// That records count no more.
    Consume(Consumed),
}

/// Records that count no more, and who waits until that lasts.
pub(super) struct Consumed {
    places: Vec<Place>,
    tells: Vec<oneshot::Sender<Result<(), SessionError>>>,
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
    Noted(u32, Bytes, Landed),
    Consumed(Consumed),
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
            // What goes with what is read waits beside as much.
            Wish::Note { .. } => 2 * WAITING,
            // No record is read twice, so these are no more than there are unread ones.
            Wish::Consume(_) => usize::MAX,
        };
        if self.bytes >= bound {
            return Err(wish);
        }
        if let Some(wish) = self.joined(wish) {
            self.bytes += wish.takes();
            self.queue.push_back(wish);
        }
        Ok(())
    }

    /// Has what is consumed next go with what was consumed just before. Answers the wish if it stands alone, as one does that only looks:
    /// it is told that it is refused.
    fn joined(&mut self, wish: Wish) -> Option<Wish> {
        match (self.queue.back_mut(), wish) {
            (Some(Wish::Consume(last)), Wish::Consume(next)) if last.goes_with(&next) => {
                self.bytes += Entry::PLACE * next.places.len();
                last.places.extend(next.places);
                last.tells.extend(next.tells);
                None
            }
            (_, wish) => Some(wish),
        }
    }

    /// Has these wait again, before all others.
    pub(super) fn put_back(&mut self, wishes: Vec<Wish>) {
        for wish in wishes.into_iter().rev() {
            self.bytes += wish.takes();
            self.queue.push_front(wish);
        }
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

    /// Whether they fill a batch.
    pub(super) fn are_many(&self) -> bool {
        self.queue.len() >= MOST
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
            Self::Append { landed, .. } | Self::Note { landed, .. } => landed(Err(why)),
            Self::Consume(consumed) => consumed.tell(&Err(why)),
        }
    }

    /// What it takes in memory.
    fn takes(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Append { body, .. } => Entry::Record(body.clone()).size(),
                Self::Note { record, .. } => record.len(),
                Self::Consume(consumed) => Entry::PLACE * consumed.places.len(),
            }
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Append { body, .. } => Entry::Record(body.clone()),
            Self::Note { record, .. } => Entry::Record(Body::Whole(record.clone())),
            Self::Consume(consumed) => Entry::Consumed(consumed.places.clone()),
        }
    }
}

impl Consumed {
    pub(super) fn new(places: Vec<Place>, tell: oneshot::Sender<Result<(), SessionError>>) -> Self {
        Self { places, tells: vec![tell] }
    }

    fn goes_with(&self, next: &Self) -> bool {
        !self.places.is_empty() && !next.places.is_empty() && self.places.len() + next.places.len() <= TOGETHER
    }

    fn tell(self, landed: &Result<(), SessionError>) {
        // Without a receiver nobody waits.
        self.tells.into_iter().for_each(|tell| drop(tell.send(landed.clone())));
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
            // There are a few hundred.
            let index = u32::try_from(group.entries.len()).unwrap_or(u32::MAX);
            match wishes.pop() {
                Some(Wish::Append { begin, landed, .. }) => {
                    if begin.is_some_and(|begin| !begin()) {
                        bytes -= entry.size_moved();
                        landed(Err(SessionError::Withdrawn));
                        continue;
                    }
                    group.tells.push(Tell::Landed(index, landed));
                }
                Some(Wish::Note { record, landed }) => group.tells.push(Tell::Noted(index, record, landed)),
                Some(Wish::Consume(consumed)) => group.tells.push(Tell::Consumed(consumed)),
                None => break,
            }
            group.entries.push(entry);
        }
        (!group.entries.is_empty()).then_some(group)
    }

    /// Tells everybody, in order, what became of the batch. Answers what is wished still: that something was read is so, whether there
    /// is room for that now or not.
    #[must_use]
    pub(super) fn tell(self, landed: &Result<u64, SessionError>) -> Vec<Wish> {
        let is_refused = matches!(landed, Err(SessionError::Away(_) | SessionError::Full(_)));
        let mut again = Vec::new();
        for one in self.tells {
            match one {
                Tell::Noted(_, record, landed) if is_refused => again.push(Wish::Note { record, landed }),
                Tell::Consumed(consumed) if is_refused && !consumed.places.is_empty() => {
                    again.push(Wish::Consume(consumed));
                }
                Tell::Landed(index, tell) | Tell::Noted(index, _, tell) => {
                    tell(landed.clone().map(|sequence| Place { sequence, index }));
                }
                Tell::Consumed(consumed) => consumed.tell(&landed.clone().map(drop)),
            }
        }
        again
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
        assert!(first.tell(&Ok(7)).is_empty());
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
        assert!(wishes.push(consume(1).0).is_ok());
        assert!(Group::of(&mut wishes, 1 << 20).is_some(), "one goes, and another one comes");
        assert!(wishes.takes(64 << 20) && !wishes.takes(1), "one thing is taken however large it is");
        assert!(wishes.push(append(1, true, &heard)).is_err() && wishes.push(note(&heard)).is_err());
        assert!(wishes.push(consume(1).0).is_ok(), "what is read is never refused");
        wishes.frees(64 << 20);
        assert!(wishes.push(append(1, true, &heard)).is_ok());
        assert_eq!((wishes.take().len(), wishes.bytes), (9, 0));
    }

    fn note(heard: &Heard) -> Wish {
        let heard = Arc::clone(heard);
        Wish::Note { record: "n".into(), landed: Box::new(move |it| heard.lock().push(it)) }
    }

    /// A wish that so many records count no more, and who waits for it.
    fn consume(count: usize) -> (Wish, oneshot::Receiver<Result<(), SessionError>>) {
        let (tell, told) = oneshot::channel();
        (Wish::Consume(Consumed::new(vec![Place { sequence: 1, index: 0 }; count], tell)), told)
    }

    #[test]
    fn what_is_read_one_after_the_other_becomes_one_wish_up_to_a_bound() {
        let mut wishes = Wishes::default();
        for _ in 0..=TOGETHER {
            assert!(wishes.push(consume(1).0).is_ok());
        }
        assert_eq!(wishes.queue.len(), 2);
        assert_eq!((wishes.take().len(), wishes.bytes), (2, 0));
    }

    #[test]
    fn what_is_read_is_wished_again_where_it_is_refused_and_all_else_is_told() {
        let (heard, mut wishes) = (Heard::default(), Wishes::default());
        let ((read, mut told), (looks, mut looked), (looks_again, mut looked_again)) =
            (consume(1), consume(0), consume(0));
        for wish in [looks, append(1, true, &heard), note(&heard), read, looks_again] {
            assert!(wishes.push(wish).is_ok());
        }
        let away = SessionError::Away("no leader".into());
        let again = Group::of(&mut wishes, 1 << 20).unwrap().tell(&Err(away.clone()));
        assert_eq!((again.len(), &*heard.lock()), (2, &vec![Err(away.clone())]));
        assert_eq!((looked.try_recv().unwrap(), told.try_recv().is_err()), (Err(away.clone()), true));
        assert_eq!(looked_again.try_recv().unwrap(), Err(away), "it waits for nothing that was read before");
        wishes.put_back(again);
        let group = Group::of(&mut wishes, 1 << 20).unwrap();
        assert!(matches!(*group.entries, [Entry::Record(_), Entry::Consumed(_)]), "in the same order");
        assert!(group.tell(&Ok(7)).is_empty());
        assert_eq!((heard.lock().pop(), told.try_recv()), (Some(Ok(Place { sequence: 7, index: 0 })), Ok(Ok(()))));
        wishes.put_back(vec![consume(1).0]);
        assert!(Group::of(&mut wishes, 1 << 20).unwrap().tell(&Err(SessionError::Moved)).is_empty(), "no more");
        assert_eq!(wishes.bytes, 0);
    }
}
