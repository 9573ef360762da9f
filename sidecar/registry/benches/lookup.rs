//! `cargo bench -p mesh-registry --bench lookup`: what a lookup among ten thousand urns costs, in time and in allocations, and how
//! long a change among ten thousand registrations takes until it is in force. Medians of five rounds.

#![allow(clippy::expect_used, reason = "a bench ends where it cannot go on")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use mesh_core::{Caller, Live, Origin, Parts, Role, Snapshot, store::Store};
use mesh_pki::{Algorithm, Identity, LeafRequest, Root};
use mesh_registry::{Group, Leaf, Reach, Registrant, Registration, Registry, Table};
use serde_json::json;

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

const ROUNDS: usize = 5;
const URNS: usize = 10_000;
/// So few stay in the cache next to the processor.
const FEW: usize = 100;
const CHANGES: usize = 200;
/// As many as one call of `mesh.registry.puts` may hold.
const AT_ONCE: usize = 1000;

const LOCAL: Registrant<'static> = Registrant { caller: &Caller::Local, peer: None };

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let home = tempfile::tempdir().expect("a folder");
    let registry = runtime.block_on(filled(home.path()));
    println!("| measure | figure |\n|---|---:|");
    let paths: Vec<String> = (0..URNS).map(|n| format!("/org{}/service{n}/v1/models/x:predict", n % 100)).collect();
    let table = registry.table();
    let each = median((0..ROUNDS).map(|_| lookups(&table, &paths)).collect());
    println!("| a lookup among {URNS} urns (goal 200 ns) | {} ns |", each.as_nanos());
    let few = &paths[..FEW];
    let near =
        median((0..ROUNDS).map(|_| (0..URNS / FEW).map(|_| lookups(&table, few)).min().expect("rounds")).collect());
    println!("| of which ours, and not the memory's: the same {FEW} urns again and again | {} ns |", near.as_nanos());
    println!("| allocations of {URNS} lookups (goal 0) | {} |", allocations(&table, &paths));
    drop(table);
    let changes = median((0..ROUNDS).map(|round| runtime.block_on(change(&registry, round))).collect());
    println!(
        "| a change among {URNS} registrations, on disk and in force (goal 1 ms) | {:.2} ms |",
        changes.as_secs_f64() * 1e3
    );
    let drained = median((0..ROUNDS).map(|round| in_memory(&registry, round)).collect());
    println!("| of which the table | {} us |", drained.as_micros());
}

fn lookups(table: &Table, paths: &[String]) -> Duration {
    let start = Instant::now();
    let found = paths.iter().filter(|path| black_box(table.find(black_box(path))).is_some()).count();
    let took = start.elapsed();
    assert_eq!(found, paths.len());
    took / u32::try_from(paths.len()).expect("it fits")
}

fn allocations(table: &Table, paths: &[String]) -> u64 {
    let profiler = dhat::Profiler::builder().testing().build();
    let before = dhat::HeapStats::get().total_blocks;
    let found = paths.iter().filter(|path| table.find(path).is_some()).count();
    let after = dhat::HeapStats::get().total_blocks;
    drop(profiler);
    assert_eq!(found, URNS);
    after - before
}

/// One change after another, each asked for and in force.
async fn change(registry: &Arc<Registry>, round: usize) -> Duration {
    let start = Instant::now();
    for n in 0..CHANGES {
        let changed = registration(n * 37 % URNS, 9000 + round);
        registry.put(changed, &LOCAL).await.expect("a change");
    }
    start.elapsed() / u32::try_from(CHANGES).expect("it fits")
}

/// What of a change readers could notice: a place in the table is set while another copy of it is read.
fn in_memory(registry: &Registry, round: usize) -> Duration {
    let mut table = Table::clone(&registry.table());
    let start = Instant::now();
    for n in 0..CHANGES {
        let in_use = table.clone();
        let place = urn((n * 41 + round) % URNS);
        let group = table.find(&place).and_then(|leaf| leaf.http.as_ref()).expect("a place");
        let http = Some(Group::new(Arc::clone(&group.name), group.members.to_vec()));
        table.set(&place, Leaf { http, grpc: None });
        drop(black_box(in_use));
    }
    start.elapsed() / u32::try_from(CHANGES).expect("it fits")
}

async fn filled(home: &std::path::Path) -> Arc<Registry> {
    let live = Arc::new(Live::new(snapshot()));
    let store = Arc::new(Store::open(home).expect("a store"));
    let registry = Registry::new(live, store, Reach::default(), &mut Default::default()).expect("a registry");
    for from in (0..URNS).step_by(AT_ONCE) {
        let some = (from..from + AT_ONCE).map(|n| registration(n, 8000)).collect();
        registry.puts(some, &LOCAL).await.expect("room");
    }
    registry
}

fn urn(n: usize) -> String {
    format!("/org{}/service{n}/v1", n % 100)
}

fn registration(n: usize, port: usize) -> Registration {
    let (address, name) = (format!("10.0.{}.{}:{port}", n / 250, n % 250 + 1), format!("service{n}"));
    serde_json::from_value(json!({
        "instance_id": name, "name": name, "kind": "complex", "address": address, "timestamp": 1_500_000, "attachments": {},
        "content": {"services": [{"urn": urn(n), "kind": "Restful", "proto": "http"}]},
    }))
    .expect("a registration")
}

fn snapshot() -> Snapshot {
    let identity = Identity { node_id: "LX0000010000280".into(), name: "bench".into() };
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let root = Root::generate(&identity, Algorithm::EcdsaP256, day, now).expect("a root");
    let (extra_dns, extra_ips) = (Vec::new(), Vec::new());
    let request = LeafRequest { identity, algorithm: Algorithm::EcdsaP256, lifetime: day, extra_dns, extra_ips };
    let pair = root.issue(&request, now).expect("a leaf");
    let parts = Parts {
        hash: String::new(),
        origin: Origin::Standalone,
        node: serde_json::from_value(json!({"nodeId": "LX0000010000280", "instId": "JG1"})).expect("a node"),
        routes: Vec::new(),
        registrations: Vec::new(),
        roots_pem: root.certificate_pem().to_owned(),
        leaf_pem: pair.chain_pem,
        key_pem: pair.key.expose().to_owned(),
        client_pairs: Default::default(),
        grid: Default::default(),
        room_keys: Default::default(),
        members_pem: String::new(),
        role: Role::Gateway,
    };
    Snapshot::assemble(parts).expect("a snapshot")
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
