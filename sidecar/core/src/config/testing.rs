//! Nodes to test with: a root, a leaf, and a directory as the operator writes it.

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use crds::snapshot;
use mesh_pki::{Algorithm, Identity, LeafRequest, Pair, Root};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::directory::hex;

/// A root for `node_id`.
pub(crate) fn root(node_id: &str) -> Root {
    let identity = Identity { node_id: node_id.into(), name: "bank".into() };
    let life = crds::Span::hours(24 * 365).get();
    Root::generate(&identity, Algorithm::EcdsaP256, life, SystemTime::now()).unwrap()
}

/// Writes a configuration as the operator does; `routes` are the partners' node ids.
pub(crate) fn write_directory(directory: &Path, node_id: &str, routes: &[&str]) {
    let root = root(node_id);
    let leaf = leaf(&root, node_id);
    let partners: Vec<_> = routes.iter().map(|id| partner(id)).collect();
    let node = json!({"nodeId": node_id, "instId": "JG1", "displayName": "bank", "fromTheFuture": true});
    let files: Vec<(&str, String)> = vec![
        (snapshot::NODE, node.to_string()),
        ("routes-0.json", json!(partners).to_string()),
        (snapshot::CA_CRT, root.certificate_pem().to_owned()),
        (snapshot::TLS_CRT, leaf.chain_pem.clone()),
    ];
    let sums: BTreeMap<_, _> = files.iter().map(|(n, text)| (*n, hex(&Sha256::digest(text)))).collect();
    let manifest = json!({"format": 1, "namespace": "privacy", "name": "bank-a", "files": sums});
    for (name, text) in &files {
        fs::write(directory.join(name), text).unwrap();
    }
    fs::write(directory.join(snapshot::TLS_KEY), leaf.key.expose()).unwrap();
    fs::write(directory.join(snapshot::MANIFEST), manifest.to_string()).unwrap();
}

/// Gives the node in `directory` a gateway, as the operator does.
pub(crate) fn add_gateway(directory: &Path, node_id: &str) {
    let root = root(node_id);
    let member = leaf(&root, node_id);
    let read = |name: &str| serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap();
    let (mut node, mut manifest): (serde_json::Value, serde_json::Value) =
        (read(snapshot::NODE), read(snapshot::MANIFEST));
    node["gateway"] = json!({"address": "mesh-bank-a.privacy.svc:7304", "staticIps": ["10.96.0.7"]});
    let files = [
        (snapshot::NODE, node.to_string()),
        (snapshot::MEMBERS_CRT, root.certificate_pem().to_owned()),
        (snapshot::MEMBER_CRT, member.chain_pem.clone()),
    ];
    for (name, text) in files {
        manifest["files"][name] = hex(&Sha256::digest(&text)).into();
        fs::write(directory.join(name), text).unwrap();
    }
    fs::write(directory.join(snapshot::MEMBER_KEY), member.key.expose()).unwrap();
    fs::write(directory.join(snapshot::MANIFEST), manifest.to_string()).unwrap();
}

/// Tells the node in `directory` where the operator's intake is.
pub(crate) fn add_intake(directory: &Path) {
    let read = |name: &str| serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap();
    let (mut node, mut manifest): (serde_json::Value, serde_json::Value) =
        (read(snapshot::NODE), read(snapshot::MANIFEST));
    node["intake"] = json!({"address": "interconn-intake.interconn-system.svc:443", "ca": "pem"});
    manifest["files"][snapshot::NODE] = hex(&Sha256::digest(node.to_string())).into();
    fs::write(directory.join(snapshot::NODE), node.to_string()).unwrap();
    fs::write(directory.join(snapshot::MANIFEST), manifest.to_string()).unwrap();
}

fn leaf(root: &Root, node_id: &str) -> Pair {
    let request = LeafRequest {
        identity: Identity { node_id: node_id.into(), name: "bank".into() },
        algorithm: Algorithm::EcdsaP256,
        lifetime: crds::Certificates::default().leaf_lifetime.get(),
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    };
    root.issue(&request, SystemTime::now()).unwrap()
}

fn partner(node_id: &str) -> serde_json::Value {
    let pem = root(node_id).certificate_pem().to_owned();
    json!({"name": node_id.to_lowercase(), "peer": {"nodeId": node_id}, "roots": [pem]})
}
