//! The network controller: join tokens, addresses and the tunnel for edge nodes (NC sections 5, 6 and 8).

use std::{collections::BTreeMap, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    LocalRef, REGISTER_PORT, Span, Violation,
    law::{self, Law},
    pattern,
};

/// The network controller of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LAWS))]
pub struct Tunnel {
    /// The IPv4 address that edge nodes dial. An address, never a name: legacy clients refuse names.
    #[schemars(length(min = 7, max = 15), regex(pattern = pattern::IPV4))]
    pub advertise: String,
    /// The server's own address in the tunnel, with the length of the network's prefix, 8 to 29.
    #[serde(default = "subnet")]
    #[schemars(length(min = 9, max = 18), regex(pattern = pattern::SUBNET))]
    pub subnet: String,
    /// Whether edge nodes reach each other, or the server only.
    #[serde(default)]
    pub interconnection: bool,
    /// How packets are moved.
    #[serde(default)]
    pub mode: TunnelMode,
    /// The largest packet, in bytes.
    #[serde(default = "mtu")]
    #[schemars(range(min = 576, max = 9000))]
    pub mtu: u16,
    /// Ports of the server's tunnel address that lead on to a TCP address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["port"]))]
    pub forwards: Vec<Forward>,
    /// Who may reach whom, by label. Empty: everybody, as `interconnection` allows; else only what a rule allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "atomic"))]
    pub policy: Vec<TunnelRule>,
    /// Networks that may be reached through an edge node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cidr"]))]
    pub routes: Vec<TunnelRoute>,
    /// Whether an edge node must show its certificate on the tunnel's port; legacy servers do not ask.
    #[serde(default)]
    pub client_certificate: TunnelCertificate,
    /// Whether a node's certificate may query and remove that node only, and mint no tokens.
    #[serde(default)]
    pub role_split: bool,
    /// How long the address of an absent node is kept for it; absent: until it is unregistered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_lease: Option<Span>,
    /// How often one address may try; of IPv6 one /64.
    #[serde(default, skip_serializing_if = "TunnelLimits::is_default")]
    pub limits: TunnelLimits,
    /// A Secret with the CA of the register plane: `tls.crt` and `tls.key`; absent: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register_ca_secret_ref: Option<LocalRef>,
    /// A Secret with the CA of the join plane: `tls.crt` and `tls.key`; absent: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_ca_secret_ref: Option<LocalRef>,
}

/// How often one address may try (NC section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelLimits {
    /// Joining with a token, whether the token is good or not.
    pub joins: TunnelRate,
    /// Asking for the tunnel itself: nodes behind one NAT come back together when their provider's line does.
    pub sockets: TunnelRate,
}

/// So many at once, and so many a second from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TunnelRate {
    /// At once.
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: u32,
    /// From then on, each second.
    #[schemars(range(min = 1, max = 100_000))]
    pub per_second: u32,
}

impl TunnelRate {
    /// What either of its numbers may be.
    pub const BOUNDS: RangeInclusive<u32> = 1..=100_000;
}

impl TunnelLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TunnelLimits {
    fn default() -> Self {
        Self { joins: TunnelRate { burst: 100, per_second: 10 }, sockets: TunnelRate { burst: 1000, per_second: 100 } }
    }
}

/// The network that LiteKube embeds (NC section 6).
fn subnet() -> String {
    "10.1.1.1/24".into()
}

/// What legacy peers use on both ends (NC section 4).
fn mtu() -> u16 {
    1400
}

/// How packets are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TunnelMode {
    /// By a packet switch in the process, which needs no privilege.
    #[default]
    Userspace,
    /// Through a TUN device, which needs NET_ADMIN.
    Tun,
}

/// Whether an edge node must show its certificate on the tunnel's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TunnelCertificate {
    /// It may.
    #[default]
    Optional,
    /// It must, and the certificate must be its own.
    Required,
}

/// A port of the server's tunnel address that leads on to a TCP address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// The port at the server's tunnel address.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The `host:port` that it leads to.
    #[schemars(length(min = 1, max = 512), regex(pattern = pattern::HOST_PORT))]
    pub address: String,
}

/// One thing that is allowed between edge nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelRule {
    /// The labels that a sender has; empty: every node.
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub from: BTreeMap<String, String>,
    /// The labels that a receiver has; empty: every node.
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub to: BTreeMap<String, String>,
    /// TCP and UDP ports of the receiver; empty: all, and ICMP.
    #[schemars(length(max = 32), inner(range(min = 1, max = 65535)), extend("x-kubernetes-list-type" = "set"))]
    pub ports: Vec<u16>,
}

/// A network that may be reached through an edge node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TunnelRoute {
    /// The network, as IPv4 address and prefix length.
    #[schemars(length(min = 9, max = 18), regex(pattern = pattern::NETWORK))]
    pub cidr: String,
    /// The labels of the nodes that may offer it.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub through: BTreeMap<String, String>,
}

/// The laws of [`Tunnel`].
const LAWS: &[Law<Tunnel>] = &[
    Law {
        field: ".advertise",
        cel: "self.advertise != '0.0.0.0'",
        message: "must be an address that edge nodes can dial",
        holds: |t| t.advertise != "0.0.0.0",
    },
    Law {
        field: ".forwards",
        cel: "!has(self.forwards) || self.forwards.all(forward, forward.port != 6440)",
        message: "must not claim port 6440, which is the network controller's own",
        holds: |t| t.forwards.iter().all(|forward| forward.port != REGISTER_PORT),
    },
    Law {
        field: ".addressLease",
        cel: "!has(self.addressLease) || duration(self.addressLease) >= duration('1m')",
        message: "must be at least 1m",
        holds: |t| t.address_lease.is_none_or(|lease| lease >= Span::minutes(1)),
    },
];

impl Tunnel {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
    }
}
