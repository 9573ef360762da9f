//! Step five: what people are told of the node, and the verdicts that its routes and registrations wait for.

use std::{collections::HashMap, time::SystemTime};

use crds::{Expose, MeshNode, MeshNodeStatus, NetworkPolicyMode, READY, RECONCILING, RootCertificate, STALLED};
use kube::ResourceExt;
use mesh_pki::{CertificateInfo, encode_certificate, parse_certificates};

use super::{
    Step, World,
    objects::{Applied, Resources},
};
use crate::{
    cluster::{
        conditions::{Aspect, merge},
        objects::WriteError,
    },
    controllers::{report, verdicts::Verdict, watch, watch::Watched},
    node::{
        Problem,
        build::Built,
        validate::{Judged, Judgement},
    },
};

/// Sections of the spec that this version does not act on yet.
const FEATURES_PENDING: &str = "FeaturesPending";

/// Everything was written.
pub(super) async fn written(
    world: &World,
    node: &MeshNode,
    judgement: &Judgement,
    built: &Built,
    applied: &Resources<Applied>,
) -> Step<()> {
    tell_verdicts(world, node, judgement, Some(built));
    let accepted = judgement.routes.iter().filter(|r| r.accepted.is_some()).count();
    let message = format!("configuration written; {accepted} of {} routes are part of it", judgement.routes.len());
    let mut aspects = vec![
        Aspect::yes(READY, "Ready", message),
        Aspect::no(RECONCILING, "Reconciled", "nothing is left to do"),
        Aspect::no(STALLED, "Progressing", "nothing is in the way"),
    ];
    let remarks: Vec<Problem> = judgement.remarks.iter().cloned().chain(cluster_sections(node)).collect();
    aspects.extend(pending(&remarks));
    let roots = roots(&built.roots_pem).map_err(|error| ("BadRoot", error.to_string()))?;
    write(world, node, &aspects, Some((roots, applied.hash.clone()))).await
}

/// The node itself is refused; nothing was written.
pub(super) async fn refused(world: &World, node: &MeshNode, judgement: &Judgement) -> Step<()> {
    tell_verdicts(world, node, judgement, None);
    let problems = judgement.node.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let reason = problems.first().map_or("Invalid", Problem::reason);
    write(world, node, &stalled(reason, &text(problems)), None).await
}

/// Certificates could not be made.
pub(super) async fn not_built(world: &World, node: &MeshNode, judgement: &Judgement, problem: &Problem) -> Step<()> {
    tell_verdicts(world, node, judgement, None);
    write(world, node, &stalled(problem.reason(), &problem.to_string()), None).await
}

/// This version has no gateway to run the node in.
pub(super) async fn without_gateway(world: &World, node: &MeshNode, judgement: &Judgement) -> Step<()> {
    tell_verdicts(world, node, judgement, None);
    let message = "spec.gateway.enabled: this version runs no gateway yet: set it to false, and run mesh as a sidecar";
    write(world, node, &stalled("GatewayNotSupported", message), None).await
}

/// Something could not be written. Answers the failure for the retry.
pub(super) async fn not_written(
    world: &World,
    node: &MeshNode,
    judgement: &Judgement,
    error: WriteError,
) -> (&'static str, String) {
    tell_verdicts(world, node, judgement, None);
    let (reason, aspects) = match &error {
        WriteError::NameConflict { .. } => ("NameConflict", stalled("NameConflict", &error.to_string())),
        WriteError::Api { .. } => {
            let message = format!("{error}; it is tried again");
            let aspects = vec![
                Aspect::no(READY, "WriteFailed", message.clone()),
                Aspect::yes(RECONCILING, "WriteFailed", message),
                Aspect::no(STALLED, "Progressing", "nothing is in the way"),
            ];
            ("WriteFailed", aspects)
        }
    };
    match write(world, node, &aspects, None).await {
        Ok(()) => (reason, error.to_string()),
        Err(other) => other,
    }
}

fn stalled(reason: &str, message: &str) -> Vec<Aspect> {
    vec![
        Aspect::no(READY, reason, message),
        Aspect::no(RECONCILING, "Waiting", "waiting for a change"),
        Aspect::yes(STALLED, reason, message),
    ]
}

/// Sections that only a cluster knows, and that nothing is written for yet. `render` has no use for them, so they are told of
/// here.
fn cluster_sections(node: &MeshNode) -> impl Iterator<Item = Problem> {
    let managed = node.spec.network_policy == NetworkPolicyMode::Managed;
    let sections = [
        ("spec.expose", node.spec.expose != Expose::default(), "expose the Service by an object of your own"),
        ("spec.networkPolicy: Managed", managed, "write a NetworkPolicy of your own, or say None"),
    ];
    let pending = sections.into_iter().filter(|(_, is_pending, _)| *is_pending);
    pending.map(|(field, _, remedy)| Problem::NotYet { field, remedy })
}

fn pending(remarks: &[Problem]) -> Option<Aspect> {
    let first = remarks.first()?;
    Some(Aspect::yes(FEATURES_PENDING, first.reason(), text(remarks)))
}

fn text(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn roots(pem: &str) -> Result<Vec<RootCertificate>, mesh_pki::PkiError> {
    parse_certificates(pem)?
        .iter()
        .map(|der| {
            let info = CertificateInfo::from_der(der)?;
            Ok(RootCertificate {
                pem: encode_certificate(der),
                sha256: info.sha256,
                not_after: rfc3339(info.not_after),
            })
        })
        .collect()
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|t| t.to_string()).unwrap_or_default()
}

/// Roots and hash are those of the last configuration that was written, also while a newer one cannot be.
async fn write(
    world: &World,
    node: &MeshNode,
    aspects: &[Aspect],
    news: Option<(Vec<RootCertificate>, String)>,
) -> Step<()> {
    let old = node.status.clone().unwrap_or_default();
    let generation = node.metadata.generation.unwrap_or_default();
    let conditions = merge(&old.conditions, aspects, generation, &jiff::Timestamp::now().to_string());
    let (root_certificates, config_hash) =
        news.map_or((old.root_certificates.clone(), old.config_hash.clone()), |(roots, hash)| (roots, Some(hash)));
    let status = MeshNodeStatus {
        conditions,
        observed_generation: generation,
        root_certificates,
        config_hash,
        sidecars: old.sidecars,
    };
    report::events(&world.recorder, node, &old.conditions, &status.conditions).await;
    let written = report::status(&world.client, &world.metrics, node, node.status.as_ref(), &status).await;
    written.map_err(|error| (error.reason(), error.to_string()))
}

/// Keeps the verdicts, and has those looked at for whom something changed.
fn tell_verdicts(world: &World, node: &MeshNode, judgement: &Judgement, built: Option<&Built>) {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let routes = verdicts(&judgement.routes, built.map(|b| &*b.left_out.routes), built.is_some(), |route| {
        watch::get(&world.routes.store, &namespace, route).map(|r| identity(&*r))
    });
    for route in world.route_verdicts.put(&namespace, &name, routes) {
        world.routes.poke(&namespace, &route);
    }
    let no_room = built.map(|b| &*b.left_out.registrations);
    let registrations = verdicts(&judgement.registrations, no_room, built.is_some(), |registration| {
        watch::get(&world.registrations.store, &namespace, registration).map(|r| identity(&*r))
    });
    for registration in world.registration_verdicts.put(&namespace, &name, registrations) {
        world.registrations.poke(&namespace, &registration);
    }
}

fn verdicts<T>(
    judged: &[Judged<T>],
    left_out: Option<&[(String, Problem)]>,
    is_written: bool,
    identity: impl Fn(&str) -> Option<(String, i64)>,
) -> HashMap<String, Verdict> {
    let verdict = |one: &Judged<T>| {
        let (uid, generation) = identity(&one.name)?;
        let no_room =
            left_out.unwrap_or_default().iter().find(|(name, _)| *name == one.name).map(|(_, problem)| problem);
        let problems = one.problems.iter().chain(no_room).cloned().collect();
        let is_accepted = one.accepted.is_some() && no_room.is_none();
        Some((one.name.clone(), Verdict { uid, generation, is_accepted, problems, is_written }))
    };
    judged.iter().filter_map(verdict).collect()
}

fn identity<K: Watched>(object: &K) -> (String, i64) {
    (object.uid().unwrap_or_default(), object.meta().generation.unwrap_or_default())
}
