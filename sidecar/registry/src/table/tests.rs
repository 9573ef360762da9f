use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mesh_network::dial::Given;
use proptest::prelude::*;

use super::*;
use crate::{Address, balance::Member, dial::Dialer, instance::Instance};

fn group(name: &str) -> Group {
    let instance = Instance::new(Address::parse("10.0.0.1:80").unwrap(), Given::ByApi, Dialer::default(), 8);
    let member = Member {
        instance: Arc::new(instance),
        weight: 1000,
        subset: None,
        timeout: Duration::from_secs(1),
        retries: 0,
    };
    Group::new(name.into(), vec![member])
}

/// A leaf whose group has its prefix as a name.
fn http(name: &str) -> Leaf {
    Leaf { http: Some(group(name)), grpc: None }
}

fn table(prefixes: &[&str]) -> Table {
    let mut table = Table::default();
    for prefix in prefixes {
        table.set(prefix, http(prefix));
    }
    table
}

fn found(table: &Table, path: &str) -> Option<String> {
    Some(table.find(path)?.http.as_ref()?.name.to_string())
}

#[test]
fn the_longest_prefix_at_a_boundary_wins() {
    let table = table(&["/a", "/a/b/c", "/x"]);
    for (path, prefix) in [
        ("/a", Some("/a")),
        ("/a/", Some("/a")),
        ("/a/b", Some("/a")),
        ("/a/b/c", Some("/a/b/c")),
        ("/a/b/c/d/e", Some("/a/b/c")),
        ("/a/b/cd", Some("/a")),
        ("/ab", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("a", None),
    ] {
        assert_eq!(found(&table, path).as_deref(), prefix, "{path}");
    }
}

#[test]
fn one_protocol_alone_takes_both() {
    let mut table = table(&["/http"]);
    table.set("/grpc", Leaf { http: None, grpc: Some(group("g")) });
    table.set("/both", Leaf { http: Some(group("h")), grpc: Some(group("g")) });
    let spoken = |path, wanted| table.find(path).unwrap().group(wanted).unwrap().1;
    for (path, wanted, proto) in [
        ("/http", ServiceProto::Grpc, ServiceProto::Http),
        ("/grpc", ServiceProto::Http, ServiceProto::Grpc),
        ("/both", ServiceProto::Http, ServiceProto::Http),
        ("/both", ServiceProto::Grpc, ServiceProto::Grpc),
    ] {
        assert_eq!(spoken(path, wanted), proto, "{path}");
    }
}

#[test]
fn a_table_in_use_does_not_change() {
    let mut table = table(&["/a", "/a/b"]);
    let used = table.clone();
    table.set("/a/b", Leaf::default());
    table.set("/c", http("/c"));
    assert_eq!((found(&used, "/a/b"), found(&used, "/c")), (Some("/a/b".into()), None));
    assert_eq!((found(&table, "/a/b"), found(&table, "/c")), (Some("/a".into()), Some("/c".into())));
}

#[test]
fn what_was_taken_out_leaves_nothing_to_look_for() {
    let mut table = table(&["/a/b/c", "/a"]);
    table.set("/a/b/c", Leaf::default());
    table.set("/a", Leaf::default());
    assert!(table.depths.is_empty());
    table.set("/never/there", Leaf::default());
    table.set("/x/y", http("/x/y"));
    table.set("/x/y", http("again"));
    assert_eq!(table.depths, [0, 1]);
    table.set("/x/y", Leaf::default());
    assert!(table.prefixes.is_empty() && table.depths.is_empty());
}

#[test]
fn names_and_paths_do_not_meet() {
    let mut table = table(&["/acme.score"]);
    assert!(table.named("acme.score").is_none());
    table.set("acme.score", http("by name"));
    assert_eq!(found(&table, "/acme.score").as_deref(), Some("/acme.score"));
    let name = |table: &Table, place| table.at(place).map(|leaf| leaf.http.as_ref().unwrap().name.to_string());
    assert_eq!(name(&table, "acme.score").as_deref(), Some("by name"));
    assert_eq!(name(&table, "/acme.score").as_deref(), Some("/acme.score"));
    assert_eq!(name(&table, "/acme.score/x"), None);
    table.set("acme.score", Leaf::default());
    assert!(table.named("acme.score").is_none());
}

#[test]
fn a_path_of_very_many_segments_does_no_harm() {
    let table = table(&["/a"]);
    assert_eq!(found(&table, &"/a".repeat(100_000)).as_deref(), Some("/a"));
    let mut deep = Table::default();
    let prefix = "/a".repeat(256);
    deep.set(&prefix, http("deep"));
    assert_eq!(found(&deep, &format!("{prefix}/x")).as_deref(), Some("deep"));
    assert_eq!(found(&deep, "/a/a"), None);
}

/// What the table must answer, found by looking at each prefix.
fn scanned(prefixes: &BTreeSet<String>, path: &str) -> Option<String> {
    let covers =
        |p: &&String| path.strip_prefix(p.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    prefixes.iter().filter(covers).max_by_key(|p| p.len()).cloned()
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "c"]), 1..5)
        .prop_map(|s| format!("/{}", s.join("/")))
}

proptest! {
    #[test]
    fn a_lookup_equals_a_scan_of_all_prefixes(
        changes in prop::collection::vec((path(), any::<bool>()), 0..40),
        asked in prop::collection::vec(path(), 1..40),
    ) {
        let (mut table, mut prefixes) = (Table::default(), BTreeSet::new());
        for (prefix, put) in changes {
            table.set(&prefix, if put { http(&prefix) } else { Leaf::default() });
            if put { prefixes.insert(prefix); } else { prefixes.remove(&prefix); }
            for path in &asked {
                prop_assert_eq!(found(&table, path), scanned(&prefixes, path));
            }
        }
    }
}
