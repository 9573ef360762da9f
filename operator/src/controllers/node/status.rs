//! Step five: what people are told of the node, and the verdicts that its routes and registrations wait for.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use crds::{ConditionStatus, MeshNode, MeshNodeStatus, READY, RECONCILING, RootCertificate, STALLED, intake::Report};
use kube::{Api, ResourceExt};
use mesh_pki::{CertificateInfo, Pair, encode_certificate, parse_certificates};

use super::{
    Step, World, backplane, certificate, gateway,
    in_force::{self, Settled},
    objects::{Applied, Planned, Resources, keeps_other_claims},
    role, rooms,
    seen::Seen,
    unfetched,
};
use crate::{
    cluster::{
        conditions::{Aspect, merge},
        objects::WriteError,
    },
    controllers::{
        report,
        sidecars::{Reports, Running},
        verdicts::Verdict,
    },
    node::{
        Problem,
        build::Built,
        roll::{Pending, TRUSTS_ROOT, TRUSTS_ROOT_DIGITS},
        validate::{Judged, Judgement},
    },
};

/// Sections of the spec that this version does not act on yet.
pub(super) const FEATURES_PENDING: &str = "FeaturesPending";

/// Where `spec.expose.tlsRoute` is given: whether the TLSRoute was written.
const TLS_ROUTE_WRITTEN: &str = "TlsRouteWritten";
/// Without a gateway: whether the node is one process, which is all that can be told when it is not.
const STATE_SHARED: &str = "StateShared";
/// The gateway's claim is another one than the spec asks for now.
pub(super) const STORAGE_KEPT: &str = "StorageKept";

/// A root took over, and not every partner is known to trust it.
pub(super) const ROOT_ROLL_PENDING: &str = "RootRollPending";
/// A sentence with more names than these is not read.
const ROUTES_NAMED: usize = 20;

/// Everything was written. Answers when pods have had the time to follow, where some have not.
pub(super) async fn written(
    world: &World,
    node: &MeshNode,
    (seen, now): (&Seen, SystemTime),
    judgement: &Judgement,
    built: &Built,
    applied: &Resources<Applied>,
) -> Step<Option<Duration>> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let pods = if takes_reports(world) { world.sidecars.running(&namespace, &name) } else { Vec::new() };
    tell_verdicts(world, node, judgement, Some(built), reporter(node, &pods));
    let accepted = judgement.routes.iter().filter(|r| r.accepted.is_some()).count();
    let message = format!("configuration written; {accepted} of {} routes are part of it", judgement.routes.len());
    let gateway = node.spec.gateway.enabled.then(|| gateway::ready(seen));
    let certificate = certificate::aspects(&built.leaf.pair, &judgement.remarks, now);
    let mut aspects = summary(certificate::refused_by_all(&certificate), gateway.as_ref(), message);
    aspects.extend(gateway);
    aspects.extend(applied.gateway.as_deref().and_then(|gateway| match &gateway.set {
        Planned::Later(aspect) => Some(aspect.clone()),
        Planned::Now(_) => None,
    }));
    aspects.extend(certificate);
    aspects.extend(running(node, seen));
    aspects.extend(role::stale(node.spec.gateway.enabled, &world.sidecars.running(&namespace, &name)));
    aspects.extend(built.roll.as_ref().map(roll_pending));
    aspects.extend(rooms::aspects(&node.spec, reporter(node, &pods)));
    aspects.extend(backplane::aspect(&node.spec, &pods));
    aspects.extend(pending(&judgement.remarks));
    let left = world.written.left(&namespace, &name, &applied.hash, Instant::now());
    let settled = if left.is_some() { Settled::NotYet } else { Settled::Yes };
    let old = node.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let in_force = in_force::judge(&applied.hash, &pods, settled, old);
    // A look when their time is over is needed only while somebody is behind.
    let is_everywhere = in_force.as_ref().is_none_or(|aspect| aspect.reason == in_force::EVERYWHERE);
    let is_everywhere =
        is_everywhere && pods.iter().all(|pod| pod.report.as_ref().is_none_or(|r| r.config_hash == applied.hash));
    aspects.extend(in_force);
    let roots = roots(&built.roots_pem).map_err(|error| ("BadRoot", error.to_string()))?;
    write(world, node, &aspects, Some((roots, applied.hash.clone()))).await?;
    Ok(left.filter(|_| !is_everywhere))
}

fn takes_reports(world: &World) -> bool {
    world.operator.intake.borrow().is_some()
}

/// Whose word about the partners counts: the gateway's or, without one, that of the lone sidecar.
fn reporter<'r>(node: &MeshNode, pods: &'r [Running]) -> Option<&'r Report> {
    let speaking = pods.iter().filter(|pod| pod.is_gateway == node.spec.gateway.enabled && pod.is_ready);
    speaking.filter_map(|pod| pod.report.as_ref()).next()
}

/// A node with a gateway is ready when that serves: what is written alone carries no call. None is that no partner takes.
fn summary(refused: Option<&Aspect>, gateway: Option<&Aspect>, written: String) -> Vec<Aspect> {
    if let Some(refused) = refused {
        return stalled(&refused.reason, &refused.message);
    }
    let still = Aspect::no(STALLED, "Progressing", "nothing is in the way");
    match gateway {
        Some(gateway) if gateway.status != ConditionStatus::True => vec![
            Aspect { kind: READY, ..gateway.clone() },
            Aspect::yes(
                RECONCILING,
                "GatewayNotReady",
                "the configuration is written; the gateway is not ready: condition GatewayReady says why",
            ),
            still,
        ],
        _ => vec![
            Aspect::yes(READY, "Ready", written),
            Aspect::no(RECONCILING, "Reconciled", "nothing is left to do"),
            still,
        ],
    }
}

/// What people do about it: carry the root over, and say so on the route.
fn roll_pending(pending: &Pending) -> Aspect {
    let Pending { sha256, waiting } = pending;
    let named = waiting.iter().take(ROUTES_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = waiting.len().saturating_sub(ROUTES_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!(
        "root {sha256} took over, and the last one stays beside it for the partners of the routes {named}{more}: give each of them the new ConfigMap <name>-root, and when it trusts it say so: kubectl annotate meshroute NAME {TRUSTS_ROOT}={}",
        &sha256[..TRUSTS_ROOT_DIGITS.min(sha256.len())]
    );
    Aspect::yes(ROOT_ROLL_PENDING, "PartnersToFollow", message)
}

/// What people should know of that which runs, beside the gateway itself.
fn running(node: &MeshNode, seen: &Seen) -> Vec<Aspect> {
    let shared = (seen.lone > 1).then(|| {
        let message = format!(
            "{} pods run as this node, each with queues and registrations of its own: set spec.gateway.enabled to true, or run one",
            seen.lone
        );
        Aspect::no(STATE_SHARED, "SeveralSidecars", message)
    });
    let route = node.spec.expose.tls_route.is_some().then(|| match seen.tls_route_version {
        Some(_) => Aspect::yes(
            TLS_ROUTE_WRITTEN,
            "Written",
            "the TLSRoute leads to the Service; its own status says which Gateways take it",
        ),
        None => Aspect::no(
            TLS_ROUTE_WRITTEN,
            "NoGatewayApi",
            "spec.expose.tlsRoute: the cluster serves no TLSRoute of gateway.networking.k8s.io: install the Gateway API with it, or expose the node by spec.expose.service",
        ),
    });
    let kept = seen.set.as_ref().filter(|set| keeps_other_claims(node, set)).map(|_| {
        Aspect::yes(
            STORAGE_KEPT,
            "Immutable",
            "spec.gateway.storage differs from what the gateway has, and Kubernetes changes no claim of a StatefulSet: enlarge the PersistentVolumeClaim itself where its class allows, or delete the StatefulSet (kubectl delete --cascade=orphan keeps the pod and its claim) to have it made anew",
        )
    });
    shared.into_iter().chain(route).chain(kept).collect()
}

/// What serves on while nothing new is written.
pub(super) struct Standing<'s> {
    pub(super) seen: &'s Seen,
    /// The leaf that was written last.
    pub(super) leaf: Option<&'s Pair>,
    pub(super) now: SystemTime,
}

impl Standing<'_> {
    /// People need to know of it all the more.
    fn aspects(&self, node: &MeshNode) -> Vec<Aspect> {
        let gateway = self.seen.set.is_some().then(|| gateway::ready(self.seen));
        let certificate = self.leaf.map(|leaf| certificate::aspects(leaf, &[], self.now)).unwrap_or_default();
        gateway.into_iter().chain(certificate).chain(running(node, self.seen)).collect()
    }
}

/// Another operator looks after the node; nothing was looked at.
pub(super) async fn held_by_another(world: &World, node: &MeshNode, problem: &Problem) -> Step<()> {
    write(world, node, &stalled(problem.reason(), &problem.to_string()), None).await
}

/// The node itself is refused; nothing was written.
pub(super) async fn refused(
    world: &World,
    node: &MeshNode,
    standing: &Standing<'_>,
    judgement: &Judgement,
) -> Step<()> {
    tell_verdicts(world, node, judgement, None, None);
    let problems = judgement.node.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let reason = problems.first().map_or("Invalid", Problem::reason);
    let mut aspects = stalled(reason, &text(problems));
    aspects.extend(standing.aspects(node));
    write(world, node, &aspects, None).await
}

/// Certificates could not be made.
pub(super) async fn not_built(
    world: &World,
    node: &MeshNode,
    standing: &Standing<'_>,
    judgement: &Judgement,
    problem: &Problem,
) -> Step<()> {
    tell_verdicts(world, node, judgement, None, None);
    let mut aspects = stalled(problem.reason(), &problem.to_string());
    aspects.extend(standing.aspects(node));
    write(world, node, &aspects, None).await
}

/// Something could not be written. Answers the failure for the retry.
pub(super) async fn not_written(
    world: &World,
    node: &MeshNode,
    standing: &Standing<'_>,
    judgement: &Judgement,
    error: WriteError,
) -> (&'static str, String) {
    tell_verdicts(world, node, judgement, None, None);
    let (reason, mut aspects) = unwritten(&error);
    aspects.extend(standing.aspects(node));
    match write(world, node, &aspects, None).await {
        Ok(()) => (reason, error.to_string()),
        Err(other) => other,
    }
}

fn unwritten(error: &WriteError) -> (&'static str, Vec<Aspect>) {
    match error {
        WriteError::NameConflict { .. } => ("NameConflict", stalled("NameConflict", &error.to_string())),
        WriteError::Api { .. } | WriteError::Overtaken { .. } => {
            let message = format!("{error}; it is tried again");
            let aspects = vec![
                Aspect::no(READY, "WriteFailed", message.clone()),
                Aspect::yes(RECONCILING, "WriteFailed", message),
                Aspect::no(STALLED, "Progressing", "nothing is in the way"),
            ];
            ("WriteFailed", aspects)
        }
    }
}

fn stalled(reason: &str, message: &str) -> Vec<Aspect> {
    vec![
        Aspect::no(READY, reason, message),
        Aspect::no(RECONCILING, "Waiting", "waiting for a change"),
        Aspect::yes(STALLED, reason, message),
    ]
}

fn pending(remarks: &[Problem]) -> Option<Aspect> {
    let features: Vec<Problem> = remarks.iter().filter(|p| matches!(p, Problem::NotYet { .. })).cloned().collect();
    let first = features.first()?;
    Some(Aspect::yes(FEATURES_PENDING, first.reason(), text(&features)))
}

pub(super) fn text(problems: &[Problem]) -> String {
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

pub(super) fn rfc3339(time: SystemTime) -> String {
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
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let (root_certificates, config_hash) = match news {
        Some((roots, hash)) => (roots, Some(hash)),
        None => last(world, &namespace, &name).await?,
    };
    let reports = if takes_reports(world) { Reports::Taken } else { Reports::Untaken };
    let sidecars = world.sidecars.count(&namespace, &name, config_hash.as_deref(), reports).or(old.sidecars);
    let running = world.sidecars.running(&namespace, &name);
    let report = reporter(node, &running);
    let applied_config_hash = report.map(|report| report.config_hash.clone());
    // What was told stays while the gateway starts anew.
    let (tunnel, directory) = match report {
        Some(report) => (report.tunnel.clone(), report.directory.clone()),
        None => (old.tunnel, old.directory),
    };
    let status = MeshNodeStatus {
        conditions,
        observed_generation: generation,
        root_certificates,
        config_hash,
        applied_config_hash,
        sidecars,
        tunnel: tunnel.filter(|_| node.spec.tunnel.is_some()),
        directory: directory.filter(|_| node.spec.directory.is_some()),
    };
    world.metrics.nodes.said(&namespace, &name, &status.conditions);
    report::events(&world.recorder, node, &old.conditions, &status.conditions).await;
    let written = report::status(&world.client, &world.metrics, node, node.status.as_ref(), &status).await;
    written.map_err(|error| (error.reason(), error.to_string()))
}

/// Roots and hash as they were told last. The store may be a moment behind what this process wrote itself, and what partners were given
/// must not be forgotten over that.
async fn last(world: &World, namespace: &str, name: &str) -> Step<(Vec<RootCertificate>, Option<String>)> {
    let nodes: Api<MeshNode> = Api::namespaced(world.client.clone(), namespace);
    let now = nodes.get_opt(name).await;
    let now = now.map_err(|error| unfetched("the node's status cannot be read", &error))?;
    let status = now.and_then(|node| node.status).unwrap_or_default();
    Ok((status.root_certificates, status.config_hash))
}

/// Keeps the verdicts, and has those looked at for whom something changed.
fn tell_verdicts(
    world: &World,
    node: &MeshNode,
    judgement: &Judgement,
    built: Option<&Built>,
    report: Option<&Report>,
) {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let mut routes = verdicts(&judgement.routes, built.map(|b| &*b.left_out.routes), built.is_some());
    for route in &judgement.routes {
        if let (Some(verdict), Some(accepted)) = (routes.get_mut(&route.name), &route.accepted) {
            verdict.roots = accepted.roots.iter().map(|root| root.sha256.clone()).collect();
        }
    }
    for (route, verdict) in &mut routes {
        verdict.reach = report.and_then(|report| report.routes.get(route)).cloned();
        verdict.certificates = report.and_then(|report| report.certificates.get(route)).cloned().unwrap_or_default();
    }
    for route in world.route_verdicts.put(&namespace, &name, routes) {
        world.routes.poke(&namespace, &route);
    }
    let no_room = built.map(|b| &*b.left_out.registrations);
    let registrations = verdicts(&judgement.registrations, no_room, built.is_some());
    for registration in world.registration_verdicts.put(&namespace, &name, registrations) {
        world.registrations.poke(&namespace, &registration);
    }
}

fn verdicts<T>(
    judged: &[Judged<T>],
    left_out: Option<&[(String, Problem)]>,
    is_written: bool,
) -> HashMap<String, Verdict> {
    let verdict = |one: &Judged<T>| {
        let (uid, generation) = one.of.clone();
        let no_room =
            left_out.unwrap_or_default().iter().find(|(name, _)| *name == one.name).map(|(_, problem)| problem);
        let problems = one.problems.iter().chain(no_room).cloned().collect();
        let is_accepted = one.accepted.is_some() && no_room.is_none();
        (
            one.name.clone(),
            Verdict {
                uid,
                generation,
                is_accepted,
                problems,
                is_written,
                roots: Vec::new(),
                reach: None,
                certificates: Vec::new(),
            },
        )
    };
    judged.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::conditions::kstatus;

    #[test]
    fn only_what_settles_by_itself_is_in_progress_for_those_who_wait() {
        let gateway = |status| Aspect { status, ..Aspect::yes("GatewayReady", "G", "as it is") };
        let (serves, starts, fails) =
            (gateway(ConditionStatus::True), gateway(ConditionStatus::Unknown), gateway(ConditionStatus::False));
        let refused = Aspect::no("CertificateValid", "Expired", "nobody takes it");
        let with = |refused, gateway| summary(refused, gateway, "written".into());
        let overtaken = WriteError::Overtaken { kind: "Secret".into(), name: "s".into() };
        let taken = WriteError::NameConflict { kind: "Secret".into(), name: "s".into() };
        for (what, aspects, ready, wanted) in [
            ("it serves", with(None, Some(&serves)), "Ready", "Current"),
            ("it needs no gateway", with(None, None), "Ready", "Current"),
            ("its gateway starts", with(None, Some(&starts)), "G", "InProgress"),
            (
                "its gateway has trouble, which a volume or a machine may end",
                with(None, Some(&fails)),
                "G",
                "InProgress",
            ),
            ("no partner takes its certificate", with(Some(&refused), Some(&serves)), "Expired", "Failed"),
            ("and its gateway starts", with(Some(&refused), Some(&starts)), "Expired", "Failed"),
            ("it is refused", stalled("Invalid", "spec"), "Invalid", "Failed"),
            ("a write is tried again", unwritten(&overtaken).1, "WriteFailed", "InProgress"),
            ("its name is taken", unwritten(&taken).1, "NameConflict", "Failed"),
        ] {
            let of = |kind: &str| aspects.iter().find(|aspect| aspect.kind == kind).unwrap();
            assert_eq!((of(READY).reason.as_str(), kstatus(&aspects)), (ready, wanted), "{what}: {aspects:?}");
            assert!(aspects.iter().all(|a| !a.reason.is_empty() && !a.message.is_empty()), "{what}: {aspects:?}");
        }
    }
}
