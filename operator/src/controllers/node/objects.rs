//! The objects of a node, from its files: pure, complete, and the same bytes for the same input.

mod budget;
mod placement;
mod policy;
mod ports;
mod service;
mod workload;

use std::{collections::BTreeMap, marker::PhantomData};

use crds::{
    MeshNode, NODE_LABEL, NetworkPolicyMode,
    snapshot::{CA_CRT, TLS_CRT, TLS_KEY},
};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{ResourceExt, api::ObjectMeta, core::DynamicObject};

use super::{
    holder::{LEASE, OPERATOR},
    kept_rooms_name, member_root_name, owner, root_name,
    seen::Seen,
};
pub(super) use crate::cluster::objects::{MANAGED_BY, US};
use crate::{
    cluster::conditions::Aspect,
    node::{
        Issued,
        build::{Built, Place},
        names::{leaf_name, main_name, member_name, part_name, public_root_name},
        pod::{GatewayDefaults, Image},
        validate::Judgement,
    },
};

pub(crate) use service::tls_route_kind;
pub(super) use service::{GATEWAY_API, TLS_ROUTE};
pub(super) use workload::keeps_other_claims;

/// On an issued root: the namespace of its node. [`NODE_LABEL`] has the name.
const NODE_NAMESPACE_LABEL: &str = "interconn.dev/node-namespace";
/// In the Secret of an issued root: the roots that it took over from.
pub(super) const RETIRED_CRT: &str = "retired.crt";
/// In the same Secret: the value of the annotation that led to this root.
pub(super) const ROLLED: &str = "rolled";

/// Not written yet.
pub(super) struct Prepared;
/// Written.
pub(super) struct Applied;

/// What the operator is itself, as far as objects show it.
#[derive(Clone, Copy)]
pub(super) struct Operator<'o> {
    /// Where roots are kept.
    pub(super) namespace: &'o str,
    /// What its leader holds.
    pub(super) lease: &'o str,
    /// What gateways run.
    pub(super) image: &'o Image,
    /// What their pods are like where the node does not say.
    pub(super) gateways: &'o GatewayDefaults,
}

/// Everything that is written for a node. Only `apply` turns prepared into applied, and it takes the struct apart without
/// a rest, so that a kind that is added here does not compile until somebody writes it.
pub(super) struct Resources<State> {
    pub(super) node: (String, String),
    /// Roots, and keys of rooms, that were made now.
    pub(super) new_roots: Vec<Secret>,
    /// The pairs of the node and of its members.
    pub(super) pairs: Vec<Secret>,
    pub(super) parts: Vec<ConfigMap>,
    pub(super) main: ConfigMap,
    pub(super) public_root: ConfigMap,
    pub(super) service: Service,
    /// `None`: there must be none.
    pub(super) gateway: Option<Box<Gateway>>,
    /// `None`: there must be none. Its policy stands or falls with the gateway.
    pub(super) policy: Option<NetworkPolicy>,
    /// `None`: there must be none.
    pub(super) budget: Option<PodDisruptionBudget>,
    pub(super) tls_route: Exposed,
    pub(super) owner: OwnerReference,
    pub(super) hash: String,
    pub(super) state: PhantomData<State>,
}

/// What the gateway runs in.
pub(super) struct Gateway {
    pub(super) account: ServiceAccount,
    pub(super) set: Planned,
}

/// Whether a StatefulSet is written now.
pub(super) enum Planned {
    /// It is.
    Now(Box<StatefulSet>),
    /// It stays as it is until its turn comes (`turn.rs`); and what is said of that.
    Later(Aspect),
}

/// The TLSRoute of the Gateway API: an API that clusters have or have not.
pub(super) enum Exposed {
    /// None is wanted and none was written; or the cluster has no such API.
    Untouched,
    /// One is wanted.
    Written {
        /// The version of its API.
        version: String,
        /// It.
        route: Box<DynamicObject>,
    },
    /// One was written and is no longer wanted.
    Withdrawn {
        /// The version of its API.
        version: String,
    },
}

/// Builds all objects. Parts that do not fit were left out before. `later`: the gateway's pod stays as it is.
pub(super) fn prepare(
    node: &MeshNode,
    operator: Operator<'_>,
    seen: &Seen,
    judgement: &Judgement,
    built: &Built,
    later: Option<Aspect>,
) -> Resources<Prepared> {
    let name = node.name_any();
    let mut places = built.files.by_place();
    let mut take = |place| places.remove(&place).unwrap_or_default();
    let (leaf, member, main) = (take(Place::Secret), take(Place::Member), take(Place::Main));
    let parts = places.into_iter().filter_map(|(place, files)| match place {
        Place::Part(part) => Some(config_map(node, part_name(&name, &part), &files)),
        Place::Main | Place::Secret | Place::Member => None,
    });
    let pairs = [(leaf_name(&name), leaf), (member_name(&name), member)];
    let pairs = pairs.into_iter().filter(|(_, files)| !files.is_empty());
    let new_root = built.new_root.as_ref().map(|kept| root(node, root_name(node), operator, kept));
    let members = built.members.as_ref().and_then(|members| members.new_root.as_ref());
    let new_member_root = members.map(|pair| root(node, member_root_name(node), operator, &pair.clone().into()));
    let new_rooms = built.new_rooms.as_ref().map(|keys| {
        let files = keys.0.iter().map(|(file, bytes)| (file.as_str(), bytes.as_slice())).collect();
        secret(kept(node, kept_rooms_name(node), operator), &files)
    });
    let has_policy = node.spec.gateway.enabled && node.spec.network_policy == NetworkPolicyMode::Managed;
    Resources {
        node: (node.namespace().unwrap_or_default(), name.clone()),
        new_roots: new_root.into_iter().chain(new_member_root).chain(new_rooms).collect(),
        parts: parts.collect(),
        pairs: pairs.map(|(name, files)| secret(metadata(node, name), &files)).collect(),
        main: held_by(operator, config_map(node, main_name(&name), &main)),
        public_root: config_map(node, public_root_name(&name), &BTreeMap::from([(CA_CRT, built.roots_pem.as_bytes())])),
        service: service::service(node),
        gateway: node.spec.gateway.enabled.then(|| {
            let now = || Planned::Now(Box::new(workload::stateful_set(node, operator, seen, built)));
            Box::new(Gateway { account: workload::service_account(node), set: later.map_or_else(now, Planned::Later) })
        }),
        policy: has_policy.then(|| {
            let collector = operator.image.traces.endpoint.as_deref();
            policy::network_policy(node, operator.namespace, collector, judgement)
        }),
        budget: budget::budget(node),
        tls_route: tls_route(node, seen),
        owner: owner(node),
        hash: built.hash.clone(),
        state: PhantomData,
    }
}

fn tls_route(node: &MeshNode, seen: &Seen) -> Exposed {
    match (&node.spec.expose.tls_route, seen.tls_route_version.clone()) {
        (_, None) => Exposed::Untouched,
        (None, Some(version)) => Exposed::Withdrawn { version },
        (Some(wanted), Some(version)) => {
            let route = Box::new(service::tls_route(node, wanted, &version));
            Exposed::Written { version, route }
        }
    }
}

fn labels_of(node: &MeshNode) -> BTreeMap<String, String> {
    [(NODE_LABEL.into(), node.name_any()), (MANAGED_BY.into(), US.into())].into()
}

pub(super) fn metadata(node: &MeshNode, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: node.namespace(),
        labels: Some(labels_of(node)),
        owner_references: Some(vec![owner(node)]),
        ..ObjectMeta::default()
    }
}

fn config_map(node: &MeshNode, name: String, files: &BTreeMap<&str, &[u8]>) -> ConfigMap {
    let text = |(file, bytes): (&&str, &&[u8])| ((*file).to_owned(), String::from_utf8_lossy(bytes).into_owned());
    ConfigMap { metadata: metadata(node, name), data: Some(files.iter().map(text).collect()), ..ConfigMap::default() }
}

/// Tells other operators that the node is looked after.
fn held_by(operator: Operator<'_>, mut main: ConfigMap) -> ConfigMap {
    main.labels_mut().insert(OPERATOR.into(), operator.namespace.into());
    main.annotations_mut().insert(LEASE.into(), operator.lease.into());
    main
}

fn secret(metadata: ObjectMeta, files: &BTreeMap<&str, &[u8]>) -> Secret {
    let bytes = |(file, bytes): (&&str, &&[u8])| ((*file).to_owned(), ByteString(bytes.to_vec()));
    Secret {
        metadata,
        data: Some(files.iter().map(bytes).collect()),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

/// What stays when the node goes has no owner; it lies where tenants cannot mount it.
fn kept(node: &MeshNode, name: String, operator: Operator<'_>) -> ObjectMeta {
    let labels =
        labels_of(node).into_iter().chain([(NODE_NAMESPACE_LABEL.to_owned(), node.namespace().unwrap_or_default())]);
    ObjectMeta {
        name: Some(name),
        namespace: Some(operator.namespace.into()),
        labels: Some(labels.collect()),
        ..ObjectMeta::default()
    }
}

fn root(node: &MeshNode, name: String, operator: Operator<'_>, issued: &Issued) -> Secret {
    let pair = [(TLS_CRT, issued.pair.chain_pem.as_bytes()), (TLS_KEY, issued.pair.key.expose().as_bytes())];
    let roll = [(RETIRED_CRT, issued.retired_pem.as_bytes()), (ROLLED, issued.rolled.as_bytes())];
    let roll = roll.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    secret(kept(node, name, operator), &pair.into_iter().chain(roll).collect())
}

#[cfg(test)]
mod tests;
