//! Who goes, who waits, and who holds nobody up.

use serde_json::{Value, json};

use super::*;
use crate::node::sample;

fn name(name: &str) -> Name {
    ("ns".into(), name.into())
}

/// A StatefulSet that was written by an operator that brought `MESH_1`.
fn set(status: &Value, began: Option<Timestamp>) -> StatefulSet {
    let mut set: StatefulSet = serde_json::from_value(json!({
        "metadata": {"name": "mesh-a", "generation": 2, "annotations": {BROUGHT: MESH_1}}, "status": status,
    }))
    .unwrap();
    set.annotations_mut().extend(began.map(|at| (BEGAN.to_owned(), at.to_string())));
    set
}

fn pod(status: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "mesh-a-0"}, "status": status})).unwrap()
}

const MESH_1: &str = "0.1.0 example.org/mesh:1";

fn rolling() -> Value {
    json!({"observedGeneration": 2, "replicas": 1, "currentRevision": "1", "updateRevision": "2"})
}

fn serving() -> Value {
    json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "currentRevision": "2", "updateRevision": "2"})
}

#[test]
fn a_gateway_holds_others_up_until_its_pod_is_ready_on_the_new_version() {
    let now = Timestamp::now();
    let unseen = json!({"observedGeneration": 1, "replicas": 1, "currentRevision": "1", "updateRevision": "1"});
    let waits = pod(&json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]}));
    let pulls = pod(&json!({"conditions": [{"type": "PodScheduled", "status": "True"}]}));
    for (status, pod, holds) in
        [(rolling(), &pulls, true), (unseen, &pulls, true), (rolling(), &waits, false), (serving(), &pulls, false)]
    {
        assert_eq!(holds_others_up(&set(&status, Some(now)), std::slice::from_ref(pod), now), holds, "{status}");
        assert!(!holds_others_up(&set(&status, None), std::slice::from_ref(pod), now), "its trouble is its own");
    }
    let serves = pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}));
    for (pods, holds) in
        [([&serves, &waits, &pulls], true), ([&serves, &serves, &waits], false), ([&serves, &serves, &serves], true)]
    {
        let pods: Vec<Pod> = pods.into_iter().cloned().collect();
        assert_eq!(holds_others_up(&set(&rolling(), Some(now)), &pods, now), holds, "{pods:?}");
    }
    let before = |long| set(&rolling(), Some(now - SignedDuration::try_from(long).unwrap()));
    assert!(holds_others_up(&before(LONG / 2), &[], now), "the old pod went, and the next one comes");
    assert!(!holds_others_up(&before(LONG * 2), &[], now), "no image keeps a pod from being made: a quota does");
}

#[test]
fn only_a_gateway_that_serves_when_it_is_given_a_version_tries_it_for_the_others() {
    let seen = |status: &Value, began| Seen { set: Some(set(status, began)), ..Seen::default() };
    let (node, at) = (sample::node("a", "LX1"), Seen::default().at);
    let next = "0.1.0 example.org/mesh:2";
    assert_eq!(began(&node, &seen(&serving(), None), next), Some(at.to_string()), "it is given it now");
    let before = at + SignedDuration::from_secs(9);
    let kept = began(&node, &seen(&rolling(), Some(before)), next);
    assert_eq!(kept, Some(before.to_string()), "it tries, and goes on with a better one");
    assert_eq!(began(&node, &seen(&serving(), Some(before)), MESH_1), None, "it is ready on it");
    assert_eq!(began(&node, &seen(&rolling(), None), next), None, "it did not serve before");
    assert_eq!(began(&node, &Seen::default(), next), None, "it is new");
    let mut held = node;
    held.annotations_mut().insert(PINNED.into(), "old".into());
    assert_eq!(began(&held, &seen(&serving(), Some(before)), next), None, "its image is not the operator's");
}

#[test]
fn the_next_one_is_told_when_the_one_before_is_ready_and_no_sooner() {
    let depth = Gauge::default();
    let (turns, now) = (Turns::new(depth.clone()), Instant::now());
    let mut next = turns.next();
    turns.takes(&name("a"), now);
    turns.waits(name("b"));
    turns.waits(name("c"));
    assert_eq!((turns.restarting(now).map(|(who, _)| who), depth.get()), (Some(name("a")), 2));
    turns.seen(&name("a"), true);
    turns.seen(&name("b"), false);
    assert!(!next.has_changed().unwrap());
    turns.seen(&name("a"), false);
    assert_eq!(next.borrow_and_update().clone(), Some(name("b")));
    turns.takes(&name("b"), now);
    turns.gone("ns", "b");
    assert_eq!((next.borrow().clone(), depth.get()), (Some(name("c")), 0), "who is gone holds nobody up");
}

#[test]
fn what_was_found_is_looked_at_again_after_a_while_and_keeps_its_time() {
    let (turns, begun) = (Turns::new(Gauge::default()), Instant::now());
    turns.found(&name("a"), begun);
    assert!(turns.restarting(begun + AGAIN).is_none());
    assert_eq!(turns.found(&name("a"), begun + AGAIN), begun);
    assert_eq!(turns.restarting(begun + AGAIN), Some((name("a"), begun)));
}

#[test]
fn a_pin_changes_the_image_and_not_what_the_operator_brings() {
    let image = Image {
        name: "new".into(),
        pull_policy: None,
        pull_secrets: vec!["registry".into()],
        traces: traces::Options::default(),
    };
    let mut node = sample::node("a", "LX1");
    assert_eq!(image_of(&node, &image).name, "new");
    node.annotations_mut().insert(PINNED.into(), " old ".into());
    assert_eq!(image_of(&node, &image).name, "old");
    let none = GatewayDefaults::default();
    assert!(brought(&image, &none).ends_with(" new +registry"), "{}", brought(&image, &none));
    let defaults = r#"{"pod": {"priorityClassName": "high"}}"#.parse().unwrap();
    assert_ne!(brought(&image, &defaults), brought(&image, &none), "other pods for all come in turn, too");
    let traces = traces::Options { endpoint: Some("http://collector:4317".into()), ..traces::Options::default() };
    let with_root = traces::Options { root: Some("BEGIN\nEND".into()), ..traces.clone() };
    let brought = |traces| brought(&Image { traces, ..image.clone() }, &none);
    let to_collector = " new +registry OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317";
    assert!(brought(traces.clone()).ends_with(to_collector), "and a collector: {}", brought(traces));
    let said = brought(with_root);
    let (_, root) = said.split_once(&format!("{to_collector} MESH_COLLECTOR_ROOT=")).unwrap();
    assert_eq!(root.len(), 8, "and what it is known by, in a word: {said}");
}

#[test]
fn a_long_wait_names_the_remedy_and_no_other_namespace() {
    let mut node = sample::node("b", "LX1");
    node.metadata.namespace = Some("ns".into());
    let said = aspect(&node, &name("a"), Duration::ZERO);
    assert_eq!((said.reason.as_str(), said.message.contains("MeshNode a")), ("InTurn", true));
    let said = aspect(&node, &("other".into(), "theirs".into()), LONG);
    assert_eq!(said.reason, "Paused");
    assert!(said.message.contains(PINNED) && !said.message.contains("theirs"), "{}", said.message);
}
