//! How many of a node's gateways may be taken away at once by whoever empties a machine.

use crds::MeshNode;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt;

use super::metadata;
use crate::node::{
    names::main_name,
    pod::{Role, labels},
};

/// One of several, and one that does not serve at any time. A lone gateway has none: it would only keep machines from being emptied.
pub(super) fn budget(node: &MeshNode) -> Option<PodDisruptionBudget> {
    let name = node.name_any();
    let are_several = node.spec.gateway.enabled && node.spec.gateway.replicas > 1;
    are_several.then(|| PodDisruptionBudget {
        metadata: metadata(node, main_name(&name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(labels(&name, Role::Gateway)), match_expressions: None }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
