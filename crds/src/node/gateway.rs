//! The node's gateway: whether there is one, how many share the work, and where they keep their state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Violation,
    law::{self, Law},
    pattern,
};

/// The node's gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Without a gateway the lone sidecar is the node.
    pub enabled: bool,
    /// How many gateways share the node's work; more than one needs a backplane.
    #[schemars(range(min = 1, max = 16))]
    pub replicas: u8,
    /// Where a gateway keeps its state.
    pub storage: GatewayStorage,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { enabled: true, replicas: 1, storage: GatewayStorage::default() }
    }
}

/// Where a gateway keeps its state: queues on disk, live registrations, tunnel, directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct GatewayStorage {
    /// How much room the state has.
    pub size: ByteSize,
    /// Whether the state outlives the pod.
    pub mode: StorageMode,
    /// The StorageClass of the claim; absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub storage_class_name: Option<String>,
}

impl Default for GatewayStorage {
    fn default() -> Self {
        Self { size: ByteSize::gib(10), mode: StorageMode::Persistent, storage_class_name: None }
    }
}

/// Whether a gateway's state outlives its pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageMode {
    /// In a PersistentVolumeClaim.
    #[default]
    Persistent,
    /// In the pod's own scratch space, gone with the pod.
    Ephemeral,
}

/// The laws of [`GatewayStorage`].
const LAWS: &[Law<GatewayStorage>] = &[Law {
    field: ".size",
    cel: "quantity(self.size).isGreaterThan(quantity('0'))",
    message: "must be more than 0",
    holds: |s| s.size.bytes() > 0,
}];

impl Gateway {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, &self.storage, &format!("{path}.storage"), broken);
    }
}
