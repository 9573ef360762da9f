//! Which operator looks after a node. Each keeps roots in its own namespace, so two over one node would give it two
//! identities in turn; and two releases of one namespace share the roots, but each writes where its own intake is. A second one
//! refuses, and says so.
//!
//! The holder's namespace and Lease stand on ConfigMap `mesh-<name>`. People hand a node over to another namespace by an annotation
//! of the same name; within a namespace whoever leads takes over when the holder's Lease is free.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crds::{MeshNode, READY};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;

use super::{Step, World, status, unfetched};
use crate::node::{Problem, names::main_name, roll::annotation};

/// Label of what is written for a node, and annotation of a MeshNode: the namespace of the operator that looks after it.
pub(super) const OPERATOR: &str = "interconn.dev/operator";
/// Annotation of what is written for a node: the Lease of that operator. Names of Leases are longer than labels may be.
pub(super) const LEASE: &str = "interconn.dev/operator-lease";

/// How often a refusal is repeated. The holder takes it back at once, if it is there; so this is how often the two are seen to
/// disagree, and no more.
pub(super) const REPEAT: Duration = Duration::from_secs(300);
/// How soon a release sees that another one of its namespace is gone.
const LOOK: Duration = Duration::from_secs(20);
/// A leader renews its Lease every two seconds by its own clock; clocks of one cluster differ by less than this.
const SILENT: Duration = Duration::from_secs(60);

/// Whose the node is.
pub(super) enum Held {
    /// Ours to look after.
    ByUs,
    /// Another operator's; when to look again.
    ByAnother(Duration),
}

/// An operator, as a node's ConfigMap names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name<'a> {
    namespace: &'a str,
    /// Empty: written by a version that did not say.
    lease: &'a str,
}

/// Who looks after a node.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// We do.
    Us,
    /// Another one, because a person said so.
    Named,
    /// One of another namespace, that was here before.
    Found(String),
    /// Another release of our namespace, as long as its Lease is held.
    Beside(String),
}

fn decide(asked: &str, found: Option<Name<'_>>, own: Name<'_>) -> Holder {
    match found {
        _ if !asked.is_empty() && asked != own.namespace => Holder::Named,
        Some(other) if other.namespace != own.namespace && asked.is_empty() => Holder::Found(other.namespace.into()),
        Some(other) if other.namespace == own.namespace && ![own.lease, ""].contains(&other.lease) => {
            Holder::Beside(other.lease.into())
        }
        _ => Holder::Us,
    }
}

/// Whose the node is. Tells people where another operator does that nobody named.
pub(super) async fn of(world: &World, node: &MeshNode) -> Step<Held> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &namespace);
    let main = maps.get_metadata_opt(&main_name(&name)).await;
    let main = main.map_err(|error| unfetched("who looks after the node is not known", &error))?;
    let found = main.as_ref().and_then(|map| {
        let lease = map.annotations().get(LEASE).map(String::as_str).filter(|name| is_name(name)).unwrap_or_default();
        Some(Name { namespace: map.labels().get(OPERATOR)?, lease })
    });
    let own = Name { namespace: &world.operator.namespace, lease: &world.operator.lease };
    match decide(annotation(node, OPERATOR), found, own) {
        Holder::Named => Ok(Held::ByAnother(REPEAT)),
        Holder::Found(other) => {
            let problem = Problem::OtherOperator { other, node: name, own: own.namespace.to_owned() };
            refuse(world, node, &problem).await?;
            Ok(Held::ByAnother(REPEAT))
        }
        Holder::Beside(lease) if leads(world, &lease).await? => {
            refuse(world, node, &Problem::OtherRelease { lease, namespace: own.namespace.to_owned() }).await?;
            Ok(Held::ByAnother(LOOK))
        }
        Holder::Us | Holder::Beside(_) => {
            world.refusals.over(&namespace, &name);
            Ok(Held::ByUs)
        }
    }
}

async fn refuse(world: &World, node: &MeshNode, problem: &Problem) -> Step<()> {
    if world.refusals.is_due(&node.namespace().unwrap_or_default(), &node.name_any(), Instant::now()) {
        status::held_by_another(world, node, problem).await?;
    }
    Ok(())
}

/// Whether an operator said of the node that another one looks after it.
pub(crate) fn is_refused(node: &MeshNode) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.r#type == READY && condition.reason == Problem::OTHER_OPERATOR)
}

/// Whether it may be a Lease's name: whoever may write the ConfigMap may write anything there, and it becomes part of a path.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(is_part) && !text.starts_with('.')
}

/// Whether somebody holds this Lease of our namespace.
async fn leads(world: &World, lease: &str) -> Step<bool> {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.operator.namespace);
    let found = leases.get_opt(lease).await;
    let found = found.map_err(|error| unfetched("the Lease of another operator cannot be read", &error))?;
    Ok(found.is_some_and(|lease| is_held(&lease, jiff::Timestamp::now())))
}

fn is_held(lease: &Lease, now: jiff::Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let has_holder = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
    has_holder && spec.renew_time.as_ref().is_some_and(|at| now.duration_since(at.0).unsigned_abs() < SILENT)
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
    use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};

    use super::*;

    #[test]
    fn a_node_has_one_operator_and_people_say_which() {
        let of = |namespace, lease| Some(Name { namespace, lease });
        for (asked, there, wanted) in [
            ("", None, Holder::Us),
            ("", of("us", "ours"), Holder::Us),
            ("", of("us", ""), Holder::Us),
            ("", of("us", "other"), Holder::Beside("other".into())),
            ("", of("them", "ours"), Holder::Found("them".into())),
            ("us", of("them", "ours"), Holder::Us),
            ("us", of("us", "other"), Holder::Beside("other".into())),
            ("them", of("us", "ours"), Holder::Named),
            ("them", None, Holder::Named),
        ] {
            let own = Name { namespace: "us", lease: "ours" };
            assert_eq!(decide(asked, there, own), wanted, "{asked:?} {there:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_no_lease() {
        assert!(is_name("interconn-operator") && is_name("a.b-1"));
        for text in ["", "../secrets/x", "a/b", "a?b", "..", "A", &"a".repeat(254)] {
            assert!(!is_name(text), "{text}");
        }
    }

    #[test]
    fn a_lease_is_held_while_its_holder_renews_it() {
        let now = jiff::Timestamp::now();
        let lease = |holder: &str, ago: i64| Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                renew_time: Some(MicroTime(now - jiff::SignedDuration::from_secs(ago))),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        for (lease, wanted) in [
            (lease("a", 2), true),
            (lease("a", -30), true),
            (lease("a", 60), false),
            (lease("", 2), false),
            (Lease::default(), false),
        ] {
            assert_eq!(is_held(&lease, now), wanted, "{lease:?}");
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
