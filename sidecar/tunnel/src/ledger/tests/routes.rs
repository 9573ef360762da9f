//! Networks behind nodes, and nodes that wait for an administrator: what is approved is kept.

use super::*;
use crate::{
    addresses::{Network, Unroutable},
    ledger::{ApproveError, MOST_ROUTES},
};

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

#[test]
fn an_approved_network_is_kept_over_a_restart_and_goes_with_its_node() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let [one, two] = [(); 2].map(|()| join(&ledger, &token).unwrap().peer);
    let lan = network("192.168.7.0/24");
    assert_eq!(ledger.approve_route(one, lan), Ok(true));
    assert_eq!(ledger.approve_route(one, lan), Ok(false));
    assert_eq!(
        ledger.approve_route(two, network("192.168.7.128/25")),
        Err(ApproveError::Taken(network("192.168.7.128/25"), lan, one))
    );
    // Its own may lie in each other.
    assert_eq!(ledger.approve_route(one, network("192.168.0.0/16")), Ok(true));
    let ledger = disk.open();
    assert_eq!(ledger.routes_of(one), [network("192.168.0.0/16"), lan]);
    assert_eq!(ledger.revoke_route(one, network("192.168.0.0/16")), Ok(true));
    assert_eq!(ledger.revoke_route(one, network("192.168.0.0/16")), Ok(false));
    ledger.unregister(one, &|_| Vec::new()).unwrap();
    let ledger = disk.open();
    assert_eq!((ledger.routes_of(one), ledger.routes_of(two)), (vec![], vec![]));
    assert_eq!(ledger.approve_route(two, lan), Ok(true));
}

#[test]
fn what_cannot_be_behind_a_node_is_refused_with_a_word_and_so_is_too_much() {
    let disk = Disk::default();
    let ledger = disk.open();
    let node = join(&ledger, &mint(&ledger, None)).unwrap().peer;
    let refused = |text: &str| ledger.approve_route(node, network(text)).unwrap_err().to_string();
    assert_eq!(refused("10.1.0.0/16"), "10.1.0.0/16 is not approved: it overlaps the tunnel's own network");
    assert_eq!(refused("169.254.0.0/24"), "169.254.0.0/24 is not approved: it is link-local (169.254.0.0/16)");
    let loopback = network("127.0.0.0/8");
    assert_eq!(ledger.approve_route(node, loopback), Err(ApproveError::Unroutable(loopback, Unroutable::Loopback)));
    assert_eq!(ledger.approve_route(PeerId(99), network("172.16.0.0/16")), Err(ApproveError::Unknown));
    for n in 0..MOST_ROUTES {
        assert_eq!(ledger.approve_route(node, network(&format!("172.16.{n}.0/24"))), Ok(true));
    }
    assert_eq!(ledger.approve_route(node, network("172.17.0.0/16")), Err(ApproveError::TooMany));
    disk.set(Some(Failure::Before));
    assert!(ledger.revoke_route(node, network("172.16.0.0/24")).is_err());
    assert_eq!(ledger.routes_of(node).len(), MOST_ROUTES);
}

#[test]
fn a_node_of_a_token_with_approval_waits_until_somebody_approves_it() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = ledger.mint(Mint { approval: true, ..Mint::default() }, NOW).unwrap();
    let node = join(&ledger, &token).unwrap().peer;
    assert!(disk.open().node(node).unwrap().row.waits);
    disk.set(Some(Failure::Before));
    assert!(ledger.approve(node).is_err() && ledger.node(node).unwrap().row.waits);
    disk.set(None);
    assert_eq!(
        (ledger.approve(node), ledger.approve(node), ledger.approve(PeerId(99))),
        (Ok(Some(true)), Ok(Some(false)), Ok(None))
    );
    assert!(!disk.open().node(node).unwrap().row.waits);
}
