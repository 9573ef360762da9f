//! Institutions to test with: roots, leaves, routes, and nodes that run on loopback.

mod client;
pub(crate) mod http2;
mod node;
mod trust_all;

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use crds::{
    Peer, PeerAddress,
    snapshot::{NodeConfig, RouteConfig},
};
use mesh_core::{Origin, Parts, Snapshot};
use mesh_pki::{Algorithm, Identity, LeafRequest, Pair, Root};

pub(crate) use client::{Plain, TlsClient, head, json_of, plain_from, tls_client};
pub(crate) use node::{PAGE, Running, listener, until};

pub(crate) const A: &str = "LX0000010000280";
pub(crate) const B: &str = "LX0000010000270";
pub(crate) const C: &str = "LX0000010000260";
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A party with a root of its own.
pub(crate) struct Institution {
    pub(crate) node_id: String,
    pub(crate) inst_id: String,
    pub(crate) root: Root,
}

/// Makes a party.
pub(crate) fn institution(node_id: &str) -> Institution {
    let root = Root::generate(&identity(node_id), Algorithm::EcdsaP256, 10 * YEAR, SystemTime::now()).unwrap();
    Institution { node_id: node_id.into(), inst_id: format!("JG01000{}00000000", &node_id[9..]), root }
}

fn identity(node_id: &str) -> Identity {
    // All roots have one subject but for the node id, as the reference makes them.
    Identity { node_id: node_id.into(), name: "bank".into() }
}

impl Institution {
    /// A leaf of its root for itself.
    pub(crate) fn leaf(&self) -> Pair {
        self.leaf_for(&self.node_id)
    }

    /// A leaf of its root that names another node.
    pub(crate) fn leaf_for(&self, node_id: &str) -> Pair {
        self.leaf_until(node_id, YEAR)
    }

    pub(crate) fn leaf_until(&self, node_id: &str, lifetime: Duration) -> Pair {
        let request = LeafRequest {
            identity: identity(node_id),
            algorithm: Algorithm::EcdsaP256,
            lifetime,
            extra_dns: Vec::new(),
            extra_ips: Vec::new(),
        };
        self.root.issue(&request, SystemTime::now()).unwrap()
    }

    /// A leaf of its root for a host that is no node.
    pub(crate) fn leaf_of_host(&self, host: &str) -> Pair {
        let request = LeafRequest {
            identity: identity("LX0000010000999"),
            algorithm: Algorithm::EcdsaP256,
            lifetime: YEAR,
            extra_dns: vec![host.to_owned()],
            extra_ips: Vec::new(),
        };
        self.root.issue(&request, SystemTime::now()).unwrap()
    }

    /// A route to it.
    pub(crate) fn route(&self) -> RouteConfig {
        RouteConfig {
            name: self.node_id.to_ascii_lowercase(),
            peer: Peer { node_id: self.node_id.clone(), inst_id: self.inst_id.clone(), display_name: String::new() },
            addresses: Vec::new(),
            roots: vec![self.root.certificate_pem().to_owned()],
            client_certificate: crds::ClientCertificate::Required,
            client_pair: false,
            expires_at: None,
            disabled: false,
            exports: Vec::new(),
            max_queued_bytes: None,
            proxy: String::new(),
            static_ips: Vec::new(),
            by_api: true,
        }
    }

    /// A route to it at these addresses.
    pub(crate) fn route_at(&self, addresses: &[std::net::SocketAddr]) -> RouteConfig {
        let address = |a: &std::net::SocketAddr| PeerAddress { address: a.to_string(), server_name: String::new() };
        RouteConfig { addresses: addresses.iter().map(address).collect(), ..self.route() }
    }

    /// Its configuration with these partners.
    pub(crate) fn parts(&self, routes: Vec<RouteConfig>) -> Parts {
        let leaf = self.leaf();
        Parts {
            hash: String::new(),
            origin: Origin::Standalone,
            role: mesh_core::Role::Gateway,
            node: NodeConfig {
                node_id: self.node_id.clone(),
                inst_id: self.inst_id.clone(),
                display_name: "bank".into(),
                address: "mesh.bank.example:7304".into(),
                transport: crds::Transport::default(),
                registry: crds::Registry::default(),
                gateway: None,
                grid: None,
                directory: None,
                tunnel: None,
                backplane: None,
                intake: None,
            },
            routes,
            registrations: Vec::new(),
            roots_pem: self.root.certificate_pem().to_owned(),
            leaf_pem: leaf.chain_pem.clone(),
            key_pem: leaf.key.expose().to_owned(),
            members_pem: String::new(),
            client_pairs: HashMap::new(),
            grid: Default::default(),
            room_keys: Default::default(),
        }
    }

    pub(crate) fn snapshot(&self, routes: Vec<RouteConfig>) -> Snapshot {
        Snapshot::assemble(self.parts(routes)).unwrap()
    }
}

/// `now` and some seconds, as configuration writes it.
pub(crate) fn in_seconds(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
}
