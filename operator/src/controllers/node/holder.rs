//! Which operator looks after a node. Each keeps roots in its own namespace, so two over one node would give it two
//! identities in turn; a second one refuses, and says so.
//!
//! The holder's namespace stands on ConfigMap `mesh-<name>`. People hand a node over by an annotation of the same name.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crds::MeshNode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;

use super::{Step, World, status, unfetched};
use crate::node::{Problem, names::main_name, roll::annotation};

/// Label of what is written for a node, and annotation of a MeshNode: the namespace of the operator that looks after it.
pub(super) const OPERATOR: &str = "interconn.dev/operator";

/// How often a refusal is repeated. The holder takes it back at once, if it is there; so this is how often the two are seen to
/// disagree, and no more.
pub(super) const REPEAT: Duration = Duration::from_secs(300);

/// Who looks after a node.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// We do.
    Us,
    /// Another one, because a person said so.
    Named,
    /// Another one, that was here before.
    Found(String),
}

fn decide(asked: &str, found: Option<String>, own: &str) -> Holder {
    match found {
        _ if asked == own => Holder::Us,
        _ if !asked.is_empty() => Holder::Named,
        Some(other) if other != own => Holder::Found(other),
        _ => Holder::Us,
    }
}

/// Whether the node is ours to look after. Tells people where another operator does that nobody named.
pub(super) async fn is_us(world: &World, node: &MeshNode) -> Step<bool> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &namespace);
    let main = maps.get_metadata_opt(&main_name(&name)).await;
    let main = main.map_err(|error| unfetched("who looks after the node is not known", &error))?;
    let found = main.and_then(|map| map.labels().get(OPERATOR).cloned());
    match decide(annotation(node, OPERATOR), found, &world.operator.namespace) {
        Holder::Us => {
            world.refusals.over(&namespace, &name);
            Ok(true)
        }
        Holder::Named => Ok(false),
        Holder::Found(other) => {
            if world.refusals.is_due(&namespace, &name, Instant::now()) {
                let problem = Problem::OtherOperator { other, node: name, own: world.operator.namespace.clone() };
                status::held_by_another(world, node, &problem).await?;
            }
            Ok(false)
        }
    }
}

/// When each node was refused last.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<(String, String), Instant>>);

impl Refusals {
    fn is_due(&self, namespace: &str, node: &str, now: Instant) -> bool {
        let mut all = self.0.lock();
        // Those whose time is over say nothing any more, also where their nodes are gone.
        all.retain(|_, at| now.duration_since(*at) < REPEAT);
        let key = (namespace.to_owned(), node.to_owned());
        let is_due = !all.contains_key(&key);
        all.entry(key).or_insert(now);
        is_due
    }

    fn over(&self, namespace: &str, node: &str) {
        self.0.lock().remove(&(namespace.to_owned(), node.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_operator_and_people_say_which() {
        let found = |name: &str| Some(name.to_owned());
        for (asked, there, wanted) in [
            ("", None, Holder::Us),
            ("", found("us"), Holder::Us),
            ("", found("them"), Holder::Found("them".into())),
            ("us", found("them"), Holder::Us),
            ("them", found("us"), Holder::Named),
            ("them", None, Holder::Named),
        ] {
            assert_eq!(decide(asked, there, "us"), wanted, "{asked:?}");
        }
    }

    #[test]
    fn a_refusal_is_repeated_every_few_minutes_and_not_at_every_look() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        assert!(refusals.is_due("ns", "a", now) && refusals.is_due("ns", "b", now));
        assert!(!refusals.is_due("ns", "a", now + REPEAT / 2));
        assert!(refusals.is_due("ns", "a", now + REPEAT));
        refusals.over("ns", "a");
        assert!(refusals.is_due("ns", "a", now + REPEAT));
    }
}
