//! `MeshNode`: this institution's node, its identity, certificates and features.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Condition, LocalRef, Span};

/// This institution's node.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "interconn.dev", version = "v1alpha1", kind = "MeshNode", namespaced, status = "MeshNodeStatus")]
#[kube(shortname = "mn", category = "interconn", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct MeshNodeSpec {
    /// The node's id in the network. Immutable.
    #[schemars(length(min = 1, max = 64))]
    pub node_id: String,
    /// The institution's id in the network.
    #[schemars(length(min = 1, max = 64))]
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
}

/// Where certificates come from: an issued root unless one of the references is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificates {
    /// The kind of key of the root and of its leaves.
    pub algorithm: KeyAlgorithm,
    /// How long a leaf lives.
    pub leaf_lifetime: Span,
    /// The share of a leaf's life, in percent, after which it is renewed.
    #[schemars(range(min = 10, max = 95))]
    pub renew_at: u8,
    /// Whether the issued root outlives the MeshNode.
    pub root_deletion_policy: DeletionPolicy,
    /// A Secret with the user's root: `tls.crt` and `tls.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_secret_ref: Option<LocalRef>,
    /// A Secret with the user's leaf and chain, and no root key: `tls.crt`, `tls.key`, `ca.crt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_secret_ref: Option<LocalRef>,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            algorithm: KeyAlgorithm::EcdsaP256,
            leaf_lifetime: Span::hours(720),
            renew_at: 67,
            root_deletion_policy: DeletionPolicy::Retain,
            root_secret_ref: None,
            leaf_secret_ref: None,
        }
    }
}

/// The kinds of key that certificates are made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// ECDSA on the curve P-256.
    #[default]
    #[serde(rename = "ECDSA_P256")]
    EcdsaP256,
    /// RSA with 2048 bits, which other servers of PTP/1.0 need for weaving.
    #[serde(rename = "RSA_2048")]
    Rsa2048,
}

/// What becomes of an object that the operator made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It goes with the MeshNode.
    Delete,
}

/// The node's gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Without a gateway the lone sidecar is the node.
    pub enabled: bool,
    /// How many gateways share the node's work; more than one needs a backplane.
    #[schemars(range(min = 1, max = 16))]
    pub replicas: u8,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { enabled: true, replicas: 1 }
    }
}

/// How the node is reached from outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Expose {}

/// The queues of the data plane: their store and their bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Transport {
    /// Where unread messages are kept.
    pub store: Store,
    /// The largest body that is taken.
    pub max_body_bytes: ByteSize,
    /// What one session may have queued.
    pub session_bytes: ByteSize,
    /// What all sessions together may have queued.
    pub total_bytes: ByteSize,
    /// A session unused for so long loses its queues.
    pub idle_timeout: Span,
    /// How long a released session's id stays refused.
    pub tombstone: Span,
    /// How long an unread message is kept; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ttl: Option<Span>,
    /// How long a push waits for room when the caller names no time.
    pub push_timeout: Span,
    /// Whether `peek` leaves the message there.
    pub peek: Peek,
    /// CIDRs that may speak plain text beside loopback.
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub plaintext_from: Vec<String>,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            store: Store::Memory,
            max_body_bytes: ByteSize::gib(1),
            session_bytes: ByteSize::gib(1),
            total_bytes: ByteSize::gib(2),
            idle_timeout: Span::minutes(10),
            tombstone: Span::minutes(30),
            message_ttl: None,
            push_timeout: Span::seconds(10),
            peek: Peek::Retain,
            plaintext_from: Vec::new(),
        }
    }
}

/// Where unread messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Store {
    /// In memory.
    #[default]
    Memory,
    /// On disk, fsynced before a push is answered.
    Disk,
}

/// What `peek` does with the message it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Peek {
    /// It stays, as the published contract says.
    #[default]
    Retain,
    /// It goes, as Kuscia, OSX and the reference really do.
    Consume,
}

/// The registry of services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Registry {
    /// How long an entry is kept past its time.
    pub expiry_grace: Span,
    /// How an instance is chosen.
    pub balance: Balance,
}

impl Default for Registry {
    fn default() -> Self {
        Self { expiry_grace: Span::minutes(5), balance: Balance::RoundRobin }
    }
}

/// How an instance is chosen among those that offer a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest calls under way.
    LeastLoaded,
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

/// What the operator last saw of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshNodeStatus {
    /// The conditions, one of each type.
    #[schemars(length(max = 32))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that the status speaks of.
    pub observed_generation: i64,
    /// The roots that partners need to trust this node.
    #[schemars(length(max = 4))]
    pub root_certificates: Vec<RootCertificate>,
    /// The sha256 of the configuration that was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub config_hash: Option<String>,
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
