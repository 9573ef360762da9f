//! Pods of every shape: each decision is made, applied as the API server would, and made again, which must change nothing.

use crds::ByteSize;
use serde_json::{Value, json};

use super::*;
use crate::{inject::choice::Known, node::pod::restricted};

fn settings() -> Settings {
    let image = Image {
        name: "example.org/mesh:1".into(),
        pull_policy: None,
        pull_secrets: Vec::new(),
        traces: traces::Options::default(),
    };
    let guaranteed = Guaranteed { cpu: Some("200m".into()), memory: Some("128Mi".into()) };
    Settings { image, own_namespace: "interconn-system".into(), guaranteed }
}

fn nodes(names: &[&str]) -> Nodes {
    let known = || Known { role: Role::Sidecar, queues: ByteSize::gib(2), store: Store::Memory };
    names.iter().map(|name| ((*name).to_owned(), known())).collect()
}

/// A pod with one container, and what `more` says of its spec.
fn pod(more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "app", "image": "app:1"}]});
    let Value::Object(more) = more else { panic!("{more}") };
    for (member, value) in more {
        spec[member] = value;
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

fn with(mut pod: Value, kind: &str, entries: &[(&str, &str)]) -> Value {
    for (name, value) in entries {
        pod["metadata"][kind][*name] = (*value).into();
    }
    pod
}

pub(super) fn judged(pod: &Value, known: &[&str]) -> Decision {
    decide(&serde_json::from_value(pod.clone()).unwrap(), "privacy", &nodes(known), &settings())
}

pub(super) fn applied(pod: &Value, operations: &[Operation]) -> Value {
    let patch: json_patch::Patch = serde_json::from_value(json!(operations)).unwrap();
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).unwrap();
    patched
}

/// The pod with its sidecar.
pub(super) fn injected(pod: &Value) -> Value {
    let Decision::Patch { operations, .. } = judged(pod, &["bank-a"]) else {
        panic!("{pod}: {:?}", judged(pod, &["bank-a"]))
    };
    let patched = applied(pod, &operations);
    assert_eq!(judged(&patched, &["bank-a"]), Decision::Left(Left::AlreadyThere), "a second time");
    patched
}

fn refused(pod: &Value, known: &[&str]) -> String {
    match judged(pod, known) {
        Decision::Refused(refusal) => refusal.to_string(),
        other => panic!("{pod}: {other:?}"),
    }
}

#[test]
fn a_plain_pod_gets_a_native_sidecar_first_and_keeps_what_it_has() {
    let before =
        pod(json!({"initContainers": [{"name": "init", "image": "i"}], "volumes": [{"name": "v", "emptyDir": {}}]}));
    let after = injected(&before);
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!((&sidecar["name"], &sidecar["restartPolicy"]), (&json!("mesh"), &json!("Always")));
    assert_eq!(
        sidecar["lifecycle"]["postStart"]["exec"]["command"][1], "ready",
        "those behind it wait until it serves"
    );
    assert_eq!(after["spec"]["initContainers"][1], before["spec"]["initContainers"][0]);
    assert_eq!(after["spec"]["containers"], before["spec"]["containers"]);
    let volumes: Vec<&Value> = after["spec"]["volumes"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
    assert_eq!(volumes, ["v", "mesh-config", "mesh-home"]);
    assert_eq!(after["metadata"]["labels"], json!({"interconn.dev/node": "bank-a", "interconn.dev/role": "sidecar"}));
    let annotations = json!({
        "config.linkerd.io/skip-inbound-ports": "7304,7305", "config.linkerd.io/skip-outbound-ports": "7304",
        "interconn.dev/injected": env!("CARGO_PKG_VERSION"),
        "traffic.sidecar.istio.io/excludeInboundPorts": "7304,7305",
        "traffic.sidecar.istio.io/excludeOutboundPorts": "7304",
    });
    assert_eq!(after["metadata"]["annotations"], annotations);
}

/// What stands in a pod stands there afterwards, whatever shape it has.
#[test]
fn every_odd_pod_is_injected_once_and_only_added_to() {
    let mut nameless = pod(json!({}));
    nameless["metadata"] = json!({"generateName": "job-"});
    let mut job = pod(json!({"restartPolicy": "Never", "activeDeadlineSeconds": 60}));
    job["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true}]);
    let host_port = json!({"name": "app", "ports": [{"containerPort": 8080, "hostPort": 7304, "name": "mesh-ptp"}]});
    let udp = json!({"name": "app", "ports": [{"containerPort": 7304, "protocol": "UDP"}]});
    let meshed = json!([{"name": "istio-proxy", "image": "i", "restartPolicy": "Always"}]);
    let cases = [
        pod(json!({})),
        nameless,
        job,
        with(pod(json!({})), "labels", &[("interconn.dev/inject", "enabled"), ("a~/b", "c")]),
        with(pod(json!({})), "annotations", &[("x/y~z", "1")]),
        pod(json!({"initContainers": [], "volumes": []})),
        pod(json!({"initContainers": meshed})),
        pod(json!({"containers": [host_port]})),
        pod(json!({"containers": [udp]})),
        pod(json!({"hostIPC": true, "automountServiceAccountToken": false})),
        pod(json!({"securityContext": {"runAsUser": 0, "fsGroup": 5}, "os": {"name": "linux"}})),
        pod(json!({"ephemeralContainers": [{"name": "debug", "image": "d"}]})),
    ];
    for before in cases {
        let after = injected(&before);
        assert!(is_within(&before, &after), "{before} became {after}");
        assert_eq!(after["spec"]["initContainers"][0]["name"], "mesh");
        let own = json!({"initContainers": [after["spec"]["initContainers"][0]]});
        assert_eq!(restricted::refusals(&own), Vec::<String>::new(), "our container, by itself");
    }
}

/// Whether everything of `small` is in `large`; lists may have more items, in the same order.
fn is_within(small: &Value, large: &Value) -> bool {
    match (small, large) {
        (Value::Object(small), Value::Object(large)) => {
            small.iter().all(|(name, value)| large.get(name).is_some_and(|other| is_within(value, other)))
        }
        (Value::Array(small), Value::Array(large)) => {
            let mut rest = large.iter();
            small.iter().all(|item| rest.any(|other| is_within(item, other)))
        }
        _ => small == large,
    }
}

#[test]
fn pods_that_a_sidecar_would_harm_are_left_alone_for_a_reason() {
    let own = json!([{"name": "main", "image": "bfia/mesh", "ports": [{"containerPort": 7304}]}]);
    let written = json!([{"name": "mesh", "image": "mesh", "ports": [{"containerPort": 7304}]}]);
    let labelled = |value| with(pod(json!({})), "labels", &[("interconn.dev/inject", value)]);
    for (pod, left) in [
        (labelled("disabled"), Left::OptedOut),
        (pod(json!({"hostNetwork": true})), Left::HostNetwork),
        (pod(json!({"shareProcessNamespace": true})), Left::SharedProcesses),
        (pod(json!({"hostPID": true})), Left::SharedProcesses),
        (pod(json!({"os": {"name": "windows"}})), Left::Windows),
        (pod(json!({"nodeSelector": {"kubernetes.io/os": "windows"}})), Left::Windows),
        (pod(json!({"containers": own})), Left::PortServed),
        (pod(json!({"containers": written})), Left::AlreadyThere),
        (with(pod(json!({})), "labels", &[("interconn.dev/role", "gateway")]), Left::Gateway),
        (with(pod(json!({})), "annotations", &[("kubernetes.io/config.mirror", "x")]), Left::Mirror),
    ] {
        assert_eq!(judged(&pod, &["bank-a"]), Decision::Left(left), "{pod}");
        assert!(
            left.text().starts_with("no sidecar: ") && left.text().len() < 120,
            "a warning that kubectl shows whole"
        );
    }
}

#[test]
fn no_label_brings_a_sidecar_into_the_system_or_the_operators_namespace() {
    let pod = serde_json::from_value(with(pod(json!({})), "labels", &[("interconn.dev/inject", "enabled")])).unwrap();
    for namespace in ["kube-system", "kube-public", "kube-node-lease", "interconn-system"] {
        assert_eq!(decide(&pod, namespace, &nodes(&["a"]), &settings()), Decision::Left(Left::ProtectedNamespace));
    }
}

#[test]
fn which_node_is_said_or_clear_or_the_pod_is_refused() {
    let named = |kind, name| with(pod(json!({})), kind, &[("interconn.dev/node", name)]);
    for (pod, known, node) in [
        (pod(json!({})), ["a"].as_slice(), "a"),
        (named("annotations", "b"), &["a", "b"], "b"),
        (named("labels", "b"), &["a", "b"], "b"),
    ] {
        let Decision::Patch { operations, .. } = judged(&pod, known) else { panic!("{:?}", judged(&pod, known)) };
        assert_eq!(applied(&pod, &operations)["metadata"]["labels"]["interconn.dev/node"], node);
    }
    let both = with(named("labels", "a"), "annotations", &[("interconn.dev/node", "b")]);
    for (pod, known, says) in [
        (pod(json!({})), [].as_slice(), "namespace privacy has no MeshNode: create one"),
        (pod(json!({})), &["a", "b"], "several MeshNodes (a, b): name one by annotation interconn.dev/node"),
        (named("annotations", "c"), &["a", "b"], "no MeshNode c in namespace privacy, which has a, b"),
        (named("labels", "c"), &[], "which has none"),
        (both, &["a", "b"], "label interconn.dev/node names a"),
    ] {
        let said = refused(&pod, known);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn names_and_ports_of_the_sidecar_that_a_pod_uses_itself_are_refused_with_the_remedy() {
    let container = |more: Value| {
        let mut container = json!({"name": "app", "image": "a"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container
    };
    let mounts = |kind: &str, name: &str| {
        pod(json!({kind: [container(json!({"volumeMounts": [{"name": name, "mountPath": "/keys"}]}))]}))
    };
    for (pod, says) in [
        (pod(json!({"containers": [container(json!({"name": "mesh"}))]})), "a container named mesh"),
        (pod(json!({"initContainers": [container(json!({"name": "mesh"}))]})), "a container named mesh"),
        (pod(json!({"volumes": [{"name": "mesh-config", "emptyDir": {}}]})), "a volume named mesh-config"),
        (pod(json!({"volumes": [{"name": "mesh-home", "emptyDir": {}}]})), "a volume named mesh-home"),
        // Nothing of that name is there yet; ours would be, and be read.
        (mounts("containers", "mesh-config"), "a volume mount named mesh-config"),
        (mounts("initContainers", "mesh-home"), "a volume mount named mesh-home"),
        (pod(json!({"containers": [container(json!({"ports": [{"containerPort": 7305}]}))]})), "app serves port 7305"),
        (with(pod(json!({})), "labels", &[("interconn.dev/inject", "yes")]), "must be enabled or disabled"),
    ] {
        let said = refused(&pod, &["a"]);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn annotations_change_image_settings_log_and_resources() {
    let asked = [
        ("interconn.dev/sidecar-image", "registry.example/mesh@sha256:00"),
        ("interconn.dev/sidecar-log", "info,mesh_network=debug"),
        (
            "interconn.dev/sidecar-config",
            "# comment\nMESH_PLAINTEXT_FROM=10.0.0.0/8\n\nMESH_DRAIN_DELAY=1s\nMESH_NAME=$(HOME)",
        ),
        ("interconn.dev/sidecar-cpu-request", "200m"),
        ("interconn.dev/sidecar-memory-limit", "1Gi"),
        ("interconn.dev/sidecar-cpus", "4"),
    ];
    let pod = with(pod(json!({})), "annotations", &asked);
    let after = injected(&pod);
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!(sidecar["image"], "registry.example/mesh@sha256:00");
    let variables: BTreeMap<&str, &str> = sidecar["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap()))
        .collect();
    assert_eq!(variables.len(), sidecar["env"].as_array().unwrap().len(), "none twice");
    for (name, value) in [
        ("MESH_PLAINTEXT_FROM", "10.0.0.0/8"),
        ("MESH_DRAIN_DELAY", "1s"),
        ("MESH_LOG", "info,mesh_network=debug"),
        ("MESH_NAME", "$$(HOME)"),
        ("MESH_CONFIG_DIR", "/etc/mesh"),
    ] {
        assert_eq!(variables.get(name), Some(&value), "{name}");
    }
    assert_eq!(sidecar["resources"]["requests"]["cpu"], "200m");
    assert_eq!(sidecar["resources"]["limits"]["memory"], "1Gi");
    let Decision::Patch { warnings, .. } = judged(&pod, &["a"]) else { panic!() };
    assert_eq!(warnings, ["annotation interconn.dev/sidecar-cpus is none that this operator knows"]);
}

#[test]
fn an_annotation_that_cannot_be_followed_is_refused_by_name() {
    for (annotation, value, says) in [
        ("image", "", "image reference"),
        ("image", "two words", "image reference"),
        ("log", "loud", "write off, error"),
        ("config", "MESH_PLAINTEXT_FROM", "NAME=value"),
        ("config", "PATH=/bin", "no setting of mesh"),
        ("config", "MESH_ROLE=gateway", "set by the operator"),
        ("config", "MESH_NAME=a\nMESH_NAME=b", "stands twice"),
        ("cpu-request", "much", "quantity"),
        ("memory-limit", "0", "more than 0"),
        ("memory-limit", "-1Gi", "quantity"),
    ] {
        let name = format!("interconn.dev/sidecar-{annotation}");
        let said = refused(&with(pod(json!({})), "annotations", &[(&name, value)]), &["a"]);
        assert!(said.starts_with(&format!("annotation {name}: ")) && said.contains(says), "{said}");
    }
    let crossed = [("interconn.dev/sidecar-cpu-request", "2"), ("interconn.dev/sidecar-cpu-limit", "500m")];
    let said = refused(&with(pod(json!({})), "annotations", &crossed), &["a"]);
    assert!(said.contains("must not be above interconn.dev/sidecar-cpu-limit"), "{said}");
}

fn resources(pod: &Value) -> Value {
    injected(pod)["spec"]["initContainers"][0]["resources"].clone()
}

#[test]
fn a_guaranteed_pod_stays_guaranteed() {
    let sure = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}});
    let guaranteed = pod(json!({"containers": [{"name": "app", "image": "a", "resources": sure}]}));
    let given = resources(&guaranteed);
    assert_eq!(given["requests"], given["limits"]);
    assert_eq!(given["limits"], json!({"cpu": "200m", "memory": "128Mi"}), "what is reserved is no default limit");
    let asked = [("interconn.dev/sidecar-cpu-request", "300m"), ("interconn.dev/sidecar-memory-limit", "96Mi")];
    let given = resources(&with(guaranteed.clone(), "annotations", &asked));
    assert_eq!(
        given,
        json!({"limits": {"cpu": "300m", "memory": "96Mi"}, "requests": {"cpu": "300m", "memory": "96Mi"}})
    );
    let mut burstable = guaranteed;
    burstable["spec"]["containers"][0]["resources"]["requests"]["memory"] = "1Mi".into();
    let given = resources(&burstable);
    assert_ne!(given["requests"], given["limits"], "it was not Guaranteed, and needs not be");
}

#[test]
fn a_container_with_the_sidecars_user_is_warned_of() {
    let user = json!({"securityContext": {"runAsUser": 64304}});
    let Decision::Patch { warnings, .. } = judged(&pod(user), &["a"]) else { panic!() };
    assert_eq!(warnings, ["container app runs as user 64304, the sidecar's own: give it another"]);
}

#[test]
fn a_lone_sidecar_in_memory_holds_no_machine_back() {
    let name = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    for (store, before, after) in [
        (Store::Memory, "", json!("mesh-home")),
        (Store::Memory, "cache", json!("cache,mesh-home")),
        (Store::Disk, "", Value::Null),
    ] {
        let known = Known { role: Role::Lone, queues: ByteSize::gib(2), store };
        let nodes = Nodes::from([("a".to_owned(), known)]);
        let before = match before {
            "" => pod(json!({})),
            _ => with(pod(json!({})), "annotations", &[(name, before)]),
        };
        let read = serde_json::from_value(before.clone()).unwrap();
        let Decision::Patch { operations, .. } = decide(&read, "privacy", &nodes, &settings()) else { panic!() };
        assert_eq!(applied(&before, &operations)["metadata"]["annotations"][name], after);
    }
}

#[test]
fn a_pod_with_a_budget_of_its_own_gets_none_from_us() {
    let budget = pod(json!({"resources": {"limits": {"cpu": "2", "memory": "2Gi"}}}));
    assert_eq!(resources(&budget), json!({}));
    let asked = with(budget, "annotations", &[("interconn.dev/sidecar-cpu-limit", "1")]);
    assert_eq!(resources(&asked), json!({"limits": {"cpu": "1"}}));
}

/// Kubernetes refuses a request above its limit; a default must not make one of what was asked for.
#[test]
fn defaults_give_way_to_what_was_asked_for() {
    let asked = |name: &str, value: &str| {
        resources(&with(pod(json!({})), "annotations", &[(&format!("interconn.dev/sidecar-{name}"), value)]))
    };
    let given = asked("memory-request", "100Gi");
    assert_eq!((&given["requests"]["memory"], &given["limits"]["memory"]), (&json!("100Gi"), &json!("100Gi")));
    let given = asked("memory-limit", "1Mi");
    assert_eq!((&given["requests"]["memory"], &given["limits"]["memory"]), (&json!("1Mi"), &json!("1Mi")));
}

#[test]
fn a_sidecar_that_another_webhook_made_a_plain_init_container_is_one_again() {
    let after = injected(&pod(json!({})));
    let mut stripped = after.clone();
    stripped["spec"]["initContainers"][0].as_object_mut().unwrap().remove("restartPolicy");
    let Decision::Patch { operations, .. } = judged(&stripped, &["bank-a"]) else { panic!() };
    assert_eq!(applied(&stripped, &operations), after);
}

#[test]
fn a_stripped_sidecar_behind_another_container_is_mended_and_not_its_neighbour() {
    let mut after = injected(&pod(json!({})));
    let others = json!({"name": "istio-init", "image": "i"});
    after["spec"]["initContainers"].as_array_mut().unwrap().insert(0, others);
    let mut stripped = after.clone();
    stripped["spec"]["initContainers"][1].as_object_mut().unwrap().remove("restartPolicy");
    let Decision::Patch { operations, .. } = judged(&stripped, &["bank-a"]) else { panic!() };
    assert_eq!(applied(&stripped, &operations), after);
}
