//! The example resources of the documentation: good by the rules of the API, and good together.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail the test")]

use std::{collections::BTreeSet, path::PathBuf};

use crds::{MeshNode, MeshRoute, ServiceRegistration, Violation, read, yaml};
use serde_json::Value;

fn documents(folder: &str) -> Vec<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("examples").map(|f| f.expect("a file").path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("text"));
    texts.flat_map(|text| yaml::documents(&text).expect("YAML")).collect()
}

fn of_kind<K: read::Kind>(documents: &[Value], kind: &str) -> Vec<K> {
    let good = |found: Result<K, Vec<Violation>>| found.unwrap_or_else(|found| panic!("{kind}: {found:?}"));
    documents.iter().filter(|d| d["kind"] == kind).map(|d| good(read::resource::<K>(d.clone()))).collect()
}

#[test]
fn the_two_banks_are_good_and_know_each_other() {
    let documents = documents("two-banks");
    let nodes: Vec<MeshNode> = of_kind(&documents, "MeshNode");
    let routes: Vec<MeshRoute> = of_kind(&documents, "MeshRoute");
    let services: Vec<ServiceRegistration> = of_kind(&documents, "ServiceRegistration");
    assert_eq!((nodes.len(), routes.len(), services.len(), documents.len()), (2, 2, 1, 5));

    let namespaces: BTreeSet<_> = documents.iter().map(|d| d["metadata"]["namespace"].to_string()).collect();
    assert_eq!(namespaces.len(), 1, "a reference reaches its own namespace only");

    let node = |name: &str| nodes.iter().find(|n| n.metadata.name.as_deref() == Some(name)).expect("the node exists");
    for route in &routes {
        let (own, trust) = (node(&route.spec.node_ref.name), route.spec.trust.config_map_ref.as_ref().expect("a ref"));
        let partner = node(trust.name.strip_suffix("-root").expect("the ConfigMap that a node publishes"));
        assert_ne!(own.spec.node_id, partner.spec.node_id);
        assert_eq!(route.spec.peer.node_id, partner.spec.node_id);
        assert_eq!(route.spec.peer.inst_id, partner.spec.inst_id);
        assert_eq!(route.spec.addresses[0].address, partner.spec.address);
    }
    let exports: Vec<_> = routes.iter().filter(|r| r.spec.node_ref.name == services[0].spec.node_ref.name).collect();
    assert_eq!(exports[0].spec.exports, [services[0].spec.services[0].urn.clone()]);
}
