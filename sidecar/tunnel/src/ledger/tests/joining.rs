//! Nodes that join at once.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::Value;

use super::{Change, Disk, Failure, JoinError, Joiner, Ledger, NOW, Shelf, Unwritten, join, mint};

/// A busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Until so many wait to join.
fn wait(ledger: &Ledger, count: usize) {
    let limit = Instant::now() + LONG;
    while ledger.joining.lock().waiting.len() != count && Instant::now() < limit {
        thread::yield_now();
    }
}

/// Each had a write of its own, and waited for all before it.
#[test]
fn nodes_that_wait_together_are_written_at_once() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, Some(7));
    let before = *disk.writes.lock();
    let turn = ledger.writing.lock();
    let joined: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| join(&ledger, &token))).collect();
        wait(&ledger, 8);
        drop(turn);
        all.into_iter().filter_map(|one| one.join().unwrap().ok()).collect()
    });
    assert_eq!(*disk.writes.lock() - before, 1);
    let told: HashSet<_> = joined.iter().map(|joined| (joined.peer, joined.token.expose())).collect();
    assert_eq!(told.len(), 7, "the token is good for seven");
    let again = disk.open();
    assert_eq!((again.nodes().len(), again.tokens()[0].1.uses), (7, 7));
    assert!(joined.iter().all(|joined| again.by_token(joined.token.expose()).is_some_and(|n| n.peer == joined.peer)));
}

/// A disk that takes its time: each write of nodes waits for a word.
struct Slow(Disk, Mutex<mpsc::Receiver<()>>);

impl Shelf for Slow {
    fn all(&self) -> Result<Vec<(String, Value)>, Unwritten> {
        self.0.all()
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), Unwritten> {
        if changes.iter().any(|change| matches!(change, Change::Put(key, _) if key.starts_with("node/"))) {
            self.1.lock().recv_timeout(LONG).map_err(|e| Unwritten::new(&e))?;
        }
        self.0.write(changes)
    }
}

/// Who was written had to wait for the turn to hear it, and whoever came later had that before.
#[test]
fn who_is_written_hears_of_it_while_the_next_ones_are_written() {
    let (go, gone) = mpsc::channel();
    let shelf = Slow(Disk::default(), Mutex::new(gone));
    let ledger = Ledger::open(Box::new(shelf), "10.1.1.1/24".parse().unwrap()).unwrap();
    let token = mint(&ledger, None);
    let turn = ledger.writing.lock();
    thread::scope(|scope| {
        let first: Vec<_> = (0..4).map(|_| scope.spawn(|| join(&ledger, &token))).collect();
        wait(&ledger, 4);
        drop(turn);
        wait(&ledger, 0);
        // They are being written when the next one comes.
        let last = scope.spawn(|| join(&ledger, &token));
        wait(&ledger, 1);
        go.send(()).unwrap();
        assert!(first.into_iter().all(|one| one.join().unwrap().is_ok()));
        assert!(!last.is_finished());
        go.send(()).unwrap();
        assert!(last.join().unwrap().is_ok());
    });
    assert_eq!(ledger.nodes().len(), 5);
}

#[test]
fn a_write_that_panics_leaves_nobody_waiting_and_the_next_one_joins() {
    struct Bad(Disk, Mutex<bool>);
    impl Shelf for Bad {
        fn all(&self) -> Result<Vec<(String, Value)>, Unwritten> {
            self.0.all()
        }

        fn write(&self, changes: Vec<Change>) -> Result<(), Unwritten> {
            let is_node =
                changes.iter().any(|change| matches!(change, Change::Put(key, _) if key.starts_with("node/")));
            assert!(!is_node || !std::mem::replace(&mut *self.1.lock(), false), "once");
            self.0.write(changes)
        }
    }
    let shelf = Bad(Disk::default(), Mutex::new(true));
    let ledger = Ledger::open(Box::new(shelf), "10.1.1.1/24".parse().unwrap()).unwrap();
    let token = mint(&ledger, None);
    let turn = ledger.writing.lock();
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| join(&ledger, &token))).collect();
        wait(&ledger, 4);
        drop(turn);
        let ended: Vec<_> = all.into_iter().map(thread::ScopedJoinHandle::join).collect();
        assert_eq!(ended.iter().filter(|one| one.is_err()).count(), 1, "whoever wrote");
        assert!(ended.into_iter().flatten().all(|one| one.is_err()));
    });
    assert!(join(&ledger, &token).is_ok());
}

/// A token for one was used up, and nobody had joined with it.
#[test]
fn who_is_named_by_its_address_has_it_with_its_first_write_or_does_not_join() {
    let disk = Disk::default();
    let open = || Ledger::open(Box::new(disk.clone()), "10.1.1.1/29".parse().unwrap()).unwrap();
    let ledger = open();
    let (token, named) = (mint(&ledger, None), Joiner { is_named: true, ..Joiner::default() });
    let joins = |ledger: &Ledger| ledger.join(token.secret.expose(), named.clone(), NOW).map(|joined| joined.peer);
    let address = |ledger: &Ledger, peer| ledger.node(peer).unwrap().row.address.unwrap().octets();
    let before = *disk.writes.lock();
    let first = joins(&ledger).unwrap();
    assert_eq!((address(&ledger, first), *disk.writes.lock() - before), ([10, 1, 1, 3], 1));
    disk.set(Some(Failure::Before));
    assert!(matches!(joins(&ledger), Err(JoinError::Unwritten(_))));
    disk.set(None);
    let second = joins(&ledger).unwrap();
    let again = open();
    assert_eq!((address(&again, first), address(&again, second)), ([10, 1, 1, 3], [10, 1, 1, 5]));
    assert_eq!((joins(&again), again.tokens()[0].1.uses), (Err(JoinError::NoAddress), 2));
}

/// Each took an address until the next start, so that a disk that was full for a second cost a /24 all it had.
#[test]
fn nodes_that_a_full_disk_kept_from_joining_leave_their_addresses_to_those_who_come_later() {
    for (failure, is_named) in [Failure::Before, Failure::After].into_iter().flat_map(|f| [(f, true), (f, false)]) {
        let disk = Disk::default();
        let open = || Ledger::open(Box::new(disk.clone()), "10.1.1.1/29".parse().unwrap()).unwrap();
        let ledger = open();
        let token = mint(&ledger, None);
        let joins = |is_named| {
            let joiner = Joiner { is_named, ..Joiner::default() };
            ledger.join(token.secret.expose(), joiner, NOW).map(|joined| joined.peer)
        };
        let (first, legacy) = (joins(true).unwrap(), joins(false).unwrap());
        disk.set(Some(failure));
        for _ in 0..8 {
            assert!(matches!(joins(true), Err(JoinError::Unwritten(_))));
        }
        assert_eq!(ledger.set_aside(legacy), None, "{failure:?}: it may be on the disk");
        disk.set(None);
        // The last one of the network.
        let free = Ipv4Addr::new(10, 1, 1, 5);
        let second = if is_named { joins(true).unwrap() } else { legacy };
        if !is_named {
            assert_eq!(ledger.set_aside(legacy), Some(free), "{failure:?}");
        }
        assert_eq!((ledger.address(first), ledger.address(second)), (Ok(Ipv4Addr::new(10, 1, 1, 3)), Ok(free)));
        assert_eq!(open().nodes(), ledger.nodes(), "{failure:?}: nobody is there who did not join");
    }
}
