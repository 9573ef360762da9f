//! `MeshRoute`: one partner, where it is reached and what it may do here.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Condition, ConfigMapKeyRef, LocalRef};

/// One partner of a node.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "interconn.dev", version = "v1alpha1", kind = "MeshRoute", namespaced, status = "MeshRouteStatus")]
#[kube(shortname = "mr", category = "interconn", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct MeshRouteSpec {
    /// The MeshNode, of the same namespace, whose partner this is.
    pub node_ref: LocalRef,
    /// Who the partner is.
    pub peer: Peer,
    /// Where the partner is reached: ordered failover, the first healthy address wins. Empty: only the partner calls us.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub addresses: Vec<PeerAddress>,
    /// The roots that the partner's certificates must chain to.
    pub trust: Trust,
    /// Whether the partner must prove who it is.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// A pair that the partner issued for us (`tls.crt`, `tls.key`), shown instead of our own leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<LocalRef>,
    /// When the route ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub expires_at: Option<String>,
    /// A disabled route is known but carries nothing, in either direction.
    #[serde(default)]
    pub disabled: bool,
    /// Path prefixes of registered services that the partner may call.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(min = 1, max = 512)))]
    pub exports: Vec<String>,
    /// What the partner may have queued here; default: the larger of `totalBytes / 4` and `maxBodyBytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queued_bytes: Option<ByteSize>,
    /// The URL of a proxy to dial through.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub proxy: String,
}

/// Who a partner is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The partner's node id.
    #[schemars(length(min = 1, max = 64))]
    pub node_id: String,
    /// The partner's institution id.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub inst_id: String,
    /// What people call the partner.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub display_name: String,
}

/// One address of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerAddress {
    /// `host:port`.
    #[schemars(length(min = 1, max = 512))]
    pub address: String,
    /// The name asked for in TLS; empty: the address's host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub server_name: String,
}

/// The roots of a partner: given here, or in a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Trust {
    /// One to four PEM certificates.
    #[serde(rename = "rootPEMs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 16384)))]
    pub root_pems: Vec<String>,
    /// A key of a ConfigMap that holds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
}

/// Whether a partner must show a certificate of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientCertificate {
    /// It must.
    #[default]
    Required,
    /// It need not: what it then claims to be is not proven.
    Optional,
}

/// What the operator last saw of the route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshRouteStatus {
    /// The conditions, one of each type.
    #[schemars(length(max = 32))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that the status speaks of.
    pub observed_generation: i64,
    /// What is known of each address.
    #[schemars(length(max = 8))]
    pub addresses: Vec<AddressStatus>,
}

/// What is known of one address of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressStatus {
    /// The address as the spec has it.
    #[schemars(length(max = 512))]
    pub address: String,
    /// `Unknown`, `Reachable`, or the reason why it is not.
    #[schemars(length(max = 64))]
    pub state: String,
    /// Since when, RFC 3339.
    #[schemars(length(max = 64))]
    pub since: String,
    /// When the certificate that the partner showed there ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub certificate_not_after: Option<String>,
}
