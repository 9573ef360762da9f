//! The decision about one pod.
//!
//! Called for pods whose own label or whose namespace's asks for a sidecar: the selectors of the webhook's configuration see
//! to that, at the API server, which knows labels a moment before any watch of ours would. What is checked again here is
//! what must hold whatever those selectors say.

use std::collections::BTreeMap;

use crds::{ADMIN_PORT, DATA_PORT, Store};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, PodSpec};
use kube::ResourceExt;

use super::{
    choice::{self, Known, Nodes},
    names::{DISABLED, ENABLED, INJECT, INJECTED, MIRROR, OS},
    neighbours,
    overrides::{self, Overrides},
    patch::{self, Additions, Operation},
    resources::{self, Guaranteed},
    verdict::{Left, Refusal},
};
use crate::node::pod::{self, CONTAINER, HOME_VOLUME, Image, Mesh, ROLE_LABEL, Role, USER};

/// Where no pod is touched, whatever labels say: the cluster must come up without us.
const PROTECTED: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// What the operator's own options say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What sidecars run.
    pub(crate) image: Image,
    /// The operator's own namespace.
    pub(crate) own_namespace: String,
    /// What sidecars get of Guaranteed pods.
    pub(crate) guaranteed: Guaranteed,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// It is changed.
    Patch {
        /// How.
        operations: Vec<Operation>,
        /// What whoever creates it should know.
        warnings: Vec<String>,
    },
    /// It stays as it is.
    Left(Left),
    /// It is not admitted.
    Refused(Refusal),
}

/// Decides about a pod that is about to be created in `namespace`, whose MeshNodes are `nodes`. A second call on the result
/// of the first finds nothing left to do.
pub(crate) fn decide(pod: &Pod, namespace: &str, nodes: &Nodes, settings: &Settings) -> Decision {
    if PROTECTED.contains(&namespace) || namespace == settings.own_namespace {
        return Decision::Left(Left::ProtectedNamespace);
    }
    match pod.labels().get(INJECT).map(String::as_str) {
        None | Some(ENABLED) => {}
        Some(DISABLED) => return Decision::Left(Left::OptedOut),
        Some(value) => return Decision::Refused(Refusal::BadLabel { value: value.into() }),
    }
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    if let Some(position) = stripped(pod, spec) {
        return Decision::Patch { operations: vec![patch::restored(position)], warnings: Vec::new() };
    }
    if let Some(left) = left(pod, spec) {
        return Decision::Left(left);
    }
    additions(pod, spec, namespace, nodes, settings).map_or_else(Decision::Refused, |(additions, warnings)| {
        Decision::Patch { operations: patch::of(pod, &additions), warnings }
    })
}

/// Where our init container is one that would have to end before others start.
fn stripped(pod: &Pod, spec: &PodSpec) -> Option<usize> {
    let is_ours = pod.annotations().contains_key(INJECTED);
    let is_plain = |container: &Container| {
        // Another one of our name is somebody's own.
        container.name == CONTAINER && container.restart_policy.is_none() && serves(container, DATA_PORT)
    };
    spec.init_containers.as_ref()?.iter().position(|container| is_ours && is_plain(container))
}

fn left(pod: &Pod, spec: &PodSpec) -> Option<Left> {
    let is_windows = spec.os.as_ref().is_some_and(|os| os.name == "windows")
        || spec.node_selector.as_ref().is_some_and(|s| s.get(OS).is_some_and(|os| os == "windows"));
    let shares = spec.share_process_namespace == Some(true) || spec.host_pid == Some(true);
    let cases = [
        (pod.annotations().contains_key(MIRROR), Left::Mirror),
        (pod.labels().get(ROLE_LABEL).is_some_and(|role| role == Role::Gateway.label()), Left::Gateway),
        (has_sidecar(pod, spec), Left::AlreadyThere),
        (containers(spec).any(|container| serves(container, DATA_PORT)), Left::PortServed),
        (is_windows, Left::Windows),
        (spec.host_network == Some(true), Left::HostNetwork),
        (shares, Left::SharedProcesses),
    ];
    cases.into_iter().find_map(|(holds, left)| holds.then_some(left))
}

/// One that we put there, or that somebody wrote into the pod.
fn has_sidecar(pod: &Pod, spec: &PodSpec) -> bool {
    let is_named = |container: &Container| container.name == CONTAINER || pod.annotations().contains_key(INJECTED);
    containers(spec).any(|container| is_named(container) && serves(container, DATA_PORT))
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn serves(container: &Container, port: u16) -> bool {
    container
        .ports
        .iter()
        .flatten()
        .any(|p| p.container_port == i32::from(port) && p.protocol.as_deref() != Some("UDP"))
}

fn additions(
    pod: &Pod,
    spec: &PodSpec,
    namespace: &str,
    nodes: &Nodes,
    settings: &Settings,
) -> Result<(Additions, Vec<String>), Refusal> {
    let (node, known) = choice::node(pod, namespace, nodes)?;
    let overrides = overrides::read(pod)?;
    let image = Image {
        name: overrides.image.clone().unwrap_or_else(|| settings.image.name.clone()),
        ..settings.image.clone()
    };
    let mesh = Mesh { node, role: known.role, image: &image, queues: known.queues, resources: None };
    let volumes = mesh.volumes();
    nothing_is_taken(spec, volumes.iter().map(|volume| volume.name.as_str()))?;
    // A lone sidecar holds the queues: no fixed number has room for them.
    let memory = settings.guaranteed.memory.clone().filter(|_| known.role == Role::Sidecar);
    let guaranteed = Guaranteed { memory, ..settings.guaranteed.clone() };
    let container = container(mesh.container(), spec, &guaranteed, &overrides);
    let mut annotations: BTreeMap<String, String> = neighbours::annotations(pod.annotations()).into_iter().collect();
    annotations.insert(INJECTED.into(), env!("CARGO_PKG_VERSION").into());
    annotations.extend(evictable(pod, known));
    let unknown = overrides.unknown.iter().map(|name| format!("annotation {name} is none that this operator knows"));
    let warnings = unknown.chain(shares_user(spec)).collect();
    Ok((Additions { container, volumes, labels: pod::labels(node, known.role), annotations }, warnings))
}

/// Which volumes a cluster autoscaler may throw away with a machine.
const EVICTABLE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// A lone sidecar that keeps messages in memory writes them to its volume only to have them there after a restart in the same
/// pod: no reason to keep a machine for it.
fn evictable(pod: &Pod, known: &Known) -> Option<(String, String)> {
    if known.role != Role::Lone || known.store != Store::Memory {
        return None;
    }
    let before = pod.annotations().get(EVICTABLE).map(|names| names.trim()).filter(|names| !names.is_empty());
    let volumes = match before {
        Some(names) if names.split(',').any(|name| name.trim() == HOME_VOLUME) => return None,
        Some(names) => format!("{names},{HOME_VOLUME}"),
        None => HOME_VOLUME.to_owned(),
    };
    Some((EVICTABLE.to_owned(), volumes))
}

/// The files of our volume are read by whoever has our user.
fn shares_user(spec: &PodSpec) -> Option<String> {
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let user = |c: &Container| c.security_context.as_ref().and_then(|context| context.run_as_user).or(of_pod);
    let other = containers(spec).find(|container| user(container) == Some(USER))?;
    Some(format!("container {} runs as user {USER}, the sidecar's own: give it another", other.name))
}

/// The container as every pod gets it, with what this one's annotations change.
fn container(plain: Container, spec: &PodSpec, guaranteed: &Guaranteed, overrides: &Overrides) -> Container {
    let defaults = plain.resources.clone().unwrap_or_default();
    let mut environment = plain.env.unwrap_or_default();
    for (name, value) in &overrides.settings {
        environment.retain(|variable| variable.name != *name);
        environment.push(EnvVar { name: name.clone(), value: Some(value.clone()), value_from: None });
    }
    let resources = resources::of_sidecar(spec, &defaults, guaranteed, overrides);
    Container { env: Some(environment), resources: Some(resources), ..plain }
}

/// Nothing in the pod has a name or a port that the sidecar brings.
fn nothing_is_taken<'n>(spec: &PodSpec, mut volumes: impl Iterator<Item = &'n str>) -> Result<(), Refusal> {
    if containers(spec).any(|container| container.name == CONTAINER) {
        return Err(Refusal::NameTaken { kind: "container", name: CONTAINER.into() });
    }
    // Such a mount is invalid only until our volume is there; then an application would read the node's keys by it.
    let is_mounted = |name: &str| {
        let debuggers = spec.ephemeral_containers.iter().flatten().flat_map(|c| c.volume_mounts.iter().flatten());
        let mounts = containers(spec).flat_map(|container| container.volume_mounts.iter().flatten()).chain(debuggers);
        mounts.into_iter().any(|mount| mount.name == name)
    };
    let taken = volumes.find_map(|name| {
        let is_volume = spec.volumes.iter().flatten().any(|volume| volume.name == *name);
        let kind = if is_volume { Some("volume") } else { is_mounted(name).then_some("volume mount") };
        kind.map(|kind| (kind, name))
    });
    if let Some((kind, name)) = taken {
        return Err(Refusal::NameTaken { kind, name: name.into() });
    }
    match containers(spec).find(|container| serves(container, ADMIN_PORT)) {
        Some(container) => Err(Refusal::PortTaken { container: container.name.clone(), port: ADMIN_PORT }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod tests;
