//! The node's gateway: whether there is one, how many share the work, and where they keep their state.

mod affinity;
mod pod;

pub use affinity::*;
pub use pod::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, DeletionPolicy, Violation,
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
    /// What its container asks for and may take; what is absent is as by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<GatewayResources>,
    /// Where its pod runs, and what others know it by; what is absent is as by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<GatewayPod>,
}

/// What a gateway's container asks for, and what it may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(RESOURCE_LAWS))]
pub struct GatewayResources {
    /// By which it is scheduled. Default: 100m and 64Mi.
    pub requests: Amounts,
    /// What it may take. Default: 4 CPUs, and `transport.totalBytes` with 512Mi beside it.
    pub limits: Amounts,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Amounts {
    /// CPUs, such as 2, or thousandths of one, such as 500m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 9), regex(pattern = pattern::CPU))]
    pub cpu: Option<String>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

impl Amounts {
    /// The thousandths of a CPU.
    #[must_use]
    pub fn milli_cpu(&self) -> Option<u64> {
        let text = self.cpu.as_ref()?;
        match text.strip_suffix('m') {
            Some(milli) => milli.parse().ok(),
            None => text.parse::<u64>().ok().map(|whole| whole * 1000),
        }
    }

    fn or(&self, defaults: &Self) -> Self {
        Self { cpu: self.cpu.clone().or_else(|| defaults.cpu.clone()), memory: self.memory.or(defaults.memory) }
    }
}

impl GatewayResources {
    /// What is said here, and where nothing is, what `defaults` say; these give way where both do not go together.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        let (mut requests, mut limits) = (self.requests.or(&defaults.requests), self.limits.or(&defaults.limits));
        if requests.milli_cpu().zip(limits.milli_cpu()).is_some_and(|(asked, most)| asked > most) {
            (requests.cpu, limits.cpu) = (self.requests.cpu.clone(), self.limits.cpu.clone());
        }
        if requests.memory.zip(limits.memory).is_some_and(|(asked, most)| asked > most) {
            (requests.memory, limits.memory) = (self.requests.memory, self.limits.memory);
        }
        Self { requests, limits }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self { enabled: true, replicas: 1, storage: GatewayStorage::default(), resources: None, pod: None }
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
    /// What becomes of the claim when the gateway goes: with the MeshNode, or as it is switched off. Unread messages, registrations, tunnel
    /// and directory are on it.
    pub deletion_policy: DeletionPolicy,
}

impl Default for GatewayStorage {
    fn default() -> Self {
        let (mode, deletion_policy) = (StorageMode::Persistent, DeletionPolicy::Retain);
        Self { size: ByteSize::gib(10), mode, storage_class_name: None, deletion_policy }
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

/// The laws of [`GatewayResources`]: Kubernetes takes no pod that asks for more than it may have.
const RESOURCE_LAWS: &[Law<GatewayResources>] = &[
    Law {
        field: ".limits",
        cel: "!has(self.requests) || !has(self.limits) || !has(self.requests.cpu) || !has(self.limits.cpu) || quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0",
        message: "the limit of the CPU must not be below what is requested",
        holds: |r| !matches!((r.requests.milli_cpu(), r.limits.milli_cpu()), (Some(asked), Some(limit)) if asked > limit),
    },
    Law {
        field: ".limits",
        cel: "!has(self.requests) || !has(self.limits) || !has(self.requests.memory) || !has(self.limits.memory) || quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0",
        message: "the limit of the memory must not be below what is requested",
        holds: |r| !matches!((r.requests.memory, r.limits.memory), (Some(asked), Some(limit)) if asked > limit),
    },
];

impl Gateway {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        if let Some(resources) = &self.resources {
            law::judge(RESOURCE_LAWS, resources, &format!("{path}.resources"), broken);
        }
        if let Some(pod) = &self.pod {
            pod.judge(&format!("{path}.pod"), broken);
        }
        law::judge(LAWS, &self.storage, &format!("{path}.storage"), broken);
    }
}
