//! When nodes were last there, over restarts.

use super::{Disk, Failure, NOW, PeerId, gone, join, mint};
use crate::{
    ledger::{Ledger, Writes},
    seam::ConnState,
};

fn seen(ledger: &Ledger, node: PeerId) -> Option<i64> {
    ledger.node(node).unwrap().seen
}

#[test]
fn a_node_that_left_is_known_to_have_been_there_after_a_restart_and_one_that_never_came_is_not() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let [came, never] = [(); 2].map(|()| join(&ledger, &token).unwrap().peer);
    assert_eq!(ledger.look(NOW, Writes::Due), Ok(0));
    ledger.set_state(came, ConnState::Connected);
    assert_eq!(ledger.look(NOW + 10, Writes::Due), Ok(1));
    ledger.set_state(came, ConnState::Idle);
    assert_eq!(ledger.look(NOW + 20, Writes::Due), Ok(0), "it was written ten seconds ago");
    assert_eq!(seen(&ledger, came), Some(NOW + 20));
    assert_eq!(ledger.look(NOW + 70, Writes::Due), Ok(1));
    assert_eq!(ledger.look(NOW + 500, Writes::All), Ok(0), "it was there no more");
    let again = disk.open();
    assert_eq!((seen(&again, came), seen(&again, never)), (Some(NOW + 20), None));
    assert_eq!(again.look(NOW + 1000, Writes::All), Ok(0), "nobody came since the start");
    assert_eq!(seen(&again, came), Some(NOW + 20));
}

#[test]
fn whoever_stays_or_comes_and_goes_without_end_costs_few_writes_and_all_of_a_time_are_one() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let [stays, goes] = [(); 2].map(|()| join(&ledger, &token).unwrap().peer);
    ledger.set_state(stays, ConnState::Connected);
    let before = *disk.writes.lock();
    let mut rows = 0;
    for look in 0..360 {
        ledger.set_state(goes, ConnState::Connected);
        ledger.set_state(goes, ConnState::Idle);
        rows += ledger.look(NOW + look * 10, Writes::Due).unwrap();
    }
    // An hour: four rows of the one, which go with some of the 60 of the other.
    assert_eq!((rows, *disk.writes.lock() - before), (4 + 60, 60));
    ledger.set_state(goes, ConnState::Connected);
    assert_eq!(ledger.look(NOW + 3600, Writes::All), Ok(2));
    assert_eq!([stays, goes].map(|node| seen(&disk.open(), node)), [Some(NOW + 3600); 2]);
}

#[test]
fn what_could_not_be_written_is_written_later_and_a_node_that_is_gone_does_not_come_back() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let [node, leaves] = [(); 2].map(|()| join(&ledger, &token).unwrap().peer);
    for peer in [node, leaves] {
        ledger.set_state(peer, ConnState::Connected);
    }
    disk.set(Some(Failure::Before));
    assert!(ledger.look(NOW, Writes::Due).is_err());
    disk.set(None);
    assert!(gone(&ledger, leaves));
    assert_eq!(ledger.look(NOW + 10, Writes::Due), Ok(1));
    let again = disk.open();
    assert_eq!((seen(&again, node), again.nodes().len()), (Some(NOW + 10), 1));
    // A clock that was ahead is forgotten.
    assert_eq!(ledger.look(NOW - 1000, Writes::Due), Ok(1));
    assert_eq!(seen(&disk.open(), node), Some(NOW - 1000));
}

/// All who came back with the line of their provider: who joins meanwhile does not wait until the last of them is written.
#[test]
fn many_are_written_in_parts_and_at_the_end_at_once() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let nodes: Vec<PeerId> = (0..600).map(|_| join(&ledger, &token).unwrap().peer).collect();
    let look = |now, writes| {
        nodes.iter().for_each(|node| ledger.set_state(*node, ConnState::Connected));
        let before = *disk.writes.lock();
        (ledger.look(now, writes), *disk.writes.lock() - before)
    };
    assert_eq!(look(NOW, Writes::Due), (Ok(600), 3));
    assert_eq!(look(NOW + 10, Writes::Due), (Ok(0), 0));
    assert_eq!(look(NOW + 20, Writes::All), (Ok(600), 1));
    let again = disk.open();
    assert!(nodes.iter().all(|node| seen(&again, *node) == Some(NOW + 20)));
    assert!(gone(&ledger, nodes[300]));
    assert_eq!(ledger.look(NOW + 2000, Writes::Due), Ok(599));
}
