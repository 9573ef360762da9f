//! Resources and certificates for tests: builders with defaults.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::{LocalRef, MeshNode, MeshNodeSpec, MeshRoute, ServiceRegistration};
use mesh_pki::{Algorithm, Identity, LeafRequest, Pair, Root};
use serde_json::json;

use super::Found;

/// A moment well within every life that the tests make.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// `n` days.
pub(crate) fn days(n: u64) -> Duration {
    Duration::from_secs(n * 24 * 3600)
}

/// A node with every setting at its default.
pub(crate) fn node(name: &str, node_id: &str) -> MeshNode {
    let mut node = MeshNode::new(name, MeshNodeSpec::with_ids(node_id, "JG1"));
    node.metadata.namespace = Some("privacy".into());
    node
}

/// A route that trusts `roots`.
pub(crate) fn route(name: &str, node: &str, peer: &str, roots: &[&str]) -> MeshRoute {
    let document = json!({
        "apiVersion": "interconn.dev/v1alpha1", "kind": "MeshRoute",
        "metadata": {"name": name, "namespace": "privacy"},
        "spec": {"nodeRef": {"name": node}, "peer": {"nodeId": peer},
                 "addresses": [{"address": "127.0.0.1:27304"}], "trust": {"rootPEMs": roots}},
    });
    serde_json::from_value(document).unwrap()
}

/// A registration at an address.
pub(crate) fn registration(name: &str, node: &str) -> ServiceRegistration {
    let document = json!({
        "apiVersion": "interconn.dev/v1alpha1", "kind": "ServiceRegistration",
        "metadata": {"name": name, "namespace": "privacy"},
        "spec": {"nodeRef": {"name": node}, "instanceId": name, "name": "serving",
                 "address": "10.0.0.5:8000", "services": [{"urn": "/serving"}]},
    });
    serde_json::from_value(document).unwrap()
}

/// A root that lives for `life` from a day before [`now`].
pub(crate) fn root(node_id: &str, life: Duration) -> Root {
    Root::generate(&identity(node_id), Algorithm::EcdsaP256, life, now() - days(1)).unwrap()
}

/// A root that lives long.
pub(crate) fn root_pem(node_id: &str) -> String {
    root(node_id, days(3650)).certificate_pem().to_owned()
}

/// A leaf of `root`, issued a day before [`now`].
pub(crate) fn leaf(root: &Root, node_id: &str, life: Duration) -> Pair {
    let request = LeafRequest {
        identity: identity(node_id),
        algorithm: Algorithm::EcdsaP256,
        lifetime: life,
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    };
    root.issue(&request, now() - days(1)).unwrap()
}

/// A leaf that is good at `at`, of a root that nobody keeps.
pub(crate) fn leaf_at(at: SystemTime) -> Pair {
    let root = Root::generate(&identity("LX9"), Algorithm::EcdsaP256, days(365), at).unwrap();
    let request = LeafRequest {
        identity: identity("LX1"),
        algorithm: Algorithm::EcdsaP256,
        lifetime: days(30),
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    };
    root.issue(&request, at).unwrap()
}

/// Certificate and key as a Secret of type `kubernetes.io/tls` has them.
pub(crate) fn secret(entries: &[(&str, &str)]) -> super::Keys {
    super::Keys(entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect())
}

/// A reference by name.
pub(crate) fn named(name: &str) -> Option<LocalRef> {
    Some(LocalRef { name: name.into() })
}

/// The node alone, with what is given.
pub(crate) fn found(node: MeshNode, routes: Vec<MeshRoute>) -> Found {
    Found {
        node: Arc::new(node),
        routes: routes.into_iter().map(Arc::new).collect(),
        registrations: Vec::new(),
        secrets: BTreeMap::new(),
        config_maps: BTreeMap::new(),
        root: None,
        published_pem: String::new(),
        issuer: None,
        leaf: None,
        rooms: super::FoundRooms::default(),
        gateway: None,
        intake: None,
    }
}

fn identity(node_id: &str) -> Identity {
    Identity { node_id: node_id.into(), name: format!("Bank {node_id}") }
}
