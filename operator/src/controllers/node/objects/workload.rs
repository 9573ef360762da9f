//! What the gateway runs in: a StatefulSet, a claim for each pod, and a service account that may do nothing.
//!
//! Of the node's spec stand in the pod's template `transport.totalBytes`, as the room that its memory needs, and what is said
//! of the pod itself: any other change reaches the running gateway by its volume. A template that is the same starts no rollout.

use std::collections::BTreeMap;

use crds::{
    DeletionPolicy, GatewayPod, GatewayStorage, JOIN_CA, MeshNode, REGISTER_CA, StorageMode, Tunnel, TunnelLimits,
    TunnelMode, is_of_backplane,
};
use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            LocalObjectReference, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodSpec,
            PodTemplateSpec, SeccompProfile, ServiceAccount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};
use kube::{ResourceExt, api::ObjectMeta};
use sha2::{Digest, Sha256};

use super::{
    super::{
        seen::Seen,
        turn::{self, BEGAN, BROUGHT, brought, image_of},
    },
    Operator, labels_of, metadata, placement, ports,
};
use crate::{
    cluster::difference::is_contained,
    node::{
        build::{Built, hex},
        names::main_name,
        pod::{HOME_VOLUME, Image, Mesh, Role, USER, labels, port, whole_mebibytes},
    },
};

/// 4 s of serving on, 20 s for calls under way, 20 s to write unread messages down (`docs/operations.md`), and a margin:
/// who is killed sooner loses messages.
const GRACE_SECONDS: i64 = 60;

/// The account that the gateway's token speaks for. No Role names it.
pub(super) fn service_account(node: &MeshNode) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(node, main_name(&node.name_any())),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The StatefulSet. Kubernetes refuses to change the claims of one that is there, so those that were seen stay.
pub(super) fn stateful_set(node: &MeshNode, operator: Operator<'_>, seen: &Seen, built: &Built) -> StatefulSet {
    let name = node.name_any();
    let claims = seen.set.as_ref().map_or_else(|| wanted_claims(node), |set| claims_of(set).to_vec());
    let mut metadata = metadata(node, main_name(&name));
    let brought = brought(operator.image, operator.gateways);
    let began = turn::began(node, seen, &brought).map(|at| (BEGAN.to_owned(), at));
    metadata.annotations = Some([(BROUGHT.to_owned(), brought)].into_iter().chain(began).collect());
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(node.spec.gateway.replicas.into()),
            service_name: Some(main_name(&name)),
            selector: LabelSelector { match_labels: Some(labels(&name, Role::Gateway)), match_expressions: None },
            // In order, a pod that never becomes ready would never be replaced, not even by a better one
            // (kubernetes/kubernetes#67250).
            pod_management_policy: Some("Parallel".into()),
            template: template(node, operator, built, claims.is_empty()),
            persistent_volume_claim_retention_policy: (!claims.is_empty()).then(|| kept_claims(node)),
            volume_claim_templates: Some(claims).filter(|claims| !claims.is_empty()),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// Whether the StatefulSet that is there keeps other claims than `spec.gateway.storage` asks for now.
pub(crate) fn keeps_other_claims(node: &MeshNode, existing: &StatefulSet) -> bool {
    let value = |claims: &[PersistentVolumeClaim]| serde_json::to_value(claims).unwrap_or_default();
    !is_contained(&value(&wanted_claims(node)), &value(claims_of(existing)))
}

/// What becomes of claims when their node goes. Fewer gateways take none away: a number that is set too low by mistake loses nothing.
fn kept_claims(node: &MeshNode) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match node.spec.gateway.storage.deletion_policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.into()),
        when_scaled: Some("Retain".into()),
    }
}

fn claims_of(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    let claims = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref());
    claims.unwrap_or_default()
}

fn template(node: &MeshNode, operator: Operator<'_>, built: &Built, is_ephemeral: bool) -> PodTemplateSpec {
    let (name, gateway) = (node.name_any(), &node.spec.gateway);
    let (image, resources) = (image_of(node, operator.image), operator.gateways.resources_of(gateway));
    let mesh = Mesh {
        node: &name,
        role: Role::Gateway,
        image: &image,
        queues: node.spec.transport.total_bytes,
        resources: Some(&resources),
    };
    let said = operator.gateways.pod_of(gateway);
    // Ours last: the API refuses keys of ours, and what an older one took must not stand either.
    let mut labels: BTreeMap<_, _> = said.labels.clone();
    labels.extend(self::labels(&name, Role::Gateway).into_iter().chain(not_for_other_meshes()));
    let mut annotations = said.annotations.clone();
    annotations.insert("linkerd.io/inject".into(), "disabled".into());
    annotations.extend(starts_with(node, built).map(|sum| (STARTS_WITH.to_owned(), sum)));
    annotations.extend(joins_with(node, built).map(|sum| (JOINS_WITH.to_owned(), sum)));
    let mut container = mesh.container();
    if node.spec.tunnel.is_some() {
        container.ports.get_or_insert_default().extend(ports::tunnel().map(|(name, number)| port(name, number)));
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            service_account_name: Some(main_name(&name)),
            automount_service_account_token: Some(false),
            // They would be variables that begin with MESH_, as ours do.
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                fs_group: Some(USER),
                fs_group_change_policy: Some("OnRootMismatch".into()),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            containers: vec![container],
            volumes: Some(mesh.volumes().into_iter().chain(is_ephemeral.then(Mesh::scratch)).collect()),
            image_pull_secrets: some(pull_secrets(&image, &said)),
            node_selector: Some(said.node_selector.clone()).filter(|labels| !labels.is_empty()),
            tolerations: some(said.tolerations.iter().map(placement::toleration).collect()),
            affinity: said.affinity.as_ref().map(placement::affinity),
            topology_spread_constraints: some(placement::spread(
                &name,
                gateway.replicas,
                &said.topology_spread_constraints,
            )),
            priority_class_name: said.priority_class_name,
            ..PodSpec::default()
        }),
    }
}

/// The sum of what a gateway reads at its start alone: the tunnel's network, address and authorities. Another one starts it anew.
const STARTS_WITH: &str = "interconn.dev/tunnel";

fn starts_with(node: &MeshNode, built: &Built) -> Option<String> {
    let tunnel = node.spec.tunnel.clone()?;
    // These are followed while it runs.
    let fixed = Tunnel {
        forwards: Vec::new(),
        policy: Vec::new(),
        routes: Vec::new(),
        interconnection: false,
        mode: TunnelMode::default(),
        limits: TunnelLimits::default(),
        register_ca_secret_ref: None,
        join_ca_secret_ref: None,
        ..tunnel
    };
    let mut sum = Sha256::new_with_prefix(serde_json::to_vec(&fixed).unwrap_or_default());
    for (certificate, _) in [REGISTER_CA, JOIN_CA] {
        sum.update(built.files.get(certificate).unwrap_or_default());
    }
    Some(hex(&sum.finalize()))
}

/// The sum of what joins the gateways, which is read at their start alone: other servers, or renewed credentials, start them anew.
const JOINS_WITH: &str = "interconn.dev/backplane";

fn joins_with(node: &MeshNode, built: &Built) -> Option<String> {
    let backplane = node.spec.backplane.as_ref()?;
    let mut sum = Sha256::new_with_prefix(serde_json::to_vec(backplane).unwrap_or_default());
    for (file, bytes) in built.files.iter().filter(|(file, _)| is_of_backplane(file)) {
        sum.update(Sha256::digest(file));
        sum.update(Sha256::digest(bytes));
    }
    Some(hex(&sum.finalize()))
}

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// Those that the operator names for all, then the node's own; each once, as Kubernetes has them.
fn pull_secrets(image: &Image, said: &GatewayPod) -> Vec<LocalObjectReference> {
    let mut names: Vec<&str> = Vec::new();
    for name in image.named_secrets().chain(said.image_pull_secrets.iter().map(|secret| secret.name.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| LocalObjectReference { name: name.into() }).collect()
}

/// It speaks TLS to partners by itself; a proxy in front of it would take the handshake apart.
fn not_for_other_meshes() -> BTreeMap<String, String> {
    [("sidecar.istio.io/inject".into(), "false".into())].into()
}

fn wanted_claims(node: &MeshNode) -> Vec<PersistentVolumeClaim> {
    let storage = &node.spec.gateway.storage;
    match storage.mode {
        StorageMode::Persistent => vec![claim(node, storage)],
        StorageMode::Ephemeral => Vec::new(),
    }
}

/// It stays when the node goes: unread messages are nobody's to throw away but the user's. The label finds it.
fn claim(node: &MeshNode, storage: &GatewayStorage) -> PersistentVolumeClaim {
    let size = Quantity(whole_mebibytes(storage.size.bytes()).to_string());
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(HOME_VOLUME.into()), labels: Some(labels_of(node)), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".into(), size)].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
