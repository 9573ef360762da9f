//! What the operator last saw of a node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DirectoryStatus, TunnelStatus};
use crate::Condition;

/// What the operator last saw of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshNodeStatus {
    /// The conditions, one of each type.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that the status speaks of.
    pub observed_generation: i64,
    /// The roots that partners need to trust this node.
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub root_certificates: Vec<RootCertificate>,
    /// The sha256 of the configuration that was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub config_hash: Option<String>,
    /// The sha256 of the configuration that the gateway, or the lone sidecar, reports to run on; absent: it has not reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub applied_config_hash: Option<String>,
    /// The sidecars that run as this node or beside its gateway; absent: nobody has looked yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecars: Option<SidecarCount>,
    /// What the gateway says of the tunnel; what changes all the time is told every three minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelStatus>,
    /// What the gateway says of the directory; what changes all the time is told every three minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryStatus>,
}

/// How many sidecars there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarCount {
    /// Those that are ready and report to run on the configuration of `configHash`.
    #[schemars(range(min = 0, max = 1000000))]
    pub ready: u32,
    /// All.
    #[schemars(range(min = 0, max = 1000000))]
    pub total: u32,
}

/// A public root certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RootCertificate {
    /// The certificate as PEM.
    #[schemars(length(max = 16384))]
    pub pem: String,
    /// Its fingerprint: lower-case hex of the sha256 of its DER form.
    #[schemars(length(max = 64))]
    pub sha256: String,
    /// When it ends, RFC 3339.
    #[schemars(length(max = 64))]
    pub not_after: String,
}
