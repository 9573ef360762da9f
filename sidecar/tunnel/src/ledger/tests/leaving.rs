//! Nodes that leave.

use std::net::Ipv4Addr;

use super::{Beside, Disk, Failure, Joiner, NOW, NodeRow, gone, join, mint};
use crate::seam::ConnState;

/// A node that unregisters itself through its tunnel hears the answer there, for seconds.
#[test]
fn the_address_of_a_node_that_leaves_is_another_ones_when_its_session_is_over() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let [first, second, third] = [(); 3].map(|()| join(&ledger, &token).unwrap().peer);
    assert_eq!(ledger.address(first), Ok(Ipv4Addr::new(10, 1, 1, 3)));
    ledger.set_state(first, ConnState::Connected);
    assert!(gone(&ledger, first));
    assert_eq!(ledger.address(second), Ok(Ipv4Addr::new(10, 1, 1, 5)));
    ledger.set_state(first, ConnState::Idle);
    assert_eq!(ledger.address(third), Ok(Ipv4Addr::new(10, 1, 1, 3)));
}

/// Killed between the two, its certificates would be good, and nobody could refuse them any more.
#[test]
fn that_a_node_is_gone_is_written_with_what_belongs_to_it_or_not_at_all() {
    let disk = Disk::default();
    let ledger = disk.open();
    let joiner = Joiner { register_key: "r".into(), join_key: "j".into(), ..Joiner::default() };
    let node = ledger.join(mint(&ledger, None).secret.expose(), joiner, NOW).unwrap().peer;
    let denials = |row: &NodeRow| {
        row.keys().into_iter().map(|key| Beside { table: "denied", key, value: NOW.into() }).collect::<Vec<_>>()
    };
    let denied = || disk.rows.lock().keys().filter(|key| key.starts_with("beside/denied/")).count();
    disk.set(Some(Failure::Before));
    assert!(ledger.unregister(node, &denials).is_err());
    assert_eq!((ledger.node(node).is_some(), denied()), (true, 0));
    disk.set(None);
    let before = *disk.writes.lock();
    assert!(ledger.unregister(node, &denials).unwrap().is_some_and(|row| row.keys() == ["r", "j"]));
    let left = disk.rows.lock().keys().filter(|key| key.starts_with("node/")).count();
    assert_eq!((left, denied(), *disk.writes.lock() - before), (0, 2, 1));
}
