//! The connections of the admin port, and who has to go when it is full: the newcomer always gets in.
//!
//! Whoever reaches the port could otherwise fill it with connections that say nothing, and probes would wait behind them. A
//! probe's connection is the newest one and lives for milliseconds, so it is the last that has to go.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Who is connected.
#[derive(Clone)]
pub(super) struct Places {
    most: usize,
    of_one_address: usize,
    guests: Arc<Mutex<Guests>>,
}

/// By the order in which they came.
#[derive(Default)]
struct Guests {
    next: u64,
    there: BTreeMap<u64, Guest>,
}

struct Guest {
    from: IpAddr,
    is_served: bool,
    /// Dropped to have it end.
    _end: oneshot::Sender<()>,
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    guests: Arc<Mutex<Guests>>,
    number: u64,
}

/// Resolves when a connection has to go.
pub(super) type Ended = oneshot::Receiver<()>;

impl Places {
    /// A port for `most` connections, of which one address may have `of_one_address`.
    pub(super) fn new(most: usize, of_one_address: usize) -> Self {
        Self { most, of_one_address, guests: Arc::default() }
    }

    /// A place for one more connection. Where there is no room the oldest one ends that is not being served: of its own
    /// address, where that has as many as it may.
    pub(super) fn enter(&self, from: IpAddr) -> (Place, Ended) {
        let from = from.to_canonical();
        let mut guests = self.guests.lock();
        let of_address = guests.there.values().filter(|guest| guest.from == from).count();
        if of_address >= self.of_one_address {
            guests.end_one(|guest| guest.from == from);
        } else if guests.there.len() >= self.most {
            guests.end_one(|_| true);
        }
        let (end, ended) = oneshot::channel();
        let number = guests.next;
        guests.next += 1;
        guests.there.insert(number, Guest { from, is_served: false, _end: end });
        (Place { guests: Arc::clone(&self.guests), number }, ended)
    }
}

impl Guests {
    fn end_one(&mut self, may_go: impl Fn(&Guest) -> bool) {
        let oldest = |is_served| {
            self.there
                .iter()
                .find(|(_, guest)| may_go(guest) && guest.is_served == is_served)
                .map(|(number, _)| *number)
        };
        if let Some(number) = oldest(false).or_else(|| oldest(true)) {
            self.there.remove(&number);
        }
    }
}

impl Place {
    /// Whether a request of the connection is being answered now.
    pub(super) fn is_served(&self, is_served: bool) {
        if let Some(guest) = self.guests.lock().there.get_mut(&self.number) {
            guest.is_served = is_served;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.lock().there.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_ended((_, ended): &mut (Place, Ended)) -> bool {
        !matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_newcomer_to_a_full_port_takes_the_place_of_the_oldest_that_is_not_being_served() {
        let port = Places::new(3, 2);
        let mut places: Vec<_> = (1..=3).map(|last| port.enter(address(last))).collect();
        places[0].0.is_served(true);
        let mut probe = port.enter(address(9));
        let gone: Vec<bool> = places.iter_mut().map(has_ended).collect();
        assert_eq!((gone, has_ended(&mut probe)), (vec![false, true, false], false));
    }

    #[test]
    fn an_address_with_as_many_as_it_may_pays_for_its_newcomers_itself() {
        let port = Places::new(3, 2);
        let (mut first, mut greedy) = (port.enter(address(1)), port.enter(address(2)));
        let (mut second, mut third) = (port.enter(address(2)), port.enter("::ffff:10.0.0.2".parse().unwrap()));
        let gone = [&mut first, &mut greedy, &mut second, &mut third].map(has_ended);
        assert_eq!(gone, [false, true, false, false]);
    }

    #[test]
    fn where_all_are_being_served_the_oldest_goes_and_who_left_is_forgotten() {
        let port = Places::new(1, 1);
        let mut served = port.enter(address(1));
        served.0.is_served(true);
        let newcomer = port.enter(address(2));
        assert!(has_ended(&mut served));
        drop((served, newcomer));
        assert!(port.guests.lock().there.is_empty());
    }
}
