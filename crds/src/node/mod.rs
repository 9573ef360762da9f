//! `MeshNode`: this institution's node, its identity, certificates and features.
//!
//! One file per section of the spec. What a later release fills in is accepted by the schema today; the operator's conditions say
//! what this version does not act on yet.

mod backplane;
mod certificates;
mod directory;
mod expose;
mod gateway;
mod grid;
mod keys;
mod registry;
mod replica;
mod rooms;
mod status;
mod transport;
mod tunnel;

pub use backplane::*;
pub use certificates::*;
pub use directory::*;
pub use expose::*;
pub use gateway::*;
pub use grid::*;
pub use keys::*;
pub use registry::*;
pub use replica::*;
pub use rooms::*;
pub use status::*;
pub use transport::*;
pub use tunnel::*;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    PLACEHOLDER_INSTITUTION, PLACEHOLDER_NODE, Violation,
    law::{self, Amendment, Law},
    pattern,
};

/// This institution's node.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "interconn.dev", version = "v1alpha1", kind = "MeshNode", namespaced, status = "MeshNodeStatus")]
#[kube(shortname = "mn", category = "interconn", derive = "PartialEq")]
#[kube(doc = "This institution's node: its identity, certificates and features.")]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write_with(LAWS, &[IMMUTABLE_NODE_ID]))]
pub struct MeshNodeSpec {
    /// The node's id in the network. Immutable.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::ID))]
    pub node_id: String,
    /// The institution's id in the network.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::ID))]
    pub inst_id: String,
    /// What people call the node.
    #[serde(default)]
    #[schemars(length(max = 128), regex(pattern = pattern::TEXT))]
    pub display_name: String,
    /// The `host:port` that partners dial.
    #[serde(default)]
    #[schemars(length(max = 512), regex(pattern = pattern::HOST_PORT_OR_EMPTY))]
    pub address: String,
    /// Where the node's certificates come from, and how long they live.
    #[serde(default)]
    pub certificates: Certificates,
    /// The node's gateway.
    #[serde(default)]
    pub gateway: Gateway,
    /// How the node is reached from outside the cluster.
    #[serde(default)]
    pub expose: Expose,
    /// The queues of the data plane.
    #[serde(default)]
    pub transport: Transport,
    /// The registry of services.
    #[serde(default)]
    pub registry: Registry,
    /// Whether the operator keeps a NetworkPolicy for the node.
    #[serde(default)]
    pub network_policy: NetworkPolicyMode,
    /// WebSocket clients and the backends that talk to them; absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
    /// The network controller: tokens and tunnel for edge nodes; absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// The Datanet directory; absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    /// What several gateways share their work over; absent: one gateway, everything in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backplane: Option<Backplane>,
}

impl MeshNodeSpec {
    /// A node with these ids and every setting at its default.
    #[must_use]
    pub fn with_ids(node_id: &str, inst_id: &str) -> Self {
        Self {
            node_id: node_id.into(),
            inst_id: inst_id.into(),
            display_name: String::new(),
            address: String::new(),
            certificates: Certificates::default(),
            gateway: Gateway::default(),
            expose: Expose::default(),
            transport: Transport::default(),
            registry: Registry::default(),
            network_policy: NetworkPolicyMode::default(),
            grid: None,
            tunnel: None,
            directory: None,
            backplane: None,
        }
    }
}

/// Whether the operator keeps a NetworkPolicy for the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// It keeps one.
    #[default]
    Managed,
    /// It leaves policies to the user.
    None,
}

/// The laws of [`MeshNodeSpec`] as a whole.
const LAWS: &[Law<MeshNodeSpec>] = &[
    Law {
        field: ".nodeId",
        cel: "self.nodeId.lowerAscii() != 'lx0000000000000'",
        message: "must not be the placeholder LX0000000000000, which stands for no node",
        holds: |n| !n.node_id.eq_ignore_ascii_case(PLACEHOLDER_NODE),
    },
    Law {
        field: ".instId",
        cel: "self.instId.lowerAscii() != 'jg0000000000000000'",
        message: "must not be the placeholder JG0000000000000000, which stands for no institution",
        holds: |n| !n.inst_id.eq_ignore_ascii_case(PLACEHOLDER_INSTITUTION),
    },
    Law {
        field: ".gateway",
        cel: "self.gateway.replicas <= 1 || has(self.backplane)",
        message: "needs spec.backplane for more than one replica",
        holds: |n| n.gateway.replicas <= 1 || n.backplane.is_some(),
    },
    Law {
        field: ".gateway",
        cel: "self.gateway.replicas <= 1 || !(has(self.tunnel) || has(self.directory))",
        message: "must have one replica while tunnel or directory is on",
        holds: |n| n.gateway.replicas <= 1 || n.tunnel.is_none() && n.directory.is_none(),
    },
    Law {
        field: ".gateway",
        cel: "self.gateway.enabled || !(has(self.tunnel) || has(self.directory))",
        message: "must be enabled while tunnel or directory is on: their state and keys have no place in the pods of applications",
        holds: |n| n.gateway.enabled || n.tunnel.is_none() && n.directory.is_none(),
    },
    Law {
        field: ".gateway",
        cel: "self.gateway.storage.mode != 'Ephemeral' || !has(self.directory)",
        message: "must have storage.mode Persistent while directory is on: with its volume the log would end, and another begin under the same key",
        holds: |n| n.gateway.storage.mode != StorageMode::Ephemeral || n.directory.is_none(),
    },
    Law {
        field: ".gateway",
        cel: "self.gateway.storage.deletionPolicy != 'Delete' || !has(self.directory)",
        message: "must have storage.deletionPolicy Retain while directory is on: what was signed is on the volume, and goes for good with it",
        holds: |n| n.gateway.storage.deletion_policy != DeletionPolicy::Delete || n.directory.is_none(),
    },
];

/// What a change may not touch.
pub(crate) const IMMUTABLE_NODE_ID: Amendment<MeshNodeSpec> = Amendment {
    field: ".nodeId",
    cel: "self.nodeId == oldSelf.nodeId",
    message: "is immutable: partners pin their trust to it; make another MeshNode",
    holds: |new, old| new.node_id == old.node_id,
};

impl MeshNodeSpec {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        self.certificates.judge(&format!("{path}.certificates"), broken);
        self.gateway.judge(&format!("{path}.gateway"), broken);
        self.expose.judge(&format!("{path}.expose"), broken);
        self.transport.judge(&format!("{path}.transport"), broken);
        if let Some(grid) = &self.grid {
            grid.judge(&format!("{path}.grid"), broken);
        }
        if let Some(tunnel) = &self.tunnel {
            tunnel.judge(&format!("{path}.tunnel"), broken);
        }
        if let Some(directory) = &self.directory {
            directory.judge(&format!("{path}.directory"), broken);
        }
        if let Some(backplane) = &self.backplane {
            backplane.judge(&format!("{path}.backplane"), broken);
        }
    }
}
