//! What all watchers together may have: seats, and pieces of the log in memory.
//!
//! Where there is no room for one more piece, the one that has been held longest gives way. Its watcher reads slowly or not at all; it
//! comes again with the last revision that it has, and misses nothing.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use mesh_core::household;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::who::Who;

/// Watchers at once; each is a task and a connection.
const WATCHERS: usize = 1024;

/// Of them those of one central system, or of one address of those who do not say who they are, and of all who do not: nobody takes the
/// seats of the others.
pub(super) const OF_ONE: usize = 128;
const OF_NOBODY: usize = 512;

/// Bytes of all pieces that are being handed out: twice the longest entry, so that a second one never waits for it alone.
const HELD: usize = 128 << 20;

/// Pieces that are read at once, each with a body of up to 64 MiB. Reading waits for the disk alone, never for a watcher.
const READING: usize = 2;

/// The watchers of a directory.
#[derive(Debug)]
pub(super) struct Audience {
    seats: Arc<Seats>,
    reading: Arc<Semaphore>,
    held: Arc<Held>,
}

impl Default for Audience {
    fn default() -> Self {
        let semaphore = |most| Arc::new(Semaphore::new(most));
        Self { seats: Arc::default(), reading: semaphore(READING), held: Arc::new(Held::new(HELD)) }
    }
}

impl Audience {
    /// A seat, if there is one.
    pub(super) fn seat(&self, who: &Who, address: Option<IpAddr>) -> Option<Seat> {
        let holder = match who {
            Who::Member(csid) => Holder::Member(csid.clone()),
            Who::Nobody => Holder::Address(address.map(household)),
        };
        self.seats.take(holder)
    }

    /// Waits until another piece may be read. Whoever reads keeps it, also where nobody waits for the piece any more.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.reading).acquire_owned().await.ok()
    }

    /// Room for a piece that was read.
    pub(super) fn hold(&self, bytes: usize) -> Place {
        self.held.take(bytes)
    }
}

/// The seats that are taken, by whom.
#[derive(Debug, Default)]
struct Seats(Mutex<HashMap<Holder, usize>>);

/// Whose a seat is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// A central system's.
    Member(String),
    /// Somebody's at this address who does not say who it is.
    Address(Option<IpAddr>),
}

impl Seats {
    fn take(self: &Arc<Self>, holder: Holder) -> Option<Seat> {
        let mut taken = self.0.lock();
        let own = taken.get(&holder).copied().unwrap_or_default();
        let of = |fits: fn(&Holder) -> bool| {
            taken.iter().filter(|(holder, _)| fits(holder)).map(|(_, seats)| *seats).sum::<usize>()
        };
        let is_stranger = |holder: &Holder| matches!(holder, Holder::Address(_));
        let strangers_are_full = is_stranger(&holder) && of(is_stranger) >= OF_NOBODY;
        if own >= OF_ONE || of(|_| true) >= WATCHERS || strangers_are_full {
            return None;
        }
        taken.insert(holder.clone(), own.saturating_add(1));
        Some(Seat { seats: Arc::clone(self), holder })
    }
}

/// A seat, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    holder: Holder,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock();
        let left = taken.get(&self.holder).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            taken.remove(&self.holder);
        } else if let Some(own) = taken.get_mut(&self.holder) {
            *own = left;
        }
    }
}

/// The pieces that are held.
#[derive(Debug)]
struct Held {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    next: u64,
    /// By age; who has one hears of it when the sender is dropped.
    pieces: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
}

impl State {
    fn end(&mut self, number: u64) -> Option<oneshot::Sender<()>> {
        let (bytes, sender) = self.pieces.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(sender)
    }
}

impl Held {
    fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    fn take(self: &Arc<Self>, bytes: usize) -> Place {
        let mut state = self.state.lock();
        while state.bytes.saturating_add(bytes) > self.most
            && let Some(oldest) = state.pieces.first_key_value().map(|(number, _)| *number)
        {
            drop(state.end(oldest));
        }
        let (sender, gave_way) = oneshot::channel();
        let number = state.next;
        state.next = state.next.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
        state.pieces.insert(number, (bytes, sender));
        drop(state);
        Place { held: Arc::clone(self), number, gave_way }
    }
}

/// One piece's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    held: Arc<Held>,
    number: u64,
    gave_way: oneshot::Receiver<()>,
}

impl Place {
    /// Resolves when it had to give way to another.
    pub(super) async fn gave_way(&mut self) {
        // Nobody sends: the sender's end is what is said.
        let _ = (&mut self.gave_way).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.held.state.lock().end(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_given_way(place: &mut Place) -> bool {
        place.gave_way.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn nobody_takes_all_seats() {
        let seats = Arc::new(Seats::default());
        let member = |n: usize| Holder::Member(format!("c{n}"));
        let address = |n: u8| Holder::Address(Some([192, 0, 2, n].into()));
        let take =
            |holder: &Holder| std::iter::from_fn(|| seats.take(holder.clone())).take(2 * WATCHERS).collect::<Vec<_>>();
        let strangers: Vec<Vec<Seat>> = (0..5).map(|n| take(&address(n))).collect();
        let counts: Vec<usize> = strangers.iter().map(Vec::len).collect();
        assert_eq!(counts, [OF_ONE, OF_ONE, OF_ONE, OF_ONE, 0], "there are {OF_NOBODY} for all of them");
        let mut members: Vec<Vec<Seat>> = (0..8).map(|n| take(&member(n))).collect();
        let counts: Vec<usize> = members.iter().map(Vec::len).collect();
        assert_eq!(counts, [OF_ONE, OF_ONE, OF_ONE, OF_ONE, 0, 0, 0, 0], "there are {WATCHERS} in all");
        drop(members[0].pop());
        assert!(take(&member(1)).is_empty() && take(&member(5)).len() == 1, "one more goes to who has few");
        drop((strangers, members));
        assert!(seats.0.lock().is_empty(), "who has no seat is forgotten");
    }

    /// Bytes and pieces.
    fn levels(held: &Held) -> (usize, usize) {
        let state = held.state.lock();
        (state.bytes, state.pieces.len())
    }

    #[test]
    fn the_piece_that_is_held_longest_gives_way() {
        let held = Arc::new(Held::new(10));
        let (mut a, mut b) = (held.take(4), held.take(4));
        assert!(!has_given_way(&mut a) && !has_given_way(&mut b));
        let mut c = held.take(4);
        assert!(has_given_way(&mut a) && !has_given_way(&mut b));
        drop(b);
        let mut d = held.take(6);
        assert!(!has_given_way(&mut c) && !has_given_way(&mut d), "what was handed out has made room");
        // One that is longer than all together goes alone.
        let whole = held.take(99);
        assert!(has_given_way(&mut c) && has_given_way(&mut d));
        drop((a, c, d));
        assert_eq!(levels(&held), (99, 1), "each counts once");
        drop(whole);
        assert_eq!(levels(&held), (0, 0));
    }
}
