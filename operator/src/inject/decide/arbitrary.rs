//! Pods put together by chance, of parts that are odd each by itself: a decision is always made, and a patch always fits.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    tests::{applied, judged},
    *,
};

/// One of these, or nothing at all.
fn one_of(values: Vec<Value>) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop::sample::select(values))
}

/// Some of these, in any order.
fn some_of(values: Vec<Value>) -> impl Strategy<Value = Option<Value>> {
    let most = values.len();
    prop::option::of(prop::sample::subsequence(values, 0..=most).prop_shuffle().prop_map(Value::from))
}

fn object(members: Vec<(&'static str, Option<Value>)>) -> Value {
    let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

fn containers() -> Vec<Value> {
    vec![
        json!({"name": "app", "image": "app:1"}),
        json!({"name": "mesh", "image": "theirs:1"}),
        json!({"name": "guaranteed", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}}),
        json!({"name": "ports", "ports": [{"containerPort": 7304}, {"containerPort": 80, "hostPort": 7304}]}),
        json!({"name": "mounts", "volumeMounts": [{"name": "mesh-config", "mountPath": "/etc/mesh"}]}),
        json!({"name": "istio-proxy", "restartPolicy": "Always"}),
        json!({"name": "odd", "resources": {"limits": {"cpu": "no number", "memory": ""}}}),
        json!({"name": "", "env": [{"name": "MESH_ROLE", "value": "gateway"}]}),
    ]
}

fn metadata() -> impl Strategy<Value = Value> {
    let owner =
        |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}]);
    let owners = ["ReplicaSet", "Job", "CronJob", "DaemonSet", "StatefulSet", "Node"].map(owner).to_vec();
    let labels = vec![
        json!({}),
        json!({"interconn.dev/inject": "disabled"}),
        json!({"interconn.dev/inject": "enabled", "interconn.dev/node": "bank-b"}),
        json!({"interconn.dev/role": "gateway"}),
    ];
    let annotations = vec![
        json!({"interconn.dev/node": "bank-b"}),
        json!({"interconn.dev/node": ""}),
        json!({"interconn.dev/injected": "0.0.1"}),
        json!({"interconn.dev/image": "other:1", "interconn.dev/log": "\u{0}"}),
        json!({"traffic.sidecar.istio.io/excludeInboundPorts": "80,,x"}),
        json!({"config.linkerd.io/skip-inbound-ports": "7304"}),
    ];
    (one_of(owners), one_of(labels), one_of(annotations), any::<bool>()).prop_map(
        |(owners, labels, annotations, has_name)| {
            let name = if has_name { ("name", Some("p".into())) } else { ("generateName", Some("p-".into())) };
            object(vec![name, ("ownerReferences", owners), ("labels", labels), ("annotations", annotations)])
        },
    )
}

fn spec() -> impl Strategy<Value = Value> {
    let volumes = vec![
        json!({"name": "mesh-config", "emptyDir": {}}),
        json!({"name": "mesh-home", "emptyDir": {}}),
        json!({"name": "v", "configMap": {"name": "c"}}),
    ];
    let flags = vec![json!(true), json!(false)];
    let os = vec![json!({"name": "windows"}), json!({"name": "linux"})];
    let selector = vec![json!({"kubernetes.io/os": "windows"}), json!({})];
    let context = vec![json!({"runAsUser": 64304}), json!({"runAsNonRoot": true, "fsGroup": 1}), json!({})];
    let level = vec![json!({"limits": {"cpu": "1"}}), json!({})];
    (
        some_of(containers()),
        some_of(containers()),
        some_of(volumes),
        (one_of(flags.clone()), one_of(flags), one_of(os), one_of(selector), one_of(context), one_of(level)),
    )
        .prop_map(|(containers, init, volumes, (network, processes, os, selector, context, level))| {
            object(vec![
                ("containers", Some(containers.unwrap_or_else(|| json!([])))),
                ("initContainers", init),
                ("volumes", volumes),
                ("hostNetwork", network),
                ("shareProcessNamespace", processes),
                ("os", os),
                ("nodeSelector", selector),
                ("securityContext", context),
                ("resources", level),
            ])
        })
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let all = pod["spec"][list].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_a_pod_is_made_of_it_is_left_refused_or_gets_a_patch_that_fits_and_changes_nothing_of_its_own(
        metadata in metadata(), spec in spec(), known in prop::sample::subsequence(vec!["bank-a", "bank-b"], 0..=2),
    ) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        let Decision::Patch { operations, .. } = judged(&pod, &known) else { return Ok(()) };
        let after = applied(&pod, &operations);
        prop_assert!(serde_json::from_value::<Pod>(after.clone()).is_ok(), "{after}");
        prop_assert_eq!(judged(&after, &known), Decision::Left(Left::AlreadyThere));
        prop_assert_eq!(&after["spec"]["containers"], &pod["spec"]["containers"]);
        let init = names(&after, "initContainers");
        prop_assert_eq!(init.first().map(String::as_str), Some("mesh"));
        prop_assert_eq!(&init[1..], names(&pod, "initContainers"));
        for list in ["initContainers", "volumes"] {
            let (before, all) = (names(&pod, list), names(&after, list));
            let distinct: BTreeSet<_> = all.iter().collect();
            prop_assert_eq!(distinct.len(), all.len(), "{} of {:?} beside {:?}", list, all, before);
        }
    }
}
