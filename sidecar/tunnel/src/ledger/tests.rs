//! What must hold whatever happens to the disk: use counts never go backwards, addresses never double (NC section 9).

mod joining;
mod leaving;
mod routes;
mod seen;

use std::{
    collections::{BTreeMap, HashSet},
    net::Ipv4Addr,
    sync::Arc,
};

use mesh_core::store::Store;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    legacy::{Legacy, LegacyNode, LegacyToken},
    seam::{ConnState, NoAddress, PeerId},
};

const NOW: i64 = 1_700_000_000;

/// A disk that fails when told to: before it wrote, or after.
#[derive(Clone, Default)]
struct Disk {
    rows: Arc<Mutex<BTreeMap<String, Value>>>,
    failing: Arc<Mutex<Option<Failure>>>,
    /// How often something was written.
    writes: Arc<Mutex<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Before,
    After,
}

impl Shelf for Disk {
    fn all(&self) -> Result<Vec<(String, Value)>, Unwritten> {
        Ok(self.rows.lock().clone().into_iter().collect())
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), Unwritten> {
        let failing = *self.failing.lock();
        *self.writes.lock() += 1;
        if failing == Some(Failure::Before) {
            return Err(Unwritten::new(&"no space left"));
        }
        let mut rows = self.rows.lock();
        for change in changes {
            match change {
                Change::Put(key, value) => rows.insert(key, value),
                Change::Remove(key) => rows.remove(&key),
                Change::Beside(row) => rows.insert(format!("beside/{}/{}", row.table, row.key), row.value),
            };
        }
        if failing.is_some() { Err(Unwritten::new(&"killed")) } else { Ok(()) }
    }
}

impl Disk {
    fn open(&self) -> Ledger {
        Ledger::open(Box::new(self.clone()), "10.1.1.1/24".parse().unwrap()).unwrap()
    }

    fn set(&self, failing: Option<Failure>) {
        *self.failing.lock() = failing;
    }
}

fn mint(ledger: &Ledger, max_uses: Option<u32>) -> Minted {
    ledger.mint(Mint { max_uses, legacy: true, ..Mint::default() }, NOW).unwrap()
}

/// Whether a node was there, and is no more.
fn gone(ledger: &Ledger, peer: PeerId) -> bool {
    ledger.unregister(peer, &|_| Vec::new()).unwrap().is_some()
}

fn join(ledger: &Ledger, token: &Minted) -> Result<Joined, JoinError> {
    ledger.join(token.secret.expose(), Joiner::default(), NOW)
}

#[test]
fn a_node_keeps_its_address_over_a_restart_and_loses_it_with_its_registration() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let (first, second) = (join(&ledger, &token).unwrap(), join(&ledger, &token).unwrap());
    assert_eq!(ledger.address(second.peer), Ok(Ipv4Addr::new(10, 1, 1, 3)));
    assert_eq!(ledger.address(first.peer), Ok(Ipv4Addr::new(10, 1, 1, 5)));
    ledger.set_state(first.peer, ConnState::Connected);
    drop(ledger);
    let again = disk.open();
    let node = again.by_token(first.token.expose()).unwrap();
    assert_eq!((node.peer, node.state), (first.peer, ConnState::Idle));
    assert_eq!(again.address(first.peer), Ok(Ipv4Addr::new(10, 1, 1, 5)));
    assert!(gone(&again, second.peer));
    assert!(!gone(&again, second.peer));
    assert_eq!(again.address(second.peer), Err(NoAddress::Gone));
    assert!(again.by_token(second.token.expose()).is_none());
    let third = join(&again, &token).unwrap();
    assert!(third.peer > second.peer);
    assert_eq!(again.address(third.peer), Ok(Ipv4Addr::new(10, 1, 1, 3)));
}

#[test]
fn no_number_is_given_twice_also_after_the_last_node_left_and_a_restart() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let first = join(&ledger, &token).unwrap();
    gone(&ledger, first.peer);
    let again = disk.open();
    assert!(join(&again, &token).unwrap().peer > first.peer);
}

#[test]
fn a_token_ends_at_its_second_when_it_is_used_up_and_when_it_is_revoked() {
    let ledger = Disk::default().open();
    let timed = ledger.mint(Mint { expires: Some(NOW + 60), ..Mint::default() }, NOW).unwrap();
    let text = timed.secret.expose();
    assert!(ledger.is_good(text, NOW + 59).is_ok());
    assert_eq!(ledger.is_good(text, NOW + 60), Err(JoinError::NoToken));
    let twice = mint(&ledger, Some(2));
    assert!(join(&ledger, &twice).is_ok() && join(&ledger, &twice).is_ok());
    assert_eq!(join(&ledger, &twice), Err(JoinError::NoToken));
    let revoked = mint(&ledger, None);
    ledger.revoke(&revoked.id).unwrap();
    assert_eq!(join(&ledger, &revoked), Err(JoinError::NoToken));
    assert_eq!(ledger.revoke("nobody"), Err(RevokeError::Unknown));
}

#[test]
fn of_many_at_once_with_a_token_for_one_exactly_one_joins() {
    let ledger = Arc::new(Disk::default().open());
    let token = Arc::new(mint(&ledger, Some(1)));
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let (ledger, token) = (Arc::clone(&ledger), Arc::clone(&token));
            std::thread::spawn(move || join(&ledger, &token).is_ok())
        })
        .collect();
    assert_eq!(threads.into_iter().map(|t| t.join().unwrap()).filter(|joined| *joined).count(), 1);
    assert_eq!(ledger.tokens()[0].1.uses, 1);
}

#[test]
fn nothing_on_the_disk_is_a_token() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let joined = join(&ledger, &token).unwrap();
    let text = format!("{:?}", disk.rows.lock());
    assert!(!text.contains(token.secret.expose()) && !text.contains(joined.token.expose()));
}

#[test]
fn the_address_set_aside_for_a_first_comer_is_free_again_when_it_leaves() {
    let ledger = Ledger::open(Box::new(Disk::default()), "10.1.1.1/29".parse().unwrap()).unwrap();
    let token = mint(&ledger, None);
    let nodes: Vec<_> = (0..3).map(|_| join(&ledger, &token).unwrap().peer).collect();
    assert_eq!(ledger.set_aside(nodes[0]), Some(Ipv4Addr::new(10, 1, 1, 3)));
    assert_eq!(ledger.set_aside(nodes[1]), Some(Ipv4Addr::new(10, 1, 1, 5)));
    assert_eq!(ledger.set_aside(nodes[2]), None);
    assert_eq!(ledger.address(nodes[2]), Err(NoAddress::Exhausted));
    ledger.set_state(nodes[0], ConnState::Idle);
    assert_eq!(ledger.address(nodes[2]), Ok(Ipv4Addr::new(10, 1, 1, 3)));
    assert_eq!(ledger.address(nodes[1]), Ok(Ipv4Addr::new(10, 1, 1, 5)));
}

#[test]
fn an_imported_node_keeps_the_first_certificate_that_it_shows_and_nobody_elses() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let joiner = |join_key: &str| Joiner {
        register_key: format!("r-{join_key}"),
        join_key: join_key.into(),
        ..Joiner::default()
    };
    let own = ledger.join(token.secret.expose(), joiner("a"), NOW).unwrap().peer;
    assert_eq!(ledger.show(own, Shows::Join, "a"), Ok(()));
    assert_eq!(ledger.show(own, Shows::Join, "b"), Err(ShowError::NotItsOwn));
    let imported = join(&ledger, &token).unwrap().peer;
    let row = NodeRow { register_key: None, join_key: None, ..ledger.node(imported).unwrap().row };
    disk.write(vec![Change::put(shelf::node_key(imported.0), &row).unwrap()]).unwrap();
    let ledger = disk.open();
    assert_eq!(ledger.show(imported, Shows::Join, "a"), Err(ShowError::NotItsOwn));
    assert_eq!(ledger.show(imported, Shows::Join, "c"), Ok(()));
    assert_eq!(disk.open().show(imported, Shows::Join, "d"), Err(ShowError::NotItsOwn));
}

#[test]
fn doubled_and_foreign_addresses_on_the_disk_are_taken_from_the_later_node() {
    let disk = Disk::default();
    let ledger = disk.open();
    let token = mint(&ledger, None);
    let nodes: Vec<_> = (0..3).map(|_| join(&ledger, &token).unwrap().peer).collect();
    for (peer, last) in nodes.iter().zip([[10, 1, 1, 3], [10, 1, 1, 3], [192, 0, 2, 3]]) {
        let row = NodeRow { address: Some(last.into()), ..ledger.node(*peer).unwrap().row };
        disk.write(vec![Change::put(shelf::node_key(peer.0), &row).unwrap()]).unwrap();
    }
    let again = disk.open();
    let addresses: Vec<_> = nodes.iter().map(|peer| again.node(*peer).unwrap().row.address).collect();
    assert_eq!(addresses, [Some(Ipv4Addr::new(10, 1, 1, 3)), None, None]);
}

#[test]
fn the_embedded_store_brings_back_what_was_written() {
    let home = tempfile::tempdir().unwrap();
    let open = || {
        let store = Arc::new(Store::open(home.path()).unwrap());
        Ledger::open(Box::new(StoreShelf(store)), "10.1.1.1/24".parse().unwrap()).unwrap()
    };
    let ledger = open();
    let token = mint(&ledger, Some(5));
    let joined = join(&ledger, &token).unwrap();
    ledger.address(joined.peer).unwrap();
    let (nodes, tokens) = (ledger.nodes(), ledger.tokens());
    drop(ledger);
    let again = open();
    assert_eq!((again.nodes(), again.tokens()), (nodes, tokens));
}

#[test]
fn the_address_of_a_node_that_is_away_is_free_after_its_lease_and_not_before() {
    let ledger = Disk::default().open();
    let token = mint(&ledger, None);
    let (away, there) = (join(&ledger, &token).unwrap().peer, join(&ledger, &token).unwrap().peer);
    let [first, _] = [away, there].map(|peer| ledger.address(peer).unwrap());
    ledger.set_state(there, ConnState::Connected);
    assert_eq!(ledger.overdue(NOW, Some(60)), []);
    assert_eq!(ledger.overdue(NOW + 59, Some(60)), []);
    assert_eq!(ledger.overdue(NOW + 60, None), []);
    assert_eq!(ledger.overdue(NOW + 60, Some(60)), [Away::Lease(away)]);
    assert_eq!(ledger.release(there), Ok(false));
    assert_eq!((ledger.release(away), ledger.release(away)), (Ok(true), Ok(false)));
    let newcomer = join(&ledger, &token).unwrap().peer;
    assert_eq!(ledger.address(newcomer), Ok(first));
    assert_ne!(ledger.address(away), Ok(first));
    // Whoever asks for its address is about to come, and begins a new lease.
    assert_eq!((ledger.overdue(NOW + 500, Some(60)), ledger.release(newcomer)), (Vec::new(), Ok(true)));
}

#[test]
fn an_ephemeral_node_is_overdue_when_it_was_away_for_its_time() {
    let ledger = Disk::default().open();
    let token = ledger.mint(Mint { ephemeral: Some(30), legacy: true, ..Mint::default() }, NOW).unwrap();
    let node = join(&ledger, &token).unwrap().peer;
    assert_eq!(ledger.overdue(NOW, None), []);
    ledger.set_state(node, ConnState::Connected);
    assert_eq!(ledger.overdue(NOW + 100, None), []);
    ledger.set_state(node, ConnState::Idle);
    assert_eq!(ledger.overdue(NOW + 200, None), []);
    assert_eq!(ledger.overdue(NOW + 230, Some(30)), [Away::Ephemeral(node)]);
    // It knocks before it is forgotten.
    ledger.came(node);
    assert_eq!((ledger.forget(node, &|_| Vec::new()), ledger.overdue(NOW + 231, None)), (Ok(None), Vec::new()));
    assert_eq!(ledger.overdue(NOW + 261, None), [Away::Ephemeral(node)]);
    assert!(ledger.forget(node, &|_| Vec::new()).is_ok_and(|row| row.is_some()));
    assert_eq!(ledger.overdue(NOW + 230, None), []);
}

fn old(tokens: &[(&str, Option<i64>)], nodes: &[(&str, Option<[u8; 4]>)]) -> Legacy {
    let token = |&(text, expires): &(&str, _)| LegacyToken { token: text.into(), expires };
    let node = |&(text, address): &(&str, Option<[u8; 4]>)| LegacyNode {
        token: text.into(),
        address: address.map(Ipv4Addr::from),
        created: None,
    };
    let (tokens, nodes) = (tokens.iter().map(token).collect(), nodes.iter().map(node).collect());
    Legacy { tokens, nodes, ..Legacy::default() }
}

#[test]
fn nodes_and_tokens_of_another_controller_keep_what_they_had_and_come_once() {
    let disk = Disk::default();
    let ledger = disk.open();
    let own = join(&ledger, &mint(&ledger, None)).unwrap();
    ledger.address(own.peer).unwrap();
    let nodes = [
        ("b52f93d3f0ec4be7", Some([10, 1, 1, 9])),
        // Ours has the first one's address, the second's is not of this network, and the third has had none.
        ("0d9a7ad1b1f44f2e", Some([10, 1, 1, 3])),
        ("6a0d3a1be43b4d10", Some([192, 0, 2, 3])),
        ("6a0d3a1be43b4d11", None),
        ("b52f93d3f0ec4be7", Some([10, 1, 1, 11])),
        ("no token", None),
    ];
    let legacy =
        old(&[("deac5f329feb4729", None), ("5f2c9a017b3d4e1a", Some(NOW + 60)), ("deac5f329feb4729", None)], &nodes);
    let imported = ledger.import(&legacy, Vec::new(), NOW).unwrap();
    assert_eq!(imported, Imported { nodes: 4, moved: 2, tokens: 2, known: 2 });
    let again = Imported { known: 8, ..Imported::default() };
    for ledger in [ledger, disk.open()] {
        assert_eq!(ledger.import(&legacy, Vec::new(), NOW), Ok(again));
        let found = ledger.by_token("b52f93d3f0ec4be7").unwrap();
        assert_eq!((found.row.address, found.state), (Some([10, 1, 1, 9].into()), ConnState::Idle));
        let (at, moved) = (ledger.address(own.peer), ledger.by_token("0d9a7ad1b1f44f2e").unwrap().peer);
        assert_ne!(ledger.address(moved), at);
        assert!(ledger.is_good("5f2c9a017b3d4e1a", NOW + 59).is_ok());
        assert!(ledger.is_good("5f2c9a017b3d4e1a", NOW + 60).is_err());
        assert_eq!(ledger.show(found.peer, Shows::Join, "the first certificate"), Ok(()));
        assert_eq!(ledger.show(found.peer, Shows::Join, "another"), Err(ShowError::NotItsOwn));
    }
}

#[test]
fn an_import_that_is_not_written_leaves_nothing_behind_that_could_be_given_twice() {
    let disk = Disk::default();
    let ledger = disk.open();
    let legacy = old(&[], &[("b52f93d3f0ec4be7", Some([10, 1, 1, 3]))]);
    disk.set(Some(Failure::After));
    assert!(matches!(ledger.import(&legacy, Vec::new(), NOW), Err(ImportError::Unwritten(_))));
    disk.set(None);
    let joined = join(&ledger, &mint(&ledger, None)).unwrap();
    assert_ne!(ledger.address(joined.peer), Ok([10, 1, 1, 3].into()));
    assert_eq!(disk.open().by_token("b52f93d3f0ec4be7").unwrap().row.address, Some([10, 1, 1, 3].into()));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Mint,
    Join(usize),
    Address(usize),
    Leave(usize),
    Release(usize),
    Unregister(usize),
    Revoke(usize),
    Kill,
}

fn step() -> impl Strategy<Value = (Step, Option<Failure>)> {
    let at = 0..8usize;
    let step = prop_oneof![
        Just(Step::Mint),
        at.clone().prop_map(Step::Join),
        at.clone().prop_map(Step::Address),
        at.clone().prop_map(Step::Leave),
        at.clone().prop_map(Step::Release),
        at.clone().prop_map(Step::Unregister),
        at.prop_map(Step::Revoke),
        Just(Step::Kill),
    ];
    let failure = prop_oneof![4 => Just(None), 1 => Just(Some(Failure::Before)), 1 => Just(Some(Failure::After))];
    (step, failure)
}

/// What clients were told.
#[derive(Default)]
struct Told {
    tokens: Vec<(Minted, u32)>,
    nodes: Vec<(Joined, Option<Ipv4Addr>)>,
    revoked: HashSet<String>,
}

fn take(disk: &Disk, ledger: &mut Ledger, told: &mut Told, (step, failing): (Step, Option<Failure>)) {
    disk.set(failing);
    match step {
        Step::Mint => {
            let mint = Mint { max_uses: Some(3), legacy: true, ..Mint::default() };
            told.tokens.extend(ledger.mint(mint, NOW).map(|minted| (minted, 0)));
        }
        Step::Join(at) => {
            if let Some((token, uses)) = told.tokens.get_mut(at)
                && let Ok(joined) = join(ledger, token)
            {
                *uses += 1;
                told.nodes.push((joined, None));
            }
        }
        Step::Address(at) => {
            if let Some((node, address)) = told.nodes.get_mut(at)
                && let Ok(given) = ledger.address(node.peer)
            {
                assert!(address.is_none_or(|before| before == given), "an address changed");
                *address = Some(given);
            }
        }
        Step::Leave(at) => told.nodes.get(at).into_iter().for_each(|(node, _)| {
            ledger.set_aside(node.peer);
            ledger.set_state(node.peer, ConnState::Idle);
        }),
        Step::Release(at) => {
            if let Some((node, address)) = told.nodes.get_mut(at) {
                ledger.overdue(NOW, Some(60));
                // Where it failed nobody knows which one it gets next.
                if ledger.release(node.peer) != Ok(false) {
                    *address = None;
                }
            }
        }
        Step::Unregister(at) if at < told.nodes.len() => {
            let peer = told.nodes[at].0.peer;
            // Where it failed nobody was told anything: it may be gone after the next start, or not.
            ledger.unregister(peer, &|_| Vec::new()).ok();
            told.nodes.remove(at);
        }
        Step::Revoke(at) => {
            if let Some((token, _)) = told.tokens.get(at)
                && ledger.revoke(&token.id).is_ok()
            {
                told.revoked.insert(token.id.clone());
            }
        }
        Step::Kill => *ledger = disk.open(),
        Step::Unregister(_) => {}
    }
    disk.set(None);
}

proptest! {
    #[test]
    fn what_was_told_holds_at_whatever_write_it_is_killed(steps in prop::collection::vec(step(), 0..60)) {
        let disk = Disk::default();
        let mut ledger = disk.open();
        let mut told = Told::default();
        for step in steps {
            take(&disk, &mut ledger, &mut told, step);
        }
        told_holds(&ledger, &told);
        told_holds(&disk.open(), &told);
    }
}

/// Tokens, numbers and addresses are as clients were told, and nobody has what another has.
fn told_holds(ledger: &Ledger, told: &Told) {
    for (token, uses) in &told.tokens {
        let row = ledger.tokens().into_iter().find(|(id, _)| *id == token.id).unwrap().1;
        assert!(row.uses >= *uses && row.uses <= 3);
        assert!(row.revoked || !told.revoked.contains(&token.id));
    }
    for (node, address) in &told.nodes {
        let found = ledger.by_token(node.token.expose()).unwrap();
        assert_eq!(found.peer, node.peer);
        assert!(address.is_none() || found.row.address == *address);
    }
    let addresses: Vec<_> = ledger.nodes().into_iter().filter_map(|node| node.row.address).collect();
    assert_eq!(addresses.iter().collect::<HashSet<_>>().len(), addresses.len());
    let numbers: HashSet<PeerId> = told.nodes.iter().map(|(node, _)| node.peer).collect();
    assert_eq!(numbers.len(), told.nodes.len());
}

/// Each kind of write is the one at which it is killed, before it reached the disk and behind it; what comes then goes on from there.
#[test]
fn killed_at_every_write_it_goes_on_with_what_was_told() {
    use Step::{Address, Join, Kill, Leave, Mint, Release, Revoke, Unregister};
    let writes = [
        Mint,
        Join(0),
        Join(0),
        Address(0),
        Mint,
        Join(1),
        Address(1),
        Address(2),
        Leave(0),
        Release(0),
        Join(1),
        Address(3),
        Unregister(1),
        Revoke(0),
        Join(1),
        Address(0),
    ];
    for (at, failure) in (0..writes.len()).flat_map(|at| [(at, Failure::Before), (at, Failure::After)]) {
        let disk = Disk::default();
        let (mut ledger, mut told) = (disk.open(), Told::default());
        for (n, write) in writes.into_iter().enumerate() {
            take(&disk, &mut ledger, &mut told, (write, (n == at).then_some(failure)));
            if n == at {
                take(&disk, &mut ledger, &mut told, (Kill, None));
            }
            told_holds(&ledger, &told);
        }
        told_holds(&disk.open(), &told);
    }
}
