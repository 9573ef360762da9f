//! `MeshRoute`: one partner, where it is reached and what it may do here.

use std::collections::HashSet;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Condition, ConfigMapKeyRef, LocalRef, PLACEHOLDER_NODE, Violation,
    law::{self, Law},
    pattern,
};

/// One partner of a node.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "interconn.dev", version = "v1alpha1", kind = "MeshRoute", namespaced, status = "MeshRouteStatus")]
#[kube(shortname = "mr", category = "interconn", derive = "PartialEq")]
#[kube(doc = "One partner of a node: where it is reached, what it must prove and what it may call.")]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LAWS))]
pub struct MeshRouteSpec {
    /// The MeshNode, of the same namespace, whose partner this is.
    pub node_ref: LocalRef,
    /// Who the partner is.
    pub peer: Peer,
    /// Where the partner is reached: ordered failover, the first healthy address wins. Empty: only the partner calls us.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
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
    #[schemars(length(max = 64), regex(pattern = pattern::MOMENT), transform = law::write(EXPIRY_LAWS))]
    pub expires_at: Option<String>,
    /// A disabled route is known but carries nothing, in either direction.
    #[serde(default)]
    pub disabled: bool,
    /// Path prefixes of registered services that the partner may call.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(min = 1, max = 512), regex(pattern = pattern::PATH)), extend("x-kubernetes-list-type" = "set"))]
    pub exports: Vec<String>,
    /// What the partner may have queued here; default: the larger of `totalBytes / 4` and `maxBodyBytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queued_bytes: Option<ByteSize>,
    /// The URL of a proxy to dial through.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512), regex(pattern = pattern::PROXY_OR_EMPTY))]
    pub proxy: String,
    /// Where the names in `addresses` lead, without asking name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "staticIPs")]
    #[schemars(length(max = 8), inner(length(max = 45), regex(pattern = pattern::IP)), extend("x-kubernetes-list-type" = "set"))]
    pub static_ips: Vec<String>,
}

/// Who a partner is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(PEER_LAWS))]
pub struct Peer {
    /// The partner's node id.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::ID))]
    pub node_id: String,
    /// The partner's institution id.
    #[serde(default)]
    #[schemars(length(max = 63), regex(pattern = pattern::ID_OR_EMPTY))]
    pub inst_id: String,
    /// What people call the partner.
    #[serde(default)]
    #[schemars(length(max = 128), regex(pattern = pattern::TEXT))]
    pub display_name: String,
}

/// One address of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerAddress {
    /// `host:port`. With `grpcs://` before the first one, calls are passed on by gRPC. Tags may follow: `?s=` a subset, `?p=` a
    /// proxy, `?d` the caller's Host is passed on.
    #[schemars(length(min = 1, max = 512), regex(pattern = pattern::PEER_ADDRESS))]
    pub address: String,
    /// The name asked for in TLS; empty: the address's host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::HOST_OR_EMPTY))]
    pub server_name: String,
}

/// The roots of a partner: given here, or in a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(TRUST_LAWS))]
pub struct Trust {
    /// One to four PEM certificates.
    #[serde(rename = "rootPEMs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 16384)), extend("x-kubernetes-list-type" = "atomic"))]
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
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that the status speaks of.
    pub observed_generation: i64,
    /// What is known of each address.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address"]))]
    pub addresses: Vec<AddressStatus>,
}

/// What is known of one address of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressStatus {
    /// The address as the spec has it.
    #[schemars(length(max = 512))]
    pub address: String,
    /// `Unknown`, `Reachable` or `Failing`; the condition `Reachable` gives the reason.
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

/// The laws of [`Trust`].
const TRUST_LAWS: &[Law<Trust>] = &[
    Law {
        field: "",
        cel: "has(self.configMapRef) != (has(self.rootPEMs) && self.rootPEMs.size() > 0)",
        message: "give one of rootPEMs and configMapRef",
        holds: |t| t.config_map_ref.is_some() == t.root_pems.is_empty(),
    },
    Law {
        field: ".rootPEMs",
        cel: "!has(self.rootPEMs) || self.rootPEMs.all(pem, !pem.contains('PRIVATE KEY'))",
        message: "must not hold a private key: roots are public, keys stay with their owner",
        holds: |t| t.root_pems.iter().all(|pem| !pem.contains("PRIVATE KEY")),
    },
];

/// The laws of an expiry, beyond its pattern. The format `date-time` is not asked for: with it the API server takes a
/// list where a string belongs.
const EXPIRY_LAWS: &[Law<String>] = &[Law {
    field: "",
    cel: "timestamp(self) > timestamp('2000-01-01T00:00:00Z')",
    message: "must be on a day that exists",
    holds: |text| text.parse::<jiff::Timestamp>().is_ok(),
}];

/// The laws of [`Peer`].
const PEER_LAWS: &[Law<Peer>] = &[Law {
    field: ".nodeId",
    cel: "self.nodeId.lowerAscii() != 'lx0000000000000'",
    message: "must not be the placeholder LX0000000000000, which stands for no node",
    holds: |p| !p.node_id.eq_ignore_ascii_case(PLACEHOLDER_NODE),
}];

/// The laws of [`MeshRouteSpec`] as a whole.
const LAWS: &[Law<MeshRouteSpec>] = &[
    Law {
        field: ".addresses",
        cel: "!has(self.addresses) || self.addresses.all(a, self.addresses.exists_one(b, b.address == a.address))",
        message: "must not name an address twice",
        holds: |r| {
            let mut seen = HashSet::new();
            r.addresses.iter().all(|address| seen.insert(&address.address))
        },
    },
    Law {
        field: ".maxQueuedBytes",
        cel: "!has(self.maxQueuedBytes) || quantity(self.maxQueuedBytes).isGreaterThan(quantity('0'))",
        message: "must be more than 0; to let nothing through, set disabled",
        holds: |r| r.max_queued_bytes.is_none_or(|bytes| bytes.bytes() > 0),
    },
];

impl MeshRouteSpec {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        if let Some(expiry) = &self.expires_at {
            law::judge(EXPIRY_LAWS, expiry, &format!("{path}.expiresAt"), broken);
        }
        law::judge(PEER_LAWS, &self.peer, &format!("{path}.peer"), broken);
        law::judge(TRUST_LAWS, &self.trust, &format!("{path}.trust"), broken);
    }
}
