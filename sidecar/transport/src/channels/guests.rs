//! What each partner takes beside bytes: sessions that it made, and calls that wait. A share of its own, so that none
//! shuts out applications or another partner.

use std::{collections::HashMap, sync::Arc};

use mesh_core::NodeId;

use crate::{
    TransportError,
    queue::Origin,
    sync::{AtomicUsize, Mutex, Ordering},
};

use super::shards::MOST_SESSIONS;

/// Sessions that one partner may have made: each is a task between two institutions, and hundreds at a time are many.
const MOST_OF_ONE: usize = MOST_SESSIONS / 16;

/// Sessions that all partners together may have made: the other half is the applications'.
const MOST_OF_ALL: usize = MOST_SESSIONS / 2;

/// Pops of one partner that may wait at a time: sixteen full HTTP/2 connections. Each takes some 2 KiB with its stream.
const MOST_WAITS: usize = 16 * 1024;

/// What the partners take.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    known: Mutex<HashMap<NodeId, Arc<Guest>>>,
    sessions: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Guest {
    sessions: AtomicUsize,
    waits: AtomicUsize,
}

/// A session that a partner made, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Made {
    guest: Arc<Guest>,
    all: Arc<AtomicUsize>,
}

/// A call of a partner that waits, or may have to.
#[derive(Debug)]
pub(crate) struct Waits(Arc<Guest>);

impl Guests {
    /// Counts a session that `who` makes; nothing is counted for applications.
    pub(crate) fn make(&self, who: &Origin) -> Result<Option<Made>, TransportError> {
        let Origin::Partner(partner) = who else { return Ok(None) };
        let guest = self.guest(partner);
        if !add(&self.sessions, MOST_OF_ALL) {
            return Err(TransportError::TooManySessions { limit: MOST_OF_ALL });
        }
        let made = Made { guest, all: Arc::clone(&self.sessions) };
        if made.guest.sessions.fetch_add(1, Ordering::Relaxed) >= MOST_OF_ONE {
            return Err(TransportError::PartnerSessions { partner: partner.to_string(), limit: MOST_OF_ONE });
        }
        Ok(Some(made))
    }

    /// Counts a call of `who` that may have to wait.
    pub(crate) fn wait(&self, who: &Origin) -> Result<Option<Waits>, TransportError> {
        let Origin::Partner(partner) = who else { return Ok(None) };
        let guest = self.guest(partner);
        if !add(&guest.waits, MOST_WAITS) {
            return Err(TransportError::PartnerWaits { partner: partner.to_string(), limit: MOST_WAITS });
        }
        Ok(Some(Waits(guest)))
    }

    /// Forgets partners that take nothing.
    pub(crate) fn sweep(&self) {
        self.known.lock().retain(|_, guest| Arc::strong_count(guest) > 1);
    }

    fn guest(&self, partner: &NodeId) -> Arc<Guest> {
        Arc::clone(self.known.lock().entry(partner.clone()).or_default())
    }
}

fn add(count: &AtomicUsize, most: usize) -> bool {
    let added = count.fetch_add(1, Ordering::Relaxed) < most;
    if !added {
        count.fetch_sub(1, Ordering::Relaxed);
    }
    added
}

impl Drop for Made {
    fn drop(&mut self) {
        self.guest.sessions.fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waits.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn one_partner_cannot_take_the_sessions_of_all() {
        let guests = Guests::default();
        let partner = |n: usize| Origin::Partner(NodeId::new(&format!("LX-{n}")));
        let mut made: Vec<_> = (0..MOST_OF_ONE).map(|_| guests.make(&partner(0)).unwrap()).collect();
        assert!(matches!(guests.make(&partner(0)), Err(TransportError::PartnerSessions { .. })));
        made.push(guests.make(&partner(1)).unwrap());
        assert!(guests.make(&Origin::Application).unwrap().is_none());
        made.remove(0);
        made.push(guests.make(&partner(0)).unwrap());
        for n in 2..MOST_OF_ALL / MOST_OF_ONE {
            made.extend((0..MOST_OF_ONE).map(|_| guests.make(&partner(n)).unwrap()));
        }
        made.extend((1..MOST_OF_ONE).map(|_| guests.make(&partner(1)).unwrap()));
        assert!(matches!(guests.make(&partner(99)), Err(TransportError::TooManySessions { .. })));
        drop(made);
        guests.sweep();
        assert_eq!((guests.known.lock().len(), guests.sessions.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn the_calls_of_a_partner_that_wait_are_bounded() {
        let guests = Guests::default();
        let partner = Origin::Partner(NodeId::new("LX-A"));
        let waiting: Vec<_> = (0..MOST_WAITS).map(|_| guests.wait(&partner).unwrap()).collect();
        assert!(matches!(guests.wait(&partner), Err(TransportError::PartnerWaits { .. })));
        assert!(guests.wait(&Origin::Partner(NodeId::new("LX-B"))).unwrap().is_some());
        drop(waiting);
        assert!(guests.wait(&partner).unwrap().is_some());
    }
}
