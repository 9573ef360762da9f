//! The container and its volumes, for each role, as the kubelet gets them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn image() -> Image {
    Image {
        name: "example.org/mesh:1".into(),
        pull_policy: None,
        pull_secrets: Vec::new(),
        traces: traces::Options::default(),
    }
}

/// Container and volumes.
fn made(role: Role) -> (Value, Value) {
    let image = image();
    let mesh = Mesh { node: "bank-a", role, image: &image, queues: ByteSize::gib(2), resources: None };
    (serde_json::to_value(mesh.container()).unwrap(), serde_json::to_value(mesh.volumes()).unwrap())
}

fn sources(volumes: &Value) -> &Vec<Value> {
    volumes[0]["projected"]["sources"].as_array().unwrap()
}

#[test]
fn the_gateways_container_is_this() {
    let probe = |path: &str, every: u8, failures: u8| {
        json!({"httpGet": {"path": path, "port": 7305, "scheme": "HTTP"},
            "periodSeconds": every, "failureThreshold": failures, "timeoutSeconds": 5})
    };
    let wanted = json!({
        "name": "mesh", "image": "example.org/mesh:1", "args": ["start", "--server"],
        "env": [
            {"name": "MESH_ROLE", "value": "gateway"}, {"name": "MESH_CONFIG_DIR", "value": "/etc/mesh"},
            {"name": "MESH_HOME", "value": "/mesh"}, {"name": "MESH_ADMIN_LISTEN", "value": "[::]:7305"},
            {"name": "MESH_BACKPLANE_ADDRESS",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
        ],
        "ports": [
            {"name": "mesh-ptp", "containerPort": 7304, "protocol": "TCP"},
            {"name": "mesh-admin", "containerPort": 7305, "protocol": "TCP"},
        ],
        "startupProbe": probe("/livez", 1, 120),
        "readinessProbe": probe("/readyz", 2, 3),
        "livenessProbe": probe("/livez", 10, 6),
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "4", "memory": "2560Mi"}},
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 64304, "runAsGroup": 64304, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "mesh-config", "mountPath": "/etc/mesh", "readOnly": true},
            {"name": "mesh-home", "mountPath": "/mesh"},
        ],
    });
    assert_eq!(made(Role::Gateway).0, wanted);
}

#[test]
fn a_sidecar_differs_from_the_gateway_in_what_it_is_and_what_it_takes() {
    let differing = |role| {
        let (container, gateway) = (made(role).0, made(Role::Gateway).0);
        let all: Vec<String> = container.as_object().unwrap().keys().cloned().collect();
        let differ: Vec<_> = all.into_iter().filter(|key| container[key] != gateway[key]).collect();
        (container, differ)
    };
    let (sidecar, differ) = differing(Role::Sidecar);
    assert_eq!(differ, ["env", "lifecycle", "resources", "restartPolicy"]);
    assert_eq!(sidecar["restartPolicy"], "Always", "a native sidecar");
    let until_ready = json!({"postStart": {"exec": {"command": ["/bin/mesh", "ready", "--within=120s"]}}});
    assert_eq!(sidecar["lifecycle"], until_ready, "what comes behind it starts as soon as it is ready");
    assert_eq!(sidecar["startupProbe"], Value::Null, "which would make it start up to a second later");
    assert_eq!(sidecar["env"][0]["value"], "sidecar");
    assert_eq!(sidecar["env"][4], json!({"name": "MESH_DRAIN_DELAY", "value": "0s"}));
    assert_eq!(sidecar["env"][5], json!({"name": "MESH_CONFIG_WAIT", "value": "5s"}));
    assert_eq!(sidecar["resources"]["limits"]["memory"], "256Mi");
    let (lone, differ) = differing(Role::Lone);
    assert_eq!(differ, ["env", "lifecycle", "resources", "restartPolicy"]);
    assert_eq!(lone["env"][4], json!({"name": "MESH_CONFIG_WAIT", "value": "5s"}));
    assert_eq!(lone["resources"]["limits"]["memory"], "2560Mi", "it holds the queues");
}

#[test]
fn the_volume_has_what_must_be_there_and_every_part_that_may_come() {
    for (role, secret, mode) in [
        (Role::Gateway, "mesh-bank-a-leaf", 0o440),
        (Role::Lone, "mesh-bank-a-leaf", 0o444),
        (Role::Sidecar, "mesh-bank-a-member", 0o444),
    ] {
        let volumes = made(role).1;
        assert_eq!(volumes[0]["projected"]["defaultMode"], mode);
        let sources = sources(&volumes);
        let must: Vec<_> = sources.iter().filter(|source| source["configMap"]["optional"] != true).collect();
        let token = json!({"audience": "interconn.dev/intake", "expirationSeconds": 3600, "path": "token"});
        let wanted = [
            json!({"secret": {"name": secret}}),
            json!({"configMap": {"name": "mesh-bank-a"}}),
            json!({"serviceAccountToken": token}),
        ];
        assert_eq!(must, wanted.iter().collect::<Vec<_>>(), "{role:?}");
        let optional: BTreeSet<_> = sources.iter().filter_map(|source| source["configMap"]["name"].as_str()).collect();
        assert_eq!(optional.len(), 33, "sixteen parts of each list, and the manifest's");
        assert!(optional.contains("mesh-bank-a-routes-15") && optional.contains("mesh-bank-a-registrations-0"));
        let homes = volumes.as_array().unwrap().iter().filter(|v| v["name"] == "mesh-home").count();
        assert_eq!(homes, usize::from(role != Role::Gateway), "the gateway's is a claim");
    }
}

/// An autoscaler removes no machine with a pod that keeps something on its disk, and a disk that fills up evicts neighbours.
#[test]
fn what_a_sidecar_keeps_in_a_pod_of_others_is_bounded_and_beside_a_gateway_in_memory() {
    let home = |role| made(role).1[1]["emptyDir"].clone();
    assert_eq!(home(Role::Sidecar), json!({"medium": "Memory", "sizeLimit": "4Mi"}));
    assert_eq!(home(Role::Lone), json!({"sizeLimit": "5Gi"}));
}

#[test]
fn every_role_passes_restricted_without_a_word_of_its_pod() {
    for role in [Role::Gateway, Role::Lone, Role::Sidecar] {
        let (container, volumes) = made(role);
        let pod = json!({"containers": [container.clone()], "initContainers": [container], "volumes": volumes});
        assert_eq!(restricted::refusals(&pod), Vec::<String>::new(), "{role:?}");
    }
}

/// The judge itself judges: each field that is taken away is missed.
#[test]
fn a_container_that_lacks_a_field_does_not_pass_restricted() {
    let container = made(Role::Sidecar).0;
    for (field, wrong) in [
        ("runAsNonRoot", Value::Null),
        ("runAsUser", json!(0)),
        ("allowPrivilegeEscalation", Value::Null),
        ("capabilities", json!({"drop": ["NET_RAW"]})),
        ("seccompProfile", Value::Null),
        ("privileged", json!(true)),
    ] {
        let mut bad = container.clone();
        bad["securityContext"][field] = wrong;
        let refused = restricted::refusals(&json!({"containers": [bad]}));
        assert!(refused.len() == 1 && refused[0].contains(field), "{field}: {refused:?}");
    }
    let volumes = json!([{"name": "v", "hostPath": {"path": "/"}}]);
    assert_eq!(restricted::refusals(&json!({"volumes": volumes})), ["volume of kind hostPath"]);
}

/// `2560Mi` stays `2560Mi`, where `2684354560` would come back in another form.
#[test]
fn quantities_have_the_form_that_the_api_server_gives_them() {
    let written = |bytes| whole_mebibytes(bytes).to_string();
    assert_eq!([written(1), written(1 << 20), written(1_000_000_000)], ["1Mi", "1Mi", "954Mi"]);
    assert_eq!(written((2 << 30) + (512 << 20)), "2560Mi");
    assert_eq!(written(10 << 30), "10Gi");
    assert_eq!(written(u64::MAX), "1073741823Mi");
}

#[test]
fn what_the_spec_says_of_the_gateways_resources_is_in_the_form_of_the_api_server_and_the_rest_is_by_default() {
    let resources = |said: Value| {
        let said: GatewayResources = serde_json::from_value(said).unwrap();
        let image = image();
        let mesh =
            Mesh { node: "a", role: Role::Gateway, image: &image, queues: ByteSize::gib(2), resources: Some(&said) };
        serde_json::to_value(mesh.container()).unwrap()["resources"].clone()
    };
    for (said, wanted) in [
        (json!({}), json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "4", "memory": "2560Mi"}})),
        (
            json!({"requests": {"cpu": "2000m"}, "limits": {"memory": "1024Mi"}}),
            json!({"requests": {"cpu": "2", "memory": "64Mi"}, "limits": {"cpu": "4", "memory": "1Gi"}}),
        ),
        (
            json!({"requests": {"cpu": "8", "memory": "4Gi"}}),
            json!({"requests": {"cpu": "8", "memory": "4Gi"}, "limits": {"cpu": "8", "memory": "4Gi"}}),
        ),
        (
            json!({"limits": {"cpu": "50m", "memory": "32Mi"}}),
            json!({"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "50m", "memory": "32Mi"}}),
        ),
    ] {
        assert_eq!(resources(said), wanted);
    }
}

#[test]
fn a_lone_sidecar_is_labelled_as_a_sidecar() {
    let role = |role| labels("bank-a", role)[ROLE_LABEL].clone();
    assert_eq!([role(Role::Gateway), role(Role::Sidecar), role(Role::Lone)], ["gateway", "sidecar", "sidecar"]);
    assert_eq!(labels("bank-a", Role::Lone)[NODE_LABEL], "bank-a");
}

#[test]
fn an_empty_variable_names_no_pull_secret() {
    let with = |names: &[&str]| Image { pull_secrets: names.iter().map(|n| (*n).to_owned()).collect(), ..image() };
    assert_eq!(with(&[""]).named_secrets().count(), 0);
    assert_eq!(with(&["a", " b "]).named_secrets().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn the_operators_traces_are_the_pods_too_and_say_whose_they_are() {
    let said = |text: &str| Some(text.to_owned());
    let traces = traces::Options {
        endpoint: said("https://collector.telemetry.svc:4317"),
        root: said("PEM"),
        certificate: said("/of/the/operators/own/pod"),
        sampler: said("parentbased_traceidratio"),
        sampler_arg: said("0.1"),
    };
    let image = Image { traces, ..image() };
    let mesh = Mesh { node: "bank-a", role: Role::Sidecar, image: &image, queues: ByteSize::gib(2), resources: None };
    let container = serde_json::to_value(mesh.container()).unwrap();
    let of_the_pod = |path: &str| json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
    let wanted = json!([
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "https://collector.telemetry.svc:4317"},
        {"name": "MESH_COLLECTOR_ROOT", "value": "PEM"},
        {"name": "OTEL_TRACES_SAMPLER", "value": "parentbased_traceidratio"},
        {"name": "OTEL_TRACES_SAMPLER_ARG", "value": "0.1"},
        {"name": "MESH_POD_NAME", "valueFrom": of_the_pod("metadata.name")},
        {"name": "MESH_POD_NAMESPACE", "valueFrom": of_the_pod("metadata.namespace")},
        {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "service.instance.id=$(MESH_POD_NAME),k8s.pod.name=$(MESH_POD_NAME),k8s.namespace.name=$(MESH_POD_NAMESPACE),interconn.node=bank-a"},
    ]);
    assert_eq!(container["env"].as_array().unwrap()[6..], wanted.as_array().unwrap()[..]);
}
