//! `ServiceRegistration`: turns the node's verdict about it into its own status and Events.

use std::sync::Arc;

use crds::{ACCEPTED, READY, RECONCILING, STALLED, ServiceRegistration, ServiceRegistrationStatus};
use kube::{Resource, ResourceExt, runtime::controller::Action};

use super::{
    failure::Failure,
    report::{self, StatusError},
    verdicts::Verdict,
    watch,
    world::World,
};
use crate::cluster::conditions::{Aspect, merge};

const NODE_NOT_READY: &str = "the node's configuration is not written: kubectl describe meshnode says why";

/// Writes the status of one registration.
///
/// # Errors
/// A status that the API server does not take.
pub(crate) async fn reconcile(world: Arc<World>, registration: Arc<ServiceRegistration>) -> Result<Action, Failure> {
    let (namespace, node) = (registration.namespace().unwrap_or_default(), &registration.spec.node_ref.name);
    let verdict = world.registration_verdicts.get(&namespace, node, &registration.name_any());
    let aspects = match verdict.filter(|v| v.is_of(&*registration)) {
        Some(verdict) => judged(&verdict),
        None if !watch::is_there(&world.nodes.store, &namespace, node) => refused(
            "NodeNotFound",
            &format!("spec.nodeRef: MeshNode {node} does not exist in this namespace: create it, or correct the name"),
        ),
        // The node is being judged at this moment, and pokes when it is done; or it cannot be read, and what was said stays.
        None => return Ok(Action::await_change()),
    };
    let written = write(&world, &registration, &aspects).await;
    world.registrations.settle(&*registration, written)
}

fn judged(verdict: &Verdict) -> Vec<Aspect> {
    if !verdict.is_accepted {
        return refused(verdict.reason(), &verdict.text());
    }
    let part = "part of the node's configuration";
    let (ready, reconciling) = if verdict.is_written {
        (Aspect::yes(READY, "Ready", part), Aspect::no(RECONCILING, "Reconciled", "nothing is left to do"))
    } else {
        (Aspect::no(READY, "NodeNotReady", NODE_NOT_READY), Aspect::yes(RECONCILING, "NodeNotReady", NODE_NOT_READY))
    };
    let accepted = if verdict.is_written { part } else { "valid: part of what is written for the node next" };
    vec![
        Aspect::yes(ACCEPTED, "Accepted", accepted),
        ready,
        reconciling,
        Aspect::no(STALLED, "Progressing", "nothing is in the way"),
    ]
}

fn refused(reason: &str, message: &str) -> Vec<Aspect> {
    vec![
        Aspect::no(ACCEPTED, reason, message),
        Aspect::no(READY, reason, message),
        Aspect::no(RECONCILING, "Waiting", "waiting for a change"),
        Aspect::yes(STALLED, reason, message),
    ]
}

async fn write(world: &World, registration: &ServiceRegistration, aspects: &[Aspect]) -> Result<(), StatusError> {
    let old = registration.status.clone().unwrap_or_default();
    let generation = registration.meta().generation.unwrap_or_default();
    let conditions = merge(&old.conditions, aspects, generation, &jiff::Timestamp::now().to_string());
    let status = ServiceRegistrationStatus { conditions, observed_generation: generation };
    report::events(&world.recorder, registration, &old.conditions, &status.conditions).await;
    report::status(&world.client, &world.metrics, registration, registration.status.as_ref(), &status).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::conditions::kstatus, node::Problem};

    fn verdict(problems: Vec<Problem>, is_accepted: bool, is_written: bool) -> Verdict {
        let (uid, generation, roots, certificates) = ("u".into(), 1, Vec::new(), Vec::new());
        Verdict { uid, generation, is_accepted, problems, is_written, roots, reach: None, certificates }
    }

    #[test]
    fn only_what_settles_by_itself_is_in_progress_for_those_who_wait() {
        let bad = || vec![Problem::SelfRoute { node_id: "LX1".into() }];
        for (aspects, ready, wanted) in [
            (judged(&verdict(vec![], true, true)), "Ready", "Current"),
            (judged(&verdict(vec![], true, false)), "NodeNotReady", "InProgress"),
            (judged(&verdict(bad(), false, true)), "SelfRoute", "Failed"),
            (judged(&verdict(bad(), false, false)), "SelfRoute", "Failed"),
            (refused("NodeNotFound", "no node"), "NodeNotFound", "Failed"),
        ] {
            let of = |kind: &str| aspects.iter().find(|aspect| aspect.kind == kind).unwrap();
            assert_eq!((of(READY).reason.as_str(), kstatus(&aspects)), (ready, wanted), "{aspects:?}");
            assert!(aspects.iter().all(|a| !a.reason.is_empty() && !a.message.is_empty()), "{aspects:?}");
        }
        let unwritten = judged(&verdict(vec![], true, false));
        assert!(!unwritten[0].message.starts_with("part of"), "{unwritten:?}");
    }
}
