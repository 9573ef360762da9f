//! The routing table among ten thousand urns: a lookup allocates nothing, and a change copies only its own way. Prints the
//! times of both; what they must be is said of a release build.
//!
//! A test of its own, because it counts what the whole process allocates.

use std::time::{Duration, Instant};

use mesh_registry::{Group, Leaf, Table};

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

const URNS: usize = 10_000;

fn leaf(name: &str) -> Leaf {
    Leaf { http: Some(Group::new(name.into(), Vec::new())), grpc: None }
}

fn ten_thousand(urn: impl Fn(usize) -> String) -> Table {
    let mut table = Table::default();
    for n in 0..URNS {
        table.set(&urn(n), leaf("s"));
    }
    table
}

/// Both in one test: they count what the whole process allocates.
#[test]
fn ten_thousand_urns_cost_no_more_than_their_own_way() {
    a_lookup_among_ten_thousand_urns_allocates_nothing();
    a_change_among_ten_thousand_urns_side_by_side_copies_little();
}

fn a_change_among_ten_thousand_urns_side_by_side_copies_little() {
    for urn in [|n: usize| format!("/service{n}"), |n: usize| format!("acme.service{n}")] {
        let mut table = ten_thousand(urn);
        let in_use = table.clone();
        let (changed, other) = (urn(7777), leaf("other"));
        let profiler = dhat::Profiler::builder().testing().build();
        let before = dhat::HeapStats::get();
        let start = Instant::now();
        table.set(&changed, other);
        let took = start.elapsed();
        let after = dhat::HeapStats::get();
        drop(profiler);
        let bytes = after.total_bytes - before.total_bytes;
        println!("{took:?} and {bytes} bytes for a change");
        assert!(bytes < 16 << 10, "{bytes} bytes copied");
        assert_eq!(name(&in_use, &changed), "s");
        assert_eq!(name(&table, &changed), "other");
    }
}

fn name(table: &Table, place: &str) -> String {
    let leaf = table.find(place).or_else(|| table.named(place));
    leaf.and_then(|leaf| leaf.http.as_ref()).map(|group| group.name.to_string()).unwrap_or_default()
}

fn a_lookup_among_ten_thousand_urns_allocates_nothing() {
    let table = ten_thousand(|n| format!("/org{}/service{n}/v1", n % 100));
    let paths: Vec<String> = (0..URNS).map(|n| format!("/org{}/service{n}/v1/models/x:predict", n % 100)).collect();
    let profiler = dhat::Profiler::builder().testing().build();
    let before = dhat::HeapStats::get().total_blocks;
    let start = Instant::now();
    let found = paths.iter().filter(|path| table.find(path).is_some()).count();
    let each = start.elapsed() / 10_000;
    let after = dhat::HeapStats::get().total_blocks;
    drop(profiler);
    assert_eq!((found, after - before), (URNS, 0));
    // The aim is 200 ns in a release build; this catches a scan, not a slow machine.
    assert!(each < Duration::from_micros(20), "{each:?} for each lookup");
    println!("{each:?} for each lookup");
}
