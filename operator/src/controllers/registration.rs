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
    let ready = if verdict.is_written {
        Aspect::yes(READY, "Ready", "part of the node's configuration")
    } else {
        Aspect::no(READY, "NodeNotReady", "the node's configuration is not written: kubectl describe meshnode says why")
    };
    vec![
        Aspect::yes(ACCEPTED, "Accepted", "part of the node's configuration"),
        ready,
        Aspect::no(RECONCILING, "Reconciled", "nothing is left to do"),
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
