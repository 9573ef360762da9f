//! `MeshRoute`: turns the node's verdict about it into its own status and Events.

use std::sync::Arc;

use crds::{
    ACCEPTED, Condition, ConditionStatus, MeshRoute, MeshRouteStatus, REACHABLE, READY, RECONCILING, STALLED, TRUSTED,
};
use kube::{Resource, ResourceExt, runtime::controller::Action};

use super::{
    failure::Failure,
    reach,
    report::{self, StatusError},
    verdicts::Verdict,
    watch,
    world::World,
};
use crate::{
    cluster::conditions::{Aspect, merge},
    node::{Problem, roll::TRUSTS_ROOT_DIGITS},
};

/// The reason of `Ready` where people switched the route off.
pub(crate) const DISABLED: &str = "Disabled";

/// The route is good, and waits.
const NODE_NOT_READY: &str = "the node's configuration is not written: see the MeshNode's conditions";

/// Before the roots, in the message of `Trusted`.
const SHA256: &str = "; sha256: ";

/// Writes the status of one route.
///
/// # Errors
/// A status that the API server does not take.
pub(crate) async fn reconcile(world: Arc<World>, route: Arc<MeshRoute>) -> Result<Action, Failure> {
    let (namespace, node) = (route.namespace().unwrap_or_default(), &route.spec.node_ref.name);
    let verdict = world.route_verdicts.get(&namespace, node, &route.name_any()).filter(|v| v.is_of(&*route));
    let aspects = match &verdict {
        Some(verdict) => judged(&route, verdict),
        None if !watch::is_there(&world.nodes.store, &namespace, node) => without_node(node),
        // The node is being judged at this moment, and pokes when it is done; or it cannot be read, and what was said stays.
        None => return Ok(Action::await_change()),
    };
    let written = write(&world, &route, &aspects, verdict.as_ref()).await;
    world.routes.settle(&*route, written)
}

fn without_node(node: &str) -> Vec<Aspect> {
    let message =
        format!("spec.nodeRef: MeshNode {node} does not exist in this namespace: create it, or correct the name");
    vec![
        Aspect::no(ACCEPTED, "NodeNotFound", &message),
        Aspect::unknown(TRUSTED, "NodeNotFound", &message),
        Aspect::unknown(REACHABLE, "NodeNotFound", &message),
        Aspect::no(READY, "NodeNotFound", &message),
        Aspect::no(RECONCILING, "Waiting", "waiting for a change"),
        Aspect::yes(STALLED, "NodeNotFound", message),
    ]
}

fn judged(route: &MeshRoute, verdict: &Verdict) -> Vec<Aspect> {
    let (reason, text) = (verdict.reason(), verdict.text());
    let accepted = if verdict.is_accepted {
        let message = if text.is_empty() { "part of the node's configuration".into() } else { text.clone() };
        Aspect::yes(ACCEPTED, "Accepted", message)
    } else {
        Aspect::no(ACCEPTED, reason, text.clone())
    };
    let ready = ready(route, verdict);
    let (reconciling, stalled) = settled(route, verdict);
    vec![accepted, trusted(verdict), reach::reachable(route, verdict.reach.as_deref()), ready, reconciling, stalled]
}

/// What kstatus reads beside `Ready`: a route that is not ready is either waited for or stalled. With neither, those who wait for
/// it (Helm, Flux) would wait until they give up.
fn settled(route: &MeshRoute, verdict: &Verdict) -> (Aspect, Aspect) {
    let done = Aspect::no(RECONCILING, "Reconciled", "nothing is left to do");
    let still = Aspect::no(STALLED, "Progressing", "nothing is in the way");
    if !verdict.is_accepted {
        return (done, Aspect::yes(STALLED, verdict.reason(), verdict.text()));
    }
    match expired(verdict) {
        _ if route.spec.disabled => (done, still),
        // Nothing but a change of the spec opens it again.
        Some(problem) => (done, Aspect::yes(STALLED, problem.reason(), problem.to_string())),
        None if !verdict.is_written => (Aspect::yes(RECONCILING, "NodeNotReady", NODE_NOT_READY), still),
        None => (done, still),
    }
}

fn expired(verdict: &Verdict) -> Option<&Problem> {
    verdict.problems.iter().find(|p| matches!(p, Problem::Expired { .. }))
}

fn trusted(verdict: &Verdict) -> Aspect {
    let about_roots = |problem: &&Problem| {
        matches!(
            problem,
            Problem::BadRoot { .. } | Problem::MissingReference { object: crate::node::Object::ConfigMap, .. }
        )
    };
    match verdict.problems.iter().find(about_roots) {
        Some(problem) => Aspect::no(TRUSTED, problem.reason(), problem.to_string()),
        None if verdict.is_accepted => {
            // Whoever may write the ConfigMap that a route names decides whom it trusts: people should see when that changes.
            let digits = |root: &String| root.chars().take(TRUSTS_ROOT_DIGITS).collect::<String>();
            let roots: Vec<String> = verdict.roots.iter().map(digits).collect();
            let message = format!("the partner's roots are known and in date{SHA256}{}", roots.join(", "));
            Aspect::yes(TRUSTED, "RootsKnown", message)
        }
        None => Aspect::unknown(TRUSTED, "NotAccepted", "the route is not accepted"),
    }
}

/// Ready never depends on the partner being there. A route that is off as its spec asks is as it should be.
fn ready(route: &MeshRoute, verdict: &Verdict) -> Aspect {
    if !verdict.is_accepted {
        Aspect::no(READY, verdict.reason(), verdict.text())
    } else if route.spec.disabled {
        Aspect::yes(READY, DISABLED, "spec.disabled: the route carries nothing until it is false")
    } else if let Some(problem) = expired(verdict) {
        Aspect::no(READY, problem.reason(), problem.to_string())
    } else if !verdict.is_written {
        Aspect::no(READY, "NodeNotReady", NODE_NOT_READY)
    } else {
        Aspect::yes(READY, "Ready", "part of the node's configuration")
    }
}

/// What is said when a route trusts other roots than it did. People who carry a root over expect it; nobody else should see it.
fn other_roots(old: &[Condition], new: &[Condition]) -> Option<String> {
    let known = |conditions: &[Condition]| {
        let trusted = conditions.iter().find(|c| c.r#type == TRUSTED && c.status == ConditionStatus::True)?;
        trusted.message.split_once(SHA256).map(|(_, roots)| roots.to_owned())
    };
    let (old, new) = (known(old)?, known(new)?);
    (old != new).then(|| format!("the route trusts other roots than it did: {new}; before: {old}"))
}

async fn write(
    world: &World,
    route: &MeshRoute,
    aspects: &[Aspect],
    verdict: Option<&Verdict>,
) -> Result<(), StatusError> {
    let old = route.status.clone().unwrap_or_default();
    let generation = route.meta().generation.unwrap_or_default();
    let now = jiff::Timestamp::now().to_string();
    let conditions = merge(&old.conditions, aspects, generation, &now);
    let reach = verdict.and_then(|verdict| verdict.reach.as_deref());
    let certificates = verdict.map(|verdict| verdict.certificates.as_slice()).unwrap_or_default();
    let addresses = reach::addresses(&route.spec, (reach, certificates), &old.addresses, &now);
    let status = MeshRouteStatus { conditions, observed_generation: generation, addresses };
    report::events(&world.recorder, route, &old.conditions, &status.conditions).await;
    if let Some(note) = other_roots(&old.conditions, &status.conditions) {
        report::warn(&world.recorder, route, "RootsChanged", note).await;
    }
    report::status(&world.client, &world.metrics, route, route.status.as_ref(), &status).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::conditions::kstatus, node::sample};

    fn verdict(problems: Vec<Problem>, is_accepted: bool) -> Verdict {
        Verdict {
            uid: "u".into(),
            generation: 1,
            is_accepted,
            problems,
            is_written: true,
            roots: vec!["0123456789abcdef0123".into(), "fedcba9876543210fedc".into()],
            reach: None,
            certificates: Vec::new(),
        }
    }

    fn status(aspects: &[Aspect], kind: &str) -> (ConditionStatus, String) {
        let found = aspects.iter().find(|a| a.kind == kind).unwrap();
        (found.status, found.reason.clone())
    }

    #[test]
    fn every_aspect_has_a_reason_and_a_message() {
        let route = sample::route("b", "bank-a", "LX2", &[]);
        let refused = Problem::SelfRoute { node_id: "LX2".into() };
        for aspects in
            [judged(&route, &verdict(vec![], true)), judged(&route, &verdict(vec![refused], false)), without_node("n")]
        {
            assert!(aspects.iter().all(|a| !a.reason.is_empty() && !a.message.is_empty()), "{aspects:?}");
        }
    }

    #[test]
    fn a_route_says_which_roots_it_trusts() {
        let aspect = trusted(&verdict(vec![], true));
        assert!(aspect.message.ends_with("; sha256: 0123456789abcdef, fedcba9876543210"), "{}", aspect.message);
        let now = |aspect: &Aspect| merge(&[], std::slice::from_ref(aspect), 1, "t");
        assert_eq!(other_roots(&now(&aspect), &now(&aspect)), None);
        let mut of_before = aspect.clone();
        of_before.message = "the partner's roots are known and in date".into();
        assert_eq!(other_roots(&now(&of_before), &now(&aspect)), None, "an older operator did not say");
        of_before.message = format!("known{SHA256}0000");
        let said = other_roots(&now(&of_before), &now(&aspect)).unwrap();
        assert!(said.ends_with("before: 0000"), "{said}");
    }

    #[test]
    fn a_route_that_waits_for_nobody_is_settled_for_those_who_wait_for_it() {
        let expired = || Problem::Expired { field: "spec.expiresAt".into(), at: "t".into(), remedy: "a later time" };
        let unwritten = |problems| Verdict { is_written: false, ..verdict(problems, true) };
        let off = |is_off| {
            let mut route = sample::route("b", "bank-a", "LX2", &[]);
            route.spec.disabled = is_off;
            route
        };
        for (route, verdict, ready, wanted) in [
            (off(false), verdict(vec![], true), "Ready", "Current"),
            (off(true), verdict(vec![], true), "Disabled", "Current"),
            (off(true), verdict(vec![expired()], true), "Disabled", "Current"),
            (off(true), unwritten(vec![]), "Disabled", "Current"),
            (off(false), verdict(vec![expired()], true), "Expired", "Failed"),
            (off(false), unwritten(vec![expired()]), "Expired", "Failed"),
            (off(false), unwritten(vec![]), "NodeNotReady", "InProgress"),
            (off(false), verdict(vec![Problem::SelfRoute { node_id: "LX2".into() }], false), "SelfRoute", "Failed"),
        ] {
            let aspects = judged(&route, &verdict);
            assert_eq!((status(&aspects, READY).1.as_str(), kstatus(&aspects)), (ready, wanted), "{aspects:?}");
        }
    }

    #[test]
    fn a_refused_route_says_why_in_every_place_that_people_look_at() {
        let route = sample::route("b", "bank-a", "LX2", &[]);
        let aspects = judged(&route, &verdict(vec![Problem::SelfRoute { node_id: "LX2".into() }], false));
        assert_eq!(status(&aspects, ACCEPTED), (ConditionStatus::False, "SelfRoute".into()));
        assert_eq!(status(&aspects, READY), (ConditionStatus::False, "SelfRoute".into()));
        assert_eq!(status(&aspects, STALLED), (ConditionStatus::True, "SelfRoute".into()));
    }
}
