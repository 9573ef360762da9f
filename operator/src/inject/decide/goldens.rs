//! Goldens: what a workload's author wrote, and the pod that starts, whole; one file in `goldens/` for each kind of workload.
//!
//! `GOLDENS=write cargo test -p mesh-operator goldens` writes the pods anew: read the difference before it is committed.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::tests::injected;
use crate::node::pod::restricted;

const KINDS: [&str; 6] = ["cronjob", "daemonset", "deployment", "job", "pod", "statefulset"];

fn file(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/inject/decide/goldens/{kind}.json"))
}

/// The pod as the workload's controller creates it.
fn created(workload: &Value) -> Value {
    let (kind, name) = (workload["kind"].as_str().unwrap(), workload["metadata"]["name"].as_str().unwrap());
    let template = match kind {
        "Pod" => return workload.clone(),
        "CronJob" => &workload["spec"]["jobTemplate"]["spec"]["template"],
        _ => &workload["spec"]["template"],
    };
    // Deployments and CronJobs have others make their pods.
    let (version, owner, maker) = match kind {
        "Deployment" => ("apps/v1", "ReplicaSet", format!("{name}-7d4b9c5f6")),
        "CronJob" => ("batch/v1", "Job", format!("{name}-29726640")),
        "Job" => ("batch/v1", kind, name.to_owned()),
        _ => ("apps/v1", kind, name.to_owned()),
    };
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    pod["metadata"]["generateName"] = format!("{maker}-").into();
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": version, "kind": owner, "name": maker, "uid": "u", "controller": true}]);
    pod
}

/// The parts that a node may get later are many, all of one form, and have a test of their own; and each release has a version.
fn told(mut pod: Value) -> Value {
    assert_eq!(pod["metadata"]["annotations"]["interconn.dev/injected"], env!("CARGO_PKG_VERSION"));
    pod["metadata"]["annotations"]["interconn.dev/injected"] = "VERSION".into();
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    let ours = volumes.iter_mut().find(|volume| volume["name"] == "mesh-config").unwrap();
    let sources = ours["projected"]["sources"].as_array_mut().unwrap();
    sources.retain(|source| source["configMap"]["optional"] != true);
    pod
}

#[test]
fn each_kind_of_workload_starts_the_pod_of_its_golden() {
    for kind in KINDS {
        let path = file(kind);
        let mut golden: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        // `injected` judges a second time, which must change nothing.
        let started = injected(&created(&golden["workload"]));
        assert_eq!(restricted::refusals(&started["spec"]), Vec::<String>::new(), "{kind}");
        let started = told(started);
        if std::env::var_os("GOLDENS").is_some_and(|said| said == "write") {
            golden["pod"] = started;
            fs::write(&path, format!("{golden:#}\n")).unwrap();
        } else {
            assert_eq!(started, golden["pod"], "{kind}: GOLDENS=write writes it anew");
        }
    }
}
