use serde_json::{Value, json};

use super::*;
use crate::{Registration, offer};

/// An instance `id` of `name` at `address`, with these services.
fn registration(name: &str, id: &str, address: &str, services: &Value) -> Registration {
    serde_json::from_value(
        json!({"instance_id": id, "name": name, "kind": "complex", "address": address, "timestamp": 0,
        "attachments": {}, "content": {"services": services}}),
    )
    .unwrap()
}

fn routes() -> Routes {
    Routes::new(Dialer::default(), 8)
}

fn put(routes: &mut Routes, source: Source, registration: &Registration) {
    routes.set(&registration.key(), source, offer::of(registration));
}

/// The name and the instances that an HTTP call to `path` may go to.
fn found(routes: &Routes, path: &str) -> (String, Vec<String>) {
    let leaf = routes.table().find(path).unwrap();
    let group = leaf.http.as_ref().unwrap();
    (group.name.to_string(), group.members.iter().map(|m| m.instance.address().to_string()).collect())
}

#[test]
fn instances_of_one_name_share_the_urns_that_they_offer() {
    let mut routes = routes();
    put(&mut routes, Source::Live, &registration("s", "1", "a:1", &json!([{"urn": "/x"}, {"urn": "/y"}])));
    put(
        &mut routes,
        Source::Live,
        &registration("s", "2", "b:1", &json!([{"urn": "/x/*"}, {"urn": "x", "address": "c:1"}])),
    );
    assert_eq!(found(&routes, "/x"), ("s".into(), vec!["a:1".into(), "b:1".into(), "c:1".into()]));
    assert_eq!(found(&routes, "/y/z"), ("s".into(), vec!["a:1".into()]));
}

#[test]
fn one_name_wins_a_urn_by_priority_then_source_then_name() {
    let ordinary = json!([{"urn": "/x"}]);
    let high = json!([{"urn": "/x", "attrs": {"priority": "high"}}]);
    let mut routes = routes();
    let mut winner = |name, source, services: &Value| {
        put(&mut routes, source, &registration(name, "1", "a:1", services));
        found(&routes, "/x").0
    };
    assert_eq!(winner("m", Source::Live, &ordinary), "m");
    assert_eq!(winner("a", Source::Live, &ordinary), "a");
    assert_eq!(winner("z", Source::Live, &ordinary), "a");
    assert_eq!(winner("z", Source::Permanent, &ordinary), "z");
    assert_eq!(winner("q", Source::Live, &high), "q");
}

#[test]
fn the_state_of_an_instance_outlives_a_change_of_its_routes() {
    let mut routes = routes();
    put(&mut routes, Source::Live, &registration("s", "1", "a:1", &json!([{"urn": "/x"}])));
    routes.instances()[0].mark_not_ready("refused".into());
    put(&mut routes, Source::Live, &registration("s", "1", "a:1", &json!([{"urn": "/y"}])));
    assert!(routes.table().find("/x").is_none());
    assert!(!routes.instances()[0].is_ready());
}

#[test]
fn an_instance_goes_with_the_last_registration_that_names_it() {
    let mut routes = routes();
    let one = registration("s", "1", "a:1", &json!([{"urn": "/x"}]));
    let two = registration("t", "1", "a:1", &json!([{"urn": "/y"}, {"urn": "/y", "proto": "grpc"}]));
    put(&mut routes, Source::Live, &one);
    put(&mut routes, Source::Live, &two);
    assert_eq!(routes.instances().len(), 1);
    routes.set(&two.key(), Source::Live, Vec::new());
    assert_eq!(routes.instances().len(), 1);
    routes.set(&one.key(), Source::Live, Vec::new());
    assert_eq!((routes.instances().len(), routes.by_place.len(), routes.by_key.len()), (0, 0, 0));
    assert!(routes.table().find("/x").is_none());
}

/// What an application registers by name, with these members beside the urn.
fn named(name: &str, address: &str, more: &Value) -> Registration {
    let mut service = json!({"urn": "acme.score"});
    service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut one = registration(name, "1", address, &json!([service]));
    one.kind = crate::Kind::Metadata;
    one
}

#[test]
fn all_who_offer_a_communal_service_share_its_calls_before_any_one_name() {
    let mut routes = routes();
    let of = |routes: &Routes| {
        let group = routes.table().named("acme.score").unwrap().http.as_ref().unwrap();
        let addresses: Vec<String> = group.members.iter().map(|m| m.instance.address().to_string()).collect();
        (group.name.to_string(), addresses)
    };
    let high = json!({"attrs": {"priority": "high"}});
    put(&mut routes, Source::Permanent, &named("a", "a:1", &high));
    assert_eq!(of(&routes), ("a".into(), vec!["a:1".into()]));
    // Bit 4 among others.
    put(&mut routes, Source::Live, &named("b", "b:1", &json!({"flags": 4})));
    let last = named("c", "c:1", &json!({"flags": 7}));
    put(&mut routes, Source::Live, &last);
    put(&mut routes, Source::Live, &named("d", "d:1", &json!({"flags": 3})));
    assert_eq!(of(&routes), ("communal acme.score".into(), vec!["b:1".into(), "c:1".into()]));
    put(&mut routes, Source::Live, &named("b", "b:1", &json!({})));
    routes.set(&last.key(), Source::Live, Vec::new());
    assert_eq!(of(&routes).0, "a", "nobody offers it as a communal one any more");
}

#[test]
fn a_path_is_no_communal_service_whatever_its_flags() {
    let mut routes = routes();
    for name in ["a", "b"] {
        let address = format!("{name}:1");
        put(&mut routes, Source::Live, &registration(name, "1", &address, &json!([{"urn": "/x", "flags": 4}])));
    }
    assert_eq!(found(&routes, "/x"), ("a".into(), vec!["a:1".into()]));
}

#[test]
fn other_kinds_offer_no_path() {
    for kind in ["metadata", "server", "proxy"] {
        let mut other = registration("s", "1", "a:1", &json!([{"urn": "/x"}]));
        other.kind = crate::Kind::parse(kind).unwrap();
        assert_eq!(offer::of(&other), [], "{kind}");
    }
}
