//! Nodes that join at once.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use super::{Disk, join, mint};

/// A busy machine.
const LONG: Duration = Duration::from_secs(60);

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
        let limit = Instant::now() + LONG;
        while ledger.joining.lock().len() < 8 && Instant::now() < limit {
            thread::yield_now();
        }
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
