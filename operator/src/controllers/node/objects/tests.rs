//! What the objects are called, whose they are, and that each fits the API server.

use std::collections::BTreeSet;

use crds::MeshRoute;
use kube::{Resource, ResourceExt};
use serde_json::Value;

use super::*;
use crate::node::{build, sample, validate};

/// etcd takes 1.5 MiB, and the API server holds Secrets and ConfigMaps to 1 MiB of data.
const OBJECT_MAX: usize = 1 << 20;

fn node(name: &str) -> MeshNode {
    let mut node = sample::node(name, "LX1");
    node.metadata.uid = Some("uid-1".into());
    node
}

fn prepared(node: &MeshNode, routes: usize, padding: usize) -> Resources<Prepared> {
    let pem = sample::root_pem("LX2");
    let route = |n: usize| {
        let mut route = sample::route(&format!("route-{n}"), &node.name_any(), &format!("LX{}", n + 2), &[&pem]);
        route.spec.exports = vec![format!("/{}", "x".repeat(padding))];
        route
    };
    let mut found = sample::found(node.clone(), (0..routes).map(route).collect());
    found.registrations = vec![sample::registration("serving", &node.name_any()).into()];
    let built = build::node(&validate::all(&found, sample::now()), sample::now()).unwrap().unwrap();
    prepare(node, "interconn-system", &built)
}

/// All objects as they are sent.
fn all(resources: &Resources<Prepared>) -> Vec<Value> {
    fn sent<K: serde::Serialize>(object: &K) -> Value {
        serde_json::to_value(object).unwrap()
    }
    let Resources { node: _, new_root, leaf, parts, main, public_root, service, owner: _, hash: _, state: _ } =
        resources;
    let maps = parts.iter().chain([main, public_root]).map(sent);
    maps.chain(new_root.iter().chain([leaf]).map(sent)).chain([sent(service)]).collect()
}

fn names(objects: &[Value]) -> BTreeSet<String> {
    let name = |object: &Value| {
        let text = |member: &str| object["metadata"][member].as_str().unwrap().to_owned();
        format!("{} {}/{}", object["kind"].as_str().unwrap(), text("namespace"), text("name"))
    };
    objects.iter().map(name).collect()
}

#[test]
fn the_objects_of_a_node_have_the_names_that_the_guide_gives() {
    let objects = all(&prepared(&node("bank-a"), 2, 1));
    let wanted = [
        "ConfigMap privacy/bank-a-root",
        "ConfigMap privacy/mesh-bank-a",
        "ConfigMap privacy/mesh-bank-a-registrations-0",
        "ConfigMap privacy/mesh-bank-a-routes-0",
        "Secret interconn-system/mesh-root.privacy.bank-a",
        "Secret privacy/mesh-bank-a-leaf",
        "Service privacy/mesh-bank-a",
    ];
    assert_eq!(names(&objects), wanted.map(str::to_owned).into());
}

#[test]
fn everything_but_the_root_goes_with_its_node_and_carries_its_label() {
    let node = node("bank-a");
    for object in all(&prepared(&node, 2, 1)) {
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"][NODE_LABEL], "bank-a", "{metadata}");
        assert_eq!(metadata["labels"][MANAGED_BY], US, "{metadata}");
        if metadata["namespace"] == "interconn-system" {
            assert!(metadata["ownerReferences"].is_null(), "the root would go with the node: {metadata}");
            assert_eq!(metadata["labels"][NODE_NAMESPACE_LABEL], "privacy");
        } else {
            let owner = serde_json::to_value(vec![node.controller_owner_ref(&()).unwrap()]).unwrap();
            assert_eq!(metadata["ownerReferences"], owner, "{metadata}");
        }
    }
}

/// The longest name that the API takes for a node: each object's is a DNS label, and the Service's has to be.
#[test]
fn the_longest_name_of_a_node_leaves_room_for_what_is_made_of_it() {
    for object in all(&prepared(&node(&"n".repeat(40)), 1, 1)) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let most = if object["metadata"]["namespace"] == "interconn-system" { 253 } else { 63 };
        assert!(name.len() <= most, "{name}");
    }
}

#[test]
fn keys_are_in_secrets_and_nowhere_else() {
    for object in all(&prepared(&node("bank-a"), 1, 1)) {
        let text = object.to_string();
        let has_key = text.contains("tls.key");
        assert_eq!(has_key, object["kind"] == "Secret" && !text.contains("PRIVATE"), "{}", object["metadata"]["name"]);
    }
}

#[test]
fn no_object_of_a_node_with_a_thousand_routes_is_larger_than_the_api_server_takes() {
    // Half a kilobyte more than the certificate in each: two parts are not enough.
    let objects = all(&prepared(&node("bank-a"), 1000, 500));
    let parts = names(&objects).iter().filter(|name| name.contains("mesh-bank-a-routes-")).count();
    assert!(parts > 1, "{parts}");
    for object in objects {
        let size = object.to_string().len();
        assert!(size <= OBJECT_MAX, "{} has {size} bytes", object["metadata"]["name"]);
    }
}

#[test]
fn the_same_node_gives_the_same_objects_whatever_the_order_of_its_routes() {
    let node = node("bank-a");
    let pem = sample::root_pem("LX2");
    let routes: Vec<_> = ["b", "c", "d"].map(|n| sample::route(n, "bank-a", n, &[&pem])).into();
    let objects = |routes: Vec<MeshRoute>, kept: Option<&Resources<Prepared>>| {
        let mut found = sample::found(node.clone(), routes);
        // What was made the first time is found the second time.
        let pair = |secret: &Secret| {
            let data = secret.data.as_ref().unwrap();
            let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
            mesh_pki::Pair { chain_pem: text(TLS_CRT), key: mesh_pki::PrivateKeyPem::new(text(TLS_KEY)) }
        };
        found.root = kept.and_then(|kept| kept.new_root.as_ref()).map(pair);
        found.leaf = kept.map(|kept| pair(&kept.leaf));
        let built = build::node(&validate::all(&found, sample::now()), sample::now()).unwrap().unwrap();
        prepare(&node, "interconn-system", &built)
    };
    let first = objects(routes.clone(), None);
    let again = objects(routes.into_iter().rev().collect(), Some(&first));
    assert!(again.new_root.is_none());
    let but_root = |resources: &Resources<Prepared>| {
        let objects = all(resources);
        objects.into_iter().filter(|o| o["metadata"]["namespace"] == "privacy").collect::<Vec<_>>()
    };
    assert_eq!(but_root(&again), but_root(&first));
}
