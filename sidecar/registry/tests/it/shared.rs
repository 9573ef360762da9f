//! Registries of two gateways of one node: each is told what the other has. What joins them over a network is in `tests/nodes/backplane`.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use mesh_core::Caller;
use mesh_registry::{Others, Registrant, Registry, WallTime};
use parking_lot::Mutex;
use serde_json::json;

use crate::house::{Node, node, registration};

/// The way from one registry to another; what is told waits where it is cut.
#[derive(Debug)]
struct Way {
    from: u16,
    to: Weak<Registry>,
    is_cut: Mutex<bool>,
}

impl Others for Way {
    fn gateways(&self) -> Vec<u16> {
        vec![1 - self.from]
    }

    fn tell(&self, _: u16, news: Bytes) {
        if let Some(to) = self.to.upgrade().filter(|_| !*self.is_cut.lock()) {
            to.told(self.from, &news);
        }
    }
}

fn join(a: &Node, b: &Node) -> [Arc<Way>; 2] {
    let ways = [(0, b), (1, a)]
        .map(|(from, to)| Arc::new(Way { from, to: Arc::downgrade(&to.registry), is_cut: Mutex::default() }));
    a.registry.share(Arc::clone(&ways[0]) as Arc<dyn Others>);
    b.registry.share(Arc::clone(&ways[1]) as Arc<dyn Others>);
    a.registry.joined(1);
    b.registry.joined(0);
    ways
}

fn known(node: &Node) -> Vec<String> {
    node.registry.export(None).iter().map(|one| one.instance_id.clone()).collect()
}

async fn remove(node: &Node, instance: &str) {
    let registrant = Registrant { caller: &Caller::Local, peer: None };
    let key = registration(instance, "", json!({})).key();
    node.registry.remove(&key, &registrant).await.unwrap();
}

#[tokio::test]
async fn what_is_registered_or_taken_out_at_one_gateway_is_so_at_the_other() {
    let (a, b) = (node(), node());
    a.register("early", "10.0.0.1:8000", json!({})).await;
    join(&a, &b);
    assert_eq!(known(&b), ["early"], "who comes later is told all");
    a.register("one", "10.0.0.1:8001", json!({})).await;
    b.register("two", "10.0.0.1:8002", json!({})).await;
    assert_eq!((known(&a), known(&b)), (vec!["early".into(), "one".into(), "two".into()], known(&a)));
    assert_eq!(b.registry.status().len(), 3, "all of them are routed");
    // An instance unregisters wherever it comes to.
    remove(&b, "one").await;
    remove(&a, "early").await;
    assert_eq!((known(&a), known(&b)), (vec!["two".to_owned()], vec!["two".to_owned()]));
}

#[tokio::test]
async fn what_was_missed_while_nothing_joined_them_is_made_up_for() {
    let (a, b) = (node(), node());
    let ways = join(&a, &b);
    for instance in ["one", "two"] {
        a.register(instance, "10.0.0.1:8000", json!({})).await;
    }
    b.register("theirs", "10.0.0.1:8001", json!({})).await;
    *ways[0].is_cut.lock() = true;
    remove(&a, "one").await;
    a.register("three", "10.0.0.1:8000", json!({})).await;
    assert_eq!(known(&b), ["one", "theirs", "two"], "nothing goes because nobody is heard");
    *ways[0].is_cut.lock() = false;
    a.registry.joined(1);
    assert_eq!(known(&b), ["theirs", "three", "two"]);
}

#[tokio::test]
async fn what_a_gateway_alone_kept_alive_goes_with_its_time_and_what_comes_here_stays() {
    let (a, b) = (node(), node());
    join(&a, &b);
    for instance in ["moves", "stays away"] {
        a.register(instance, "10.0.0.1:8000", json!({})).await;
    }
    // It is renewed by the other gateway from now on, for as long again.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let renewed = WallTime::now().0;
    b.register("moves", "10.0.0.1:8000", json!({})).await;
    drop(a);
    let grace = u64::try_from(b.live.load().registry.expiry_grace.get().as_millis()).unwrap();
    let gone = b.registry.sweep(WallTime(renewed + 300_000 + grace - 1)).await.unwrap();
    assert_eq!((gone, known(&b)), (1, vec!["moves".to_owned()]));
    assert_eq!(b.registry.sweep(WallTime(u64::MAX)).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_of_no_version_that_is_known_is_passed_over() {
    let b = node();
    for news in
        [&b""[..], b"x", b"\xff", br#"{"Later": 1}"#, br#"{"Put": [{}]}"#, br#"{"Removed": [["none", "a", "b"]]}"#]
    {
        b.registry.told(7, news);
    }
    assert!(known(&b).is_empty());
}
