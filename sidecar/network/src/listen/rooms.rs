//! How many connections may be open, and who gives way when there are too many.
//!
//! A connection is a stranger's until one of its requests was admitted. Strangers get half of a room at most, and the oldest of
//! them gives way to whoever comes when they have it, or when the room is full: nobody keeps partners out by connecting.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Limits;

/// The rooms of a listener: for this machine, and for everybody else.
#[derive(Debug)]
pub(super) struct Rooms {
    local: Arc<Room>,
    remote: Arc<Room>,
    household: usize,
}

#[derive(Debug)]
struct Room {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections that have a spot, strangers among them.
    taken: usize,
    next: u64,
    /// By age, with what ends them.
    strangers: BTreeMap<u64, CancellationToken>,
}

/// One connection's spot in a room, until it is dropped.
#[derive(Debug)]
pub(super) struct Spot {
    room: Arc<Room>,
    number: u64,
    is_admitted: AtomicBool,
    end: CancellationToken,
}

/// Whether a connection finds a spot.
#[derive(Debug)]
pub(super) enum Found {
    Spot(Spot),
    /// A stranger had to give way for it.
    SpotOfAnother(Spot),
    Full,
}

impl Rooms {
    pub(super) fn new(limits: Limits) -> Self {
        let room = |most| Arc::new(Room { most, state: Mutex::default() });
        let (local, remote) = (room(limits.local_connections), room(limits.remote_connections));
        Self { local, remote, household: limits.household_connections }
    }

    /// A spot for a connection of `peer`, whose household has `connections` with it.
    pub(super) fn find(&self, peer: SocketAddr, connections: usize) -> Found {
        if peer.ip().to_canonical().is_loopback() {
            return self.local.find();
        }
        if connections > self.household { Found::Full } else { self.remote.find() }
    }
}

impl Room {
    fn find(self: &Arc<Self>) -> Found {
        let mut state = self.state.lock();
        let is_full = state.taken >= self.most || state.strangers.len() >= self.most.div_ceil(2);
        let oldest = if is_full { state.strangers.pop_first() } else { None };
        match (&oldest, is_full) {
            (Some(_), _) => {}
            (None, true) => return Found::Full,
            (None, false) => state.taken += 1,
        }
        let (number, end) = (state.next, CancellationToken::new());
        state.next += 1;
        state.strangers.insert(number, end.clone());
        // Whoever waits for the end of the oldest takes no lock of ours; still, none is held.
        drop(state);
        let spot = Spot { room: Arc::clone(self), number, is_admitted: AtomicBool::new(false), end };
        match oldest {
            Some((_, oldest)) => {
                oldest.cancel();
                Found::SpotOfAnother(spot)
            }
            None => Found::Spot(spot),
        }
    }
}

impl Spot {
    /// One of its requests was admitted: it is no stranger's any more.
    pub(super) fn admit(&self) {
        if self.room.state.lock().strangers.remove(&self.number).is_some() {
            self.is_admitted.store(true, Ordering::Release);
        }
    }

    /// Ends the connection; cancelled where it has to give way.
    pub(super) fn end(&self) -> &CancellationToken {
        &self.end
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let mut state = self.room.state.lock();
        // Whoever gave way has left its spot to another.
        if state.strangers.remove(&self.number).is_some() || self.is_admitted.load(Ordering::Acquire) {
            state.taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(remote: usize) -> Rooms {
        Rooms::new(Limits { remote_connections: remote, household_connections: 3, ..Limits::default() })
    }

    fn peer() -> SocketAddr {
        "192.0.2.1:1000".parse().unwrap()
    }

    fn spot(rooms: &Rooms) -> Spot {
        match rooms.find(peer(), 1) {
            Found::Spot(spot) | Found::SpotOfAnother(spot) => spot,
            Found::Full => panic!("it is full"),
        }
    }

    fn admitted(rooms: &Rooms) -> Spot {
        let spot = spot(rooms);
        spot.admit();
        spot
    }

    fn ended(spots: &[Spot]) -> Vec<bool> {
        spots.iter().map(|spot| spot.end().is_cancelled()).collect()
    }

    #[test]
    fn strangers_get_half_and_the_oldest_gives_way_to_the_next() {
        let rooms = rooms(4);
        let first = [spot(&rooms), spot(&rooms)];
        assert_eq!(ended(&first), [false, false]);
        let next = spot(&rooms);
        assert_eq!(ended(&first), [true, false]);
        next.admit();
        let last = spot(&rooms);
        assert_eq!((ended(&first), next.end().is_cancelled()), (vec![true, false], false));
        drop((first, next, last));
        assert_eq!(rooms.remote.state.lock().taken, 0);
    }

    #[test]
    fn whoever_was_admitted_stays_and_strangers_give_way_to_others_where_the_room_is_full() {
        let rooms = rooms(4);
        let partners = [admitted(&rooms), admitted(&rooms), admitted(&rooms)];
        let stranger = spot(&rooms);
        let fourth = admitted(&rooms);
        assert!(stranger.end().is_cancelled());
        assert!(matches!(rooms.find(peer(), 1), Found::Full), "nobody here gives way");
        assert_eq!(ended(&partners), [false; 3]);
        drop(stranger);
        assert!(matches!(rooms.find(peer(), 1), Found::Full), "the stranger had given its spot away");
        drop(fourth);
        assert!(matches!(rooms.find(peer(), 1), Found::Spot(_)));
    }

    #[test]
    fn one_household_has_its_bound_and_this_machine_has_none() {
        let rooms = rooms(100);
        assert!(matches!(rooms.find(peer(), 3), Found::Spot(_)));
        assert!(matches!(rooms.find(peer(), 4), Found::Full));
        assert!(matches!(rooms.find("127.0.0.1:1".parse().unwrap(), 1000), Found::Spot(_)));
        assert!(matches!(rooms.find("[::ffff:127.0.0.1]:1".parse().unwrap(), 1000), Found::Spot(_)));
    }
}
