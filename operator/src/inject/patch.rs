//! The JSON patch (RFC 6902) that puts the sidecar into a pod.
//!
//! It only adds: no operation replaces or removes what the user wrote, and none touches a container but ours. Absent lists
//! and maps are made whole, because an operation cannot add to what is not there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

/// One operation; `add` is all that is needed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Operation {
    op: &'static str,
    path: String,
    value: Value,
}

fn add(path: impl Into<String>, value: Value) -> Operation {
    Operation { op: "add", path: path.into(), value }
}

/// What a pod gets.
pub(super) struct Additions {
    pub(super) container: Container,
    pub(super) volumes: Vec<Volume>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The operations. The sidecar comes first, so that every other init container finds it serving.
pub(super) fn of(pod: &Pod, additions: &Additions) -> Vec<Operation> {
    let spec = pod.spec.as_ref();
    let mut all = entries("/metadata/labels", pod.metadata.labels.is_some(), pod.labels(), &additions.labels);
    let annotations = pod.metadata.annotations.is_some();
    all.extend(entries("/metadata/annotations", annotations, pod.annotations(), &additions.annotations));
    let volumes = additions.volumes.iter().map(|volume| json!(volume));
    if spec.is_some_and(|spec| spec.volumes.is_some()) {
        all.extend(volumes.map(|volume| add("/spec/volumes/-", volume)));
    } else {
        all.push(add("/spec/volumes", volumes.collect()));
    }
    let container = json!(additions.container);
    all.push(if spec.is_some_and(|spec| spec.init_containers.is_some()) {
        add("/spec/initContainers/0", container)
    } else {
        add("/spec/initContainers", json!([container]))
    });
    all
}

/// Gives our init container back what makes it a sidecar, where another webhook took it away (istio/istio#49221).
pub(super) fn restored(position: usize) -> Operation {
    add(format!("/spec/initContainers/{position}/restartPolicy"), json!("Always"))
}

fn entries(
    path: &str,
    is_there: bool,
    there: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Vec<Operation> {
    if !is_there {
        return vec![add(path, json!(wanted))];
    }
    let differing = wanted.iter().filter(|(name, value)| there.get(*name) != Some(value));
    differing.map(|(name, value)| add(format!("{path}/{}", escaped(name)), json!(value))).collect()
}

/// A name as one step of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
