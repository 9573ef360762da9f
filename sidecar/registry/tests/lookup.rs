//! The routing table among ten thousand urns: no allocation, and the time that one lookup takes.
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

fn ten_thousand() -> Table {
    let mut table = Table::default();
    for n in 0..URNS {
        table.set(&format!("/org{}/service{n}/v1", n % 100), leaf("s"));
    }
    table
}

#[test]
fn a_lookup_among_ten_thousand_urns_allocates_nothing() {
    let table = ten_thousand();
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
