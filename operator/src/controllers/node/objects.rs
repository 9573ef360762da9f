//! The objects of a node, from its files: pure, complete, and the same bytes for the same input.

use std::{collections::BTreeMap, marker::PhantomData};

use crds::{
    DATA_PORT, MeshNode, NODE_LABEL,
    snapshot::{CA_CRT, TLS_CRT, TLS_KEY},
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{ResourceExt, api::ObjectMeta};

use super::{owner, root_name};
use crate::node::build::{Built, Place};

/// What the operator's own namespace knows our objects by.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub(super) const US: &str = "interconn-operator";
/// On an issued root: the namespace of its node. [`NODE_LABEL`] has the name.
const NODE_NAMESPACE_LABEL: &str = "interconn.dev/node-namespace";

/// Not written yet.
pub(super) struct Prepared;
/// Written.
pub(super) struct Applied;

/// Everything that is written for a node. Only `apply` turns prepared into applied, and it takes the struct apart without
/// a rest, so that a kind that is added here does not compile until somebody writes it.
pub(super) struct Resources<State> {
    pub(super) node: (String, String),
    pub(super) new_root: Option<Secret>,
    pub(super) leaf: Secret,
    pub(super) parts: Vec<ConfigMap>,
    pub(super) main: ConfigMap,
    pub(super) public_root: ConfigMap,
    pub(super) service: Service,
    pub(super) owner: k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference,
    pub(super) hash: String,
    pub(super) state: PhantomData<State>,
}

/// The Secret with the node's leaf.
pub(super) fn leaf_name(node: &str) -> String {
    format!("mesh-{node}-leaf")
}

/// The name that the parts of a node begin with.
pub(super) fn part_prefix(node: &str) -> String {
    format!("mesh-{node}-")
}

/// Builds all objects. Parts that do not fit were left out before.
pub(super) fn prepare(node: &MeshNode, own_namespace: &str, built: &Built) -> Resources<Prepared> {
    let name = node.name_any();
    let mut places = built.files.by_place();
    let mut take = |place| places.remove(&place).unwrap_or_default();
    let (leaf, main) = (take(Place::Secret), take(Place::Main));
    let parts = places.into_iter().filter_map(|(place, files)| match place {
        Place::Part(part) => Some(config_map(node, format!("{}{part}", part_prefix(&name)), &files)),
        Place::Main | Place::Secret => None,
    });
    Resources {
        node: (node.namespace().unwrap_or_default(), name.clone()),
        new_root: built.new_root.as_ref().map(|pair| root(node, own_namespace, pair)),
        leaf: secret(metadata(node, leaf_name(&name)), leaf.into_iter().map(|(k, v)| (k.to_owned(), v.to_vec()))),
        parts: parts.collect(),
        main: config_map(node, format!("mesh-{name}"), &main),
        public_root: config_map(node, format!("{name}-root"), &BTreeMap::from([(CA_CRT, built.roots_pem.as_bytes())])),
        service: service(node),
        owner: owner(node),
        hash: built.hash.clone(),
        state: PhantomData,
    }
}

fn metadata(node: &MeshNode, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: node.namespace(),
        labels: Some(BTreeMap::from([(NODE_LABEL.into(), node.name_any()), (MANAGED_BY.into(), US.into())])),
        owner_references: Some(vec![owner(node)]),
        ..ObjectMeta::default()
    }
}

fn config_map(node: &MeshNode, name: String, files: &BTreeMap<&str, &[u8]>) -> ConfigMap {
    let text = |(file, bytes): (&&str, &&[u8])| ((*file).to_owned(), String::from_utf8_lossy(bytes).into_owned());
    ConfigMap { metadata: metadata(node, name), data: Some(files.iter().map(text).collect()), ..ConfigMap::default() }
}

fn secret(metadata: ObjectMeta, files: impl Iterator<Item = (String, Vec<u8>)>) -> Secret {
    Secret {
        metadata,
        data: Some(files.map(|(file, bytes)| (file, ByteString(bytes))).collect()),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

/// The root stays when the node goes, so it has no owner; it lies where tenants cannot mount it.
fn root(node: &MeshNode, own_namespace: &str, pair: &mesh_pki::Pair) -> Secret {
    let labels = [
        (MANAGED_BY, US.to_owned()),
        (NODE_LABEL, node.name_any()),
        (NODE_NAMESPACE_LABEL, node.namespace().unwrap_or_default()),
    ];
    let metadata = ObjectMeta {
        name: Some(root_name(node)),
        namespace: Some(own_namespace.into()),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ..ObjectMeta::default()
    };
    let files = [(TLS_CRT, &pair.chain_pem), (TLS_KEY, &pair.key.expose().to_owned())]
        .map(|(file, text)| (file.to_owned(), text.as_bytes().to_vec()));
    secret(metadata, files.into_iter())
}

/// Where partners reach the node; the pods of the node carry its label.
fn service(node: &MeshNode) -> Service {
    let port = ServicePort {
        name: Some("ptp".into()),
        port: i32::from(DATA_PORT),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(i32::from(DATA_PORT))),
        ..ServicePort::default()
    };
    Service {
        metadata: metadata(node, format!("mesh-{}", node.name_any())),
        spec: Some(ServiceSpec {
            selector: Some(BTreeMap::from([(NODE_LABEL.into(), node.name_any())])),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

#[cfg(test)]
mod tests;
