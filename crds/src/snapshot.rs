//! The configuration snapshot: what the operator writes for a node and what the sidecar runs on.
//!
//! A snapshot is a directory of small files that belong together: [`MANIFEST`] names every other file with its sha256,
//! so that a reader never runs on a mixture of two versions. Keys never stand in a file that has a place in a ConfigMap.
//!
//! | file | holds | where Kubernetes keeps it |
//! |---|---|---|
//! | `manifest.json` | [`Manifest`] | ConfigMap |
//! | `node.json` | [`NodeConfig`] | ConfigMap |
//! | `routes-N.json` | a list of [`RouteConfig`] | as many ConfigMaps as the 1 MiB limit needs |
//! | `registrations-N.json` | a list of [`RegistrationConfig`] | the same |
//! | `ca.crt` | the node's own roots, PEM | ConfigMap |
//! | `tls.crt`, `tls.key` | the node's leaf with its chain, and its key | Secret of the gateway |
//! | `client-ROUTE.crt`, `client-ROUTE.key` | a pair that a partner issued for us | Secret of the gateway |
//! | `members.crt` | the roots of the members, PEM: whose leaf ends here is a sidecar of this node | ConfigMap |
//! | `member.crt`, `member.key` | the pair that sidecars show to their gateway | Secret of the sidecars |
//! | `grid-LISTENER.crt`, `grid-LISTENER.key` | what end users see who connect to a listener of the grid | Secret of the gateway |
//! | `grid-LISTENER.jwks` | the keys that sign the tokens of a listener's end users; some are secrets | the same |
//! | `grid-USER.token` | the password or token of a backend | the same |
//! | `tunnel-register.crt`, `.key`, `tunnel-join.crt`, `.key` | the tunnel's authorities; in no manifest | the same |
//! | `directory.key`, `directory.begun` | what the directory signs with, and the log that it began; in no manifest | the same |
//! | `backplane.creds`, `backplane.crt`, `.key`, `backplane-ca.crt` | what NATS is shown, and known by; in no manifest | the same |
//!
//! `members.crt` and the pair of the sidecars are there where the node has a gateway ([`NodeConfig::gateway`]). The manifest names the certificates of both
//! Secrets; each reader asks for the files of its own [`Role`] ([`Role::reads`]).
//!
//! Unknown members are ignored by serde; a reader that wants to know of them uses `serde_ignored`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Backplane, ByteSize, ClientCertificate, Directory, Grid, Peer, PeerAddress, RegisteredService, RegistrationKind,
    Registry, Transport, Tunnel,
};

/// The file that names all others.
pub const MANIFEST: &str = "manifest.json";
/// The file with the node itself.
pub const NODE: &str = "node.json";
/// The node's own roots.
pub const CA_CRT: &str = "ca.crt";
/// The node's leaf and chain.
pub const TLS_CRT: &str = "tls.crt";
/// The leaf's key. Never named in the manifest: a sum of a key has no place in a ConfigMap.
pub const TLS_KEY: &str = "tls.key";
/// The roots of the node's members. They are under none of the published roots.
pub const MEMBERS_CRT: &str = "members.crt";
/// What sidecars show to their gateway.
pub const MEMBER_CRT: &str = "member.crt";
/// The key to it. Never named in the manifest, like [`TLS_KEY`].
pub const MEMBER_KEY: &str = "member.key";
/// What the names of the grid's files begin with. Their keys, key sets and tokens are never named in the manifest.
pub const GRID: &str = "grid-";
/// The layout that this version writes and reads.
pub const FORMAT: u32 = 1;

/// What a process is for its node: the value of `MESH_ROLE` (design sections 4 and 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// The whole node: the gateway, a lone sidecar, or a node on bare metal.
    #[default]
    Gateway,
    /// The applications' own 7304 in their pod; it passes on to the gateway what it cannot answer itself.
    Sidecar,
}

impl Role {
    /// As `MESH_ROLE` and the label `interconn.dev/role` say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Sidecar => "sidecar",
        }
    }

    /// The role of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Gateway, Self::Sidecar].into_iter().find(|role| role.as_str() == text)
    }

    /// Whether a process of this role reads a file that the manifest names. The keys go with their certificates.
    #[must_use]
    pub fn reads(self, file: &str) -> bool {
        match self {
            Self::Gateway => file != MEMBER_CRT,
            Self::Sidecar => {
                let is_pair = file.starts_with("client-") || file.starts_with(GRID);
                file != TLS_CRT && !(is_pair && file.ends_with(".crt"))
            }
        }
    }
}

/// Which files make up the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The namespace of the MeshNode.
    pub namespace: String,
    /// The name of the MeshNode.
    pub name: String,
    /// File name to lower-case hex of the sha256 of its bytes.
    pub files: BTreeMap<String, String>,
}

/// The node: who it is and how it works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfig {
    /// The node's id in the network.
    pub node_id: String,
    /// The institution's id in the network.
    pub inst_id: String,
    /// What people call the node.
    #[serde(default)]
    pub display_name: String,
    /// The `host:port` that partners dial.
    #[serde(default)]
    pub address: String,
    /// The queues of the data plane.
    #[serde(default)]
    pub transport: Transport,
    /// The registry of services.
    #[serde(default)]
    pub registry: Registry,
    /// The grid; absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
    /// The Datanet directory; absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    /// The network controller; absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// What joins the node's gateways; absent: there is one, and it needs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backplane: Option<Backplane>,
    /// Where the gateway is; absent: there is none, and the lone sidecar is the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayConfig>,
    /// Where the operator takes reports and changes of trust; absent: nowhere, as without a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intake: Option<IntakeConfig>,
}

/// Where the operator's intake is ([`crate::intake`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntakeConfig {
    /// `host:port` of the operator's Service.
    pub address: String,
    /// The addresses behind that name: nobody depends on name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_ips: Vec<std::net::IpAddr>,
    /// The authorities that its certificate ends in, PEM.
    pub ca: String,
}

/// Where sidecars find their gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConfig {
    /// `host:port` of the gateway's Service.
    pub address: String,
    /// The addresses behind that name: nobody depends on name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_ips: Vec<std::net::IpAddr>,
}

/// A partner, with everything that the MeshRoute referred to filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteConfig {
    /// The MeshRoute's name: what messages tell people to look at.
    pub name: String,
    /// Who the partner is.
    pub peer: Peer,
    /// Ordered failover: the first healthy address wins.
    #[serde(default)]
    pub addresses: Vec<PeerAddress>,
    /// The roots, PEM, one certificate in each.
    #[serde(default)]
    pub roots: Vec<String>,
    /// Whether the partner must prove who it is.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// Whether `client-NAME.crt` and `client-NAME.key` are to be shown to it instead of our leaf.
    #[serde(default)]
    pub client_pair: bool,
    /// When the route ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// A disabled route is known but carries nothing.
    #[serde(default)]
    pub disabled: bool,
    /// Path prefixes of registered services that the partner may call.
    #[serde(default)]
    pub exports: Vec<String>,
    /// What the partner may have queued here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queued_bytes: Option<ByteSize>,
    /// The URL of a proxy to dial through; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// Where the partner's names lead, without asking name servers (PTP section 11.1, `static_ip`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_ips: Vec<std::net::IpAddr>,
    /// Whether the API said so, not the resource or the file: its addresses are dialled with more care (design section 4). Never
    /// written; whoever puts both together says it.
    #[serde(skip)]
    pub by_api: bool,
}

/// A permanent service, with its address resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationConfig {
    /// The ServiceRegistration's resource name.
    pub resource: String,
    /// The instance's id.
    pub instance_id: String,
    /// The name that instances of one service share.
    pub name: String,
    /// How requests find it.
    #[serde(default)]
    pub kind: RegistrationKind,
    /// `host:port`.
    pub address: String,
    /// What it offers.
    #[serde(default)]
    pub services: Vec<RegisteredService>,
}

/// The name of the `n`th file of routes.
#[must_use]
pub fn routes_file(n: usize) -> String {
    format!("routes-{n}.json")
}

/// The name of the `n`th file of registrations.
#[must_use]
pub fn registrations_file(n: usize) -> String {
    format!("registrations-{n}.json")
}

/// The certificate of a listener of the grid, and its key.
#[must_use]
pub fn grid_pair(listener: &str) -> (String, String) {
    (format!("{GRID}{listener}.crt"), format!("{GRID}{listener}.key"))
}

/// The keys that sign the tokens of a listener's end users.
#[must_use]
pub fn grid_keys(listener: &str) -> String {
    format!("{GRID}{listener}.jwks")
}

/// What a backend proves itself with.
#[must_use]
pub fn grid_token(user: &str) -> String {
    format!("{GRID}{user}.token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_reads_its_own_pair_and_all_else() {
        let table = [
            (NODE, true, true),
            (CA_CRT, true, true),
            ("routes-0.json", true, true),
            (MEMBERS_CRT, true, true),
            (TLS_CRT, true, false),
            ("client-bank-b.crt", true, false),
            ("grid-chat.crt", true, false),
            (MEMBER_CRT, false, true),
        ];
        for (file, gateway, sidecar) in table {
            assert_eq!((Role::Gateway.reads(file), Role::Sidecar.reads(file)), (gateway, sidecar), "{file}");
        }
    }

    #[test]
    fn a_role_is_known_by_its_word() {
        for role in [Role::Gateway, Role::Sidecar] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Sidecar"), None);
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod skew;
