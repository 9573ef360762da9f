//! What the objects are called, whose they are, and that each fits the API server.

use std::{collections::BTreeSet, sync::Arc};

use crds::{MeshRoute, StorageMode, TlsRoute};
use kube::{Resource, ResourceExt};
use mesh_pki::{Pair, PrivateKeyPem};
use serde_json::{Value, json};

use super::*;
use crate::node::{
    Found, FoundGateway, Issued, build,
    pod::{Role, labels, restricted},
    sample, validate,
};

mod rollouts;

/// etcd takes 1.5 MiB, and the API server holds Secrets and ConfigMaps to 1 MiB of data.
const OBJECT_MAX: usize = 1 << 20;

fn node(name: &str) -> MeshNode {
    let mut node = sample::node(name, "LX1");
    node.metadata.uid = Some("uid-1".into());
    node
}

/// The node whose lone sidecar is all of it.
fn lone(name: &str) -> MeshNode {
    let mut node = node(name);
    node.spec.gateway.enabled = false;
    node
}

fn image() -> Image {
    Image {
        name: "example.org/mesh:1".into(),
        pull_policy: None,
        pull_secrets: vec!["registry".into()],
        traces: traces::Options::default(),
    }
}

/// Builds what was found and makes the objects, where nothing runs yet.
fn objects_of(found: &Found) -> Resources<Prepared> {
    objects_beside(found, &Seen::default())
}

fn objects_beside(found: &Found, seen: &Seen) -> Resources<Prepared> {
    let judgement = validate::all(found, sample::now());
    let built = build::node(&judgement, sample::now()).unwrap().unwrap();
    let (image, gateways) = (image(), GatewayDefaults::default());
    let operator =
        Operator { namespace: "interconn-system", lease: "interconn-operator", image: &image, gateways: &gateways };
    prepare(&found.node, operator, seen, &judgement, &built, None)
}

fn set(gateway: &Gateway) -> &StatefulSet {
    match &gateway.set {
        Planned::Now(set) => set,
        Planned::Later(aspect) => panic!("it waits: {aspect:?}"),
    }
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
    objects_of(&found)
}

/// All objects as they are sent.
fn all(resources: &Resources<Prepared>) -> Vec<Value> {
    fn sent<K: serde::Serialize>(object: &K) -> Value {
        serde_json::to_value(object).unwrap()
    }
    let Resources {
        node: _,
        new_roots,
        pairs,
        parts,
        main,
        public_root,
        service,
        gateway,
        policy,
        budget,
        tls_route,
        owner: _,
        hash: _,
        state: _,
    } = resources;
    let maps = parts.iter().chain([main, public_root]).map(sent);
    let gateway = gateway.iter().flat_map(|gateway| [sent(&gateway.account), sent(set(gateway))]);
    let route = match tls_route {
        Exposed::Written { route, .. } => Some(sent(&**route)),
        Exposed::Untouched | Exposed::Withdrawn { .. } => None,
    };
    let secrets = new_roots.iter().chain(pairs).map(sent);
    let of_gateway = gateway.chain(policy.iter().map(sent)).chain(budget.iter().map(sent));
    maps.chain(secrets).chain([sent(service)]).chain(of_gateway).chain(route).collect()
}

/// A node with a gateway, as it is by default.
fn with_gateway(change: impl FnOnce(&mut MeshNode)) -> Found {
    let mut node = node("bank-a");
    change(&mut node);
    let mut found = sample::found(node, Vec::new());
    found.gateway = Some(FoundGateway::default());
    found
}

fn with_gateway_and_parts(routes: usize) -> Found {
    let mut found = with_gateway(|_| {});
    let pem = sample::root_pem("LX2");
    let route = |n: usize| sample::route(&format!("route-{n}"), "bank-a", &format!("LX{}", n + 2), &[&pem]);
    found.routes = (0..routes).map(|n| Arc::new(route(n))).collect();
    found.registrations = vec![sample::registration("serving", "bank-a").into()];
    found
}

fn value<K: serde::Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap()
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
    let objects = all(&prepared(&lone("bank-a"), 2, 1));
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
    let with_gateway = [
        "NetworkPolicy privacy/mesh-bank-a",
        "Secret interconn-system/mesh-member-root.privacy.bank-a",
        "Secret privacy/mesh-bank-a-member",
        "ServiceAccount privacy/mesh-bank-a",
        "StatefulSet privacy/mesh-bank-a",
    ];
    let mut found = with_gateway_and_parts(2);
    let all_names: BTreeSet<_> = wanted.into_iter().chain(with_gateway).map(str::to_owned).collect();
    assert_eq!(names(&all(&objects_of(&found))), all_names);
    let node = Arc::make_mut(&mut found.node);
    node.spec.network_policy = NetworkPolicyMode::None;
    assert!(objects_of(&found).policy.is_none());
}

#[test]
fn everything_but_the_root_goes_with_its_node_and_carries_its_label() {
    let found = with_gateway_and_parts(2);
    let node: &MeshNode = &found.node;
    for object in all(&objects_of(&found)) {
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

#[test]
fn of_several_gateways_one_may_be_away_and_each_is_on_a_machine_of_its_own() {
    let (mut node, pods) = (node("bank-a"), json!({"matchLabels": labels("bank-a", Role::Gateway)}));
    assert!(budget::budget(&node).is_none(), "it would only keep machines from being emptied");
    node.spec.gateway.replicas = 3;
    let wanted = json!({"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": pods});
    assert_eq!(value(&budget::budget(&node))["spec"], wanted);
    assert!(placement::spread("bank-a", 1, &[]).is_empty());
    let apart = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": pods}]);
    assert_eq!(value(&placement::spread("bank-a", 3, &[])), apart);
    let zones =
        json!([{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]);
    let said: Vec<crds::TopologySpread> = serde_json::from_value(zones).unwrap();
    let spread = value(&placement::spread("bank-a", 3, &said));
    assert!(spread[0]["topologyKey"] == "topology.kubernetes.io/zone" && spread[1].is_null(), "{spread}");
}

/// The longest name that the API takes for a node: each object's is a DNS label, and the Service's has to be.
#[test]
fn the_longest_name_of_a_node_leaves_room_for_what_is_made_of_it() {
    let found = with_gateway(|node| node.metadata.name = Some("n".repeat(40)));
    for object in all(&objects_of(&found)) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let most = if object["metadata"]["namespace"] == "interconn-system" { 253 } else { 63 };
        assert!(name.len() <= most, "{name}");
    }
}

#[test]
fn keys_are_in_secrets_and_nowhere_else() {
    for object in all(&objects_of(&with_gateway_and_parts(1))) {
        let text = object.to_string();
        let has_key = text.contains("tls.key") || text.contains("member.key");
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
        let pair = |secret: &Secret, name: &str| {
            let data = secret.data.as_ref().unwrap();
            let text = |kind: &str| String::from_utf8(data[&format!("{name}.{kind}")].0.clone()).unwrap();
            Pair { chain_pem: text("crt"), key: PrivateKeyPem::new(text("key")) }
        };
        let kept_pair = |n: usize, name: &str| kept.map(|kept| pair(&kept.pairs[n], name));
        let kept_root = |n: usize| kept.and_then(|kept| kept.new_roots.get(n)).map(|root| pair(root, "tls"));
        found.root = kept_root(0).map(Issued::from);
        found.leaf = kept_pair(0, "tls");
        found.gateway =
            Some(FoundGateway { static_ips: Vec::new(), member_root: kept_root(1), member: kept_pair(1, "member") });
        objects_of(&found)
    };
    let first = objects(routes.clone(), None);
    let again = objects(routes.into_iter().rev().collect(), Some(&first));
    assert!(again.new_roots.is_empty());
    let but_root = |resources: &Resources<Prepared>| {
        let objects = all(resources);
        objects.into_iter().filter(|o| o["metadata"]["namespace"] == "privacy").collect::<Vec<_>>()
    };
    assert_eq!(but_root(&again), but_root(&first));
}

#[test]
fn the_gateways_pod_passes_restricted_and_holds_no_right() {
    let gateway = objects_of(&with_gateway(|_| {})).gateway.unwrap();
    let pod = &value(set(&gateway))["spec"]["template"]["spec"];
    assert_eq!(restricted::refusals(pod), Vec::<String>::new());
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(value(&gateway.account)["automountServiceAccountToken"], false);
    assert_eq!(pod["serviceAccountName"], "mesh-bank-a");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["securityContext"]["fsGroup"], 64304, "so that it may write to its volume");
}

fn with_rooms(change: impl FnOnce(&mut crds::Tunnel)) -> Found {
    let mut tunnel = serde_json::from_value(json!({"advertise": "203.0.113.7"})).unwrap();
    change(&mut tunnel);
    with_gateway(|node| {
        node.spec.tunnel = Some(tunnel);
        node.spec.directory = Some(crds::Directory::default());
    })
}

#[test]
fn the_keys_of_tunnel_and_directory_are_kept_by_the_operator_and_given_to_the_gateway_alone() {
    let mut found = with_rooms(|_| {});
    let first = objects_of(&found);
    let kept = first.new_roots.iter().find(|secret| secret.name_any() == "mesh-rooms.privacy.bank-a").unwrap();
    assert_eq!(kept.namespace().as_deref(), Some("interconn-system"));
    let files = kept.data.clone().unwrap();
    let expected =
        ["directory.key", "tunnel-join.crt", "tunnel-join.key", "tunnel-register.crt", "tunnel-register.key"];
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    for object in all(&first) {
        let may =
            ["mesh-rooms.privacy.bank-a", "mesh-bank-a-leaf"].contains(&object["metadata"]["name"].as_str().unwrap());
        let has = expected.iter().any(|file| object.to_string().contains(file));
        assert_eq!(has, may, "{object}");
    }
    let leaf = first.pairs.iter().find(|secret| secret.name_any() == "mesh-bank-a-leaf").unwrap();
    assert!(files.iter().all(|(file, bytes)| leaf.data.as_ref().unwrap()[file] == *bytes));
    found.rooms.kept = crate::node::Keys(files.into_iter().map(|(file, bytes)| (file, bytes.0)).collect());
    let again = objects_of(&found);
    assert!(!again.new_roots.iter().any(|secret| secret.name_any().starts_with("mesh-rooms.")), "made once");
    assert_eq!(value(&again.pairs[0])["data"]["directory.key"], value(leaf)["data"]["directory.key"]);
    Arc::make_mut(&mut found.node).spec.tunnel = None;
    let off = value(&objects_of(&found).pairs[0])["data"].clone();
    assert!(off["tunnel-join.key"].is_null() && off["directory.key"].is_string(), "what is off is given to nobody");
}

#[test]
fn the_claims_of_a_gateway_that_is_there_stay_and_it_is_told() {
    let found = with_gateway(|_| {});
    let set = set(&objects_of(&found).gateway.unwrap()).clone();
    let claims = &value(&set)["spec"]["volumeClaimTemplates"];
    assert_eq!(claims[0]["spec"]["resources"]["requests"]["storage"], "10Gi");
    assert_eq!(claims[0]["metadata"]["labels"][NODE_LABEL], "bank-a", "people find it by its label");
    assert!(!keeps_other_claims(&found.node, &set));
    let seen = Seen { set: Some(set), ..Seen::default() };
    for change in [
        (|node| node.spec.gateway.storage.size = crds::ByteSize::gib(20)) as fn(&mut MeshNode),
        |node| node.spec.gateway.storage.storage_class_name = Some("fast".into()),
        |node| node.spec.gateway.storage.mode = StorageMode::Ephemeral,
    ] {
        let changed = with_gateway(change);
        let wanted = objects_beside(&changed, &seen).gateway.unwrap();
        let wanted = self::set(&wanted).clone();
        assert_eq!(value(&wanted), value(seen.set.as_ref().unwrap()));
        assert!(keeps_other_claims(&changed.node, &wanted));
    }
}

#[test]
fn the_claim_of_a_node_that_goes_stays_unless_its_spec_says_otherwise() {
    let fate = |found: &Found, seen: &Seen| {
        let set = value(set(&objects_beside(found, seen).gateway.unwrap()));
        set["spec"]["persistentVolumeClaimRetentionPolicy"].clone()
    };
    let stays = with_gateway(|_| {});
    let goes = with_gateway(|node| node.spec.gateway.storage.deletion_policy = crds::DeletionPolicy::Delete);
    assert_eq!(fate(&stays, &Seen::default()), json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
    let there = Seen { set: Some(set(&objects_of(&stays).gateway.unwrap()).clone()), ..Seen::default() };
    assert_eq!(
        fate(&goes, &there),
        json!({"whenDeleted": "Delete", "whenScaled": "Retain"}),
        "of a gateway that is there"
    );
}

#[test]
fn an_ephemeral_gateway_has_scratch_space_and_no_claim() {
    let gateway = objects_of(&with_gateway(|node| node.spec.gateway.storage.mode = StorageMode::Ephemeral)).gateway;
    let set = value(set(&gateway.unwrap()));
    assert!(set["spec"]["volumeClaimTemplates"].is_null());
    assert!(set["spec"]["persistentVolumeClaimRetentionPolicy"].is_null());
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.contains(&json!({"name": "mesh-home", "emptyDir": {}})), "{volumes:?}");
}

#[test]
fn the_service_leads_to_the_gateway_or_without_one_to_the_lone_sidecar() {
    let selector = |found: &Found| value(&objects_of(found).service)["spec"]["selector"].clone();
    let gateway = json!({"interconn.dev/node": "bank-a", "interconn.dev/role": "gateway"});
    assert_eq!(selector(&with_gateway(|_| {})), gateway);
    assert_eq!(selector(&sample::found(lone("bank-a"), Vec::new())), json!({"interconn.dev/node": "bank-a"}));
}

#[test]
fn the_service_is_what_expose_says() {
    let plain = value(&objects_of(&with_gateway(|_| {})).service);
    assert_eq!(plain["spec"]["type"], "ClusterIP");
    assert!(plain["metadata"]["annotations"].is_null());
    let exposed = with_gateway(|node| {
        node.spec.expose = serde_json::from_value(json!({"service": {"type": "LoadBalancer",
            "annotations": {"a.example/b": "c"}, "loadBalancerClass": "d.example/e", "externalTrafficPolicy": "Local"}}))
        .unwrap();
    });
    let service = value(&objects_of(&exposed).service);
    assert_eq!(service["metadata"]["annotations"], json!({"a.example/b": "c"}));
    let wanted = json!({"type": "LoadBalancer", "loadBalancerClass": "d.example/e", "externalTrafficPolicy": "Local"});
    for (member, value) in wanted.as_object().unwrap() {
        assert_eq!(&service["spec"][member], value);
    }
}

#[test]
fn a_tls_route_is_written_where_the_cluster_knows_it_and_taken_away_where_nobody_wants_it() {
    let wanted = |node: &mut MeshNode| {
        let route =
            json!({"parentRefs": [{"name": "public", "namespace": "edge"}], "hostnames": ["mesh.bank-a.example"]});
        node.spec.expose.tls_route = Some(serde_json::from_value::<TlsRoute>(route).unwrap());
    };
    let served = Seen { tls_route_version: Some("v1alpha3".into()), ..Seen::default() };
    let Exposed::Written { route, .. } = objects_beside(&with_gateway(wanted), &served).tls_route else {
        panic!("none is written")
    };
    let route = value(&*route);
    assert_eq!(route["apiVersion"], "gateway.networking.k8s.io/v1alpha3");
    let spec = json!({"parentRefs": [{"name": "public", "namespace": "edge"}], "hostnames": ["mesh.bank-a.example"],
        "rules": [{"backendRefs": [{"name": "mesh-bank-a", "port": 7304}]}]});
    assert_eq!(route["spec"], spec);
    assert!(matches!(objects_of(&with_gateway(wanted)).tls_route, Exposed::Untouched), "the cluster has no such API");
    assert!(matches!(objects_beside(&with_gateway(|_| {}), &served).tls_route, Exposed::Withdrawn { .. }));
}

#[test]
fn the_policy_lets_in_what_everybody_may_dial_and_out_to_those_whom_the_node_knows() {
    let mut found = with_gateway_and_parts(1);
    Arc::make_mut(&mut found.routes[0]).spec.addresses[0].address = "mesh-node.bank-b.svc:7304".into();
    let policy = value(&objects_of(&found).policy.unwrap());
    let selects = json!({"matchLabels": {"interconn.dev/node": "bank-a", "interconn.dev/role": "gateway"}});
    assert_eq!(policy["spec"]["podSelector"], selects, "pods of applications are not cut off");
    let port = |protocol: &str, port: u16| json!({"protocol": protocol, "port": port});
    assert_eq!(policy["spec"]["ingress"], json!([{"ports": [port("TCP", 7304), port("TCP", 7305)]}]));
    let namespace = |name: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let names = [port("TCP", 53), port("UDP", 53), port("TCP", 5353), port("UDP", 5353)];
    let ports: Vec<_> = names.into_iter().chain([port("TCP", 8000)]).collect();
    let spaces = ["bank-b", "interconn-system", "privacy"].map(namespace);
    assert_eq!(policy["spec"]["egress"], json!([{"to": spaces}, {"ports": ports}]));
    let judgement = validate::all(&found, sample::now());
    let collector = Some("http://collector.telemetry.svc:4317");
    let policy = value(&policy::network_policy(&found.node, "interconn-system", collector, &judgement));
    let spaces = ["bank-b", "interconn-system", "privacy", "telemetry"].map(namespace);
    assert_eq!(policy["spec"]["egress"], json!([{"to": spaces}, {"ports": ports}]), "and to who takes traces");
    let mut node = MeshNode::clone(&found.node);
    node.spec.directory = Some(crds::Directory { probe_endpoints: true, ..crds::Directory::default() });
    let policy = value(&policy::network_policy(&node, "interconn-system", None, &judgement));
    let all = policy["spec"]["egress"][1]["ports"].as_array().unwrap();
    assert_eq!(all.last().unwrap(), &json!({"protocol": "TCP"}), "wherever endpoints are that are probed");
}

#[test]
fn what_is_said_of_the_gateways_pod_is_in_its_template_word_for_word_beside_ours() {
    let selector = json!({"matchLabels": {"app": "db"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"}]});
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selector, "namespaceSelector": {},
        "namespaces": ["other"]});
    let terms = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term],
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7, "podAffinityTerm": term}]});
    let machines = json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["8"]}],
        "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["bad"]}]});
    let same = json!({
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [
            {"key": "mesh", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
            {"operator": "Exists"},
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [machines]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": machines}],
            },
            "podAffinity": terms, "podAntiAffinity": terms,
        },
        "priorityClassName": "high",
    });
    let mut said = same.clone();
    said["labels"] = json!({"team": "payments"});
    said["annotations"] = json!({"example.org/note": "kept"});
    said["imagePullSecrets"] = json!([{"name": "own"}, {"name": "registry"}]);
    let zone = |more: Value| {
        let mut spread = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        spread.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spread
    };
    let named = zone(json!({"topologyKey": "host", "minDomains": 2, "labelSelector": selector}));
    said["topologySpreadConstraints"] = json!([zone(json!({})), named]);

    let mut node = node("bank-a");
    node.spec.gateway.pod = Some(serde_json::from_value(said).unwrap());
    assert_eq!(crds::validate::node(&node.spec), Ok(()));
    let gateway = prepared(&node, 0, 0).gateway.unwrap();
    let template = serde_json::to_value(&set(&gateway).spec.as_ref().unwrap().template).unwrap();
    for (member, wanted) in same.as_object().unwrap() {
        assert_eq!(&template["spec"][member], wanted, "{member}");
    }
    let gateways = json!({"labelSelector": {"matchLabels": {"interconn.dev/role": "gateway"}}});
    assert_eq!(template["spec"]["topologySpreadConstraints"], json!([zone(gateways), named]));
    assert_eq!(template["spec"]["imagePullSecrets"], json!([{"name": "registry"}, {"name": "own"}]));
    let labels = json!({"team": "payments", "interconn.dev/node": "bank-a", "interconn.dev/role": "gateway",
        "sidecar.istio.io/inject": "false"});
    let annotations = json!({"example.org/note": "kept", "linkerd.io/inject": "disabled"});
    assert_eq!(template["metadata"], json!({"labels": labels, "annotations": annotations}));
    assert_eq!(restricted::refusals(&template["spec"]), Vec::<String>::new());
}
