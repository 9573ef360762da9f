//! The `mesh` container and its volumes: one form for the gateway's pods and for those that it is injected into.
//!
//! Pure functions over what decides: the node, the role, the operator's image. Nothing of the configuration stands in the
//! result but the room that queues need: a changed route reaches running pods by the mounted volume, and restarts none.
//! Who patches a user's pod, or makes the gateway's, takes what comes out and adds what is their own business.

mod container;
mod defaults;
mod image;
mod resources;
#[cfg(test)]
pub(crate) mod restricted;
mod volumes;

use std::collections::BTreeMap;

use crds::{ByteSize, GatewayResources, NODE_LABEL, snapshot};

pub(crate) use container::port;
pub(crate) use defaults::{GatewayDefaults, digest_of};
pub(crate) use image::Image;
pub(crate) use resources::whole_mebibytes;
pub(crate) use volumes::HOME_VOLUME;

/// The label that tells the gateway's pods from those with a sidecar.
pub(crate) const ROLE_LABEL: &str = "interconn.dev/role";
/// What the container is called, in whatever pod.
pub(crate) const CONTAINER: &str = "mesh";
/// The user and group that `mesh` runs as in a pod: nobody else's, so that no other container reads its files in `/proc`.
pub(crate) const USER: i64 = 64_304;

/// What `mesh` is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The node's gateway, in a pod of its own.
    Gateway,
    /// The applications' own 7304 beside a gateway.
    Sidecar,
    /// In a pod with applications, and the whole node: `gateway.enabled` is false.
    Lone,
}

/// What decides about the container and its volumes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mesh<'m> {
    /// The MeshNode's name.
    pub(crate) node: &'m str,
    /// What it is in its pod.
    pub(crate) role: Role,
    /// What it runs.
    pub(crate) image: &'m Image,
    /// `spec.transport.totalBytes`: queued messages are held in memory.
    pub(crate) queues: ByteSize,
    /// `spec.gateway.resources`; a sidecar's are said by its pod's annotations.
    pub(crate) resources: Option<&'m GatewayResources>,
}

impl Role {
    /// The value of `MESH_ROLE`: whether it is the node, or beside it.
    const fn serves_as(self) -> snapshot::Role {
        match self {
            Self::Gateway | Self::Lone => snapshot::Role::Gateway,
            Self::Sidecar => snapshot::Role::Sidecar,
        }
    }

    /// The value of [`ROLE_LABEL`]. A lone sidecar has the sidecars': Service and NetworkPolicy of a gateway, where one is
    /// switched on later, must not take the users' pods in.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Sidecar | Self::Lone => "sidecar",
        }
    }
}

/// The labels by which Services, policies and the nudge find a pod.
pub(crate) fn labels(node: &str, role: Role) -> BTreeMap<String, String> {
    [(NODE_LABEL, node), (ROLE_LABEL, role.label())].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

#[cfg(test)]
mod tests;
