//! `MeshNode`: this institution's node, its identity, certificates and features.
//!
//! One file per section of the spec. A section of a room that a later release fills in (grid, tunnel, directory,
//! backplane) is accepted by the schema today; the operator's conditions say what this version does not act on yet.

mod backplane;
mod certificates;
mod directory;
mod expose;
mod gateway;
mod grid;
mod registry;
mod status;
mod transport;
mod tunnel;

pub use backplane::*;
pub use certificates::*;
pub use directory::*;
pub use expose::*;
pub use gateway::*;
pub use grid::*;
pub use registry::*;
pub use status::*;
pub use transport::*;
pub use tunnel::*;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This institution's node.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "interconn.dev", version = "v1alpha1", kind = "MeshNode", namespaced, status = "MeshNodeStatus")]
#[kube(shortname = "mn", category = "interconn", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct MeshNodeSpec {
    /// The node's id in the network. Immutable.
    #[schemars(length(min = 1, max = 63))]
    pub node_id: String,
    /// The institution's id in the network.
    #[schemars(length(min = 1, max = 63))]
    pub inst_id: String,
    /// What people call the node.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub display_name: String,
    /// The `host:port` that partners dial.
    #[serde(default)]
    #[schemars(length(max = 512))]
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
