//! Machines and pods that the gateway's pod is drawn to, or kept from: the words of `core/v1`, each list with a bound.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Violation,
    law::{self, Law},
    pattern,
};

/// Machines and pods that the pod is drawn to, or kept from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// To machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
    /// To places of other pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_affinity: Option<PodAffinity>,
    /// Away from places of other pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// To machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NodeAffinity {
    /// It runs on no other machine.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Option::is_none")]
    pub required: Option<NodeSelector>,
    /// It runs there where that can be.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub preferred: Vec<PreferredNode>,
}

/// Machines, by one of several terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelector {
    /// One of them is enough.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub node_selector_terms: Vec<NodeTerm>,
}

/// Machines that would be better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNode {
    /// By how much.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// Which.
    pub preference: NodeTerm,
}

/// Machines for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeTerm {
    /// By their labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<NodeRequirement>,
    /// By their fields: `metadata.name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_fields: Vec<NodeRequirement>,
}

/// What holds for a label or field of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(NODE_LAWS))]
pub struct NodeRequirement {
    /// The label or field.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: NodeOperator,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label of a machine is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeOperator {
    /// It is one of the values.
    In,
    /// It is none of them.
    NotIn,
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
    /// It is a larger number.
    Gt,
    /// It is a smaller number.
    Lt,
}

/// To places of other pods, or away from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PodAffinity {
    /// It runs nowhere else.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub required: Vec<PodTerm>,
    /// It runs so where that can be.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub preferred: Vec<PreferredPod>,
}

/// Places that would be better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredPod {
    /// By how much.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// Which.
    pub pod_affinity_term: PodTerm,
}

/// The places of some pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTerm {
    /// The label of machines that makes a place, such as `kubernetes.io/hostname`.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// The pods; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Their namespaces, by label; absent: those that are named, or the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Their namespaces, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = pattern::LABEL)), extend("x-kubernetes-list-type" = "atomic"))]
    pub namespaces: Vec<String>,
}

/// Objects, by their labels; an empty one takes them all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": pattern::LABEL_VALUE}))]
    pub match_labels: BTreeMap<String, String>,
    /// What else holds for their labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// What holds for a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LABEL_LAWS))]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63), regex(pattern = pattern::LABEL_VALUE)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It is one of the values.
    In,
    /// It is none of them.
    NotIn,
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
}

/// The laws of [`NodeRequirement`], which are those of `core/v1`.
const NODE_LAWS: &[Law<NodeRequirement>] = &[Law {
    field: ".values",
    cel: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : self.operator in ['Gt', 'Lt'] ? has(self.values) && size(self.values) == 1 : !has(self.values) || size(self.values) == 0",
    message: "must be some for In and NotIn, one for Gt and Lt, and none for Exists and DoesNotExist",
    holds: |r| match r.operator {
        NodeOperator::In | NodeOperator::NotIn => !r.values.is_empty(),
        NodeOperator::Gt | NodeOperator::Lt => r.values.len() == 1,
        NodeOperator::Exists | NodeOperator::DoesNotExist => r.values.is_empty(),
    },
}];

/// The laws of [`LabelRequirement`], which are those of `meta/v1`.
const LABEL_LAWS: &[Law<LabelRequirement>] = &[Law {
    field: ".values",
    cel: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    message: "must be some for In and NotIn, and none for Exists and DoesNotExist",
    holds: |r| match r.operator {
        LabelOperator::In | LabelOperator::NotIn => !r.values.is_empty(),
        LabelOperator::Exists | LabelOperator::DoesNotExist => r.values.is_empty(),
    },
}];

impl Affinity {
    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        if let Some(NodeAffinity { required, preferred }) = &self.node_affinity {
            let path = format!("{path}.nodeAffinity");
            let terms = required.iter().flat_map(|selector| &selector.node_selector_terms);
            let terms = terms.chain(preferred.iter().map(|preferred| &preferred.preference));
            for requirement in terms.flat_map(|term| term.match_expressions.iter().chain(&term.match_fields)) {
                law::judge(NODE_LAWS, requirement, &path, broken);
            }
        }
        for (name, affinity) in [("podAffinity", &self.pod_affinity), ("podAntiAffinity", &self.pod_anti_affinity)] {
            let Some(PodAffinity { required, preferred }) = affinity else { continue };
            let terms = required.iter().chain(preferred.iter().map(|preferred| &preferred.pod_affinity_term));
            for selector in terms.flat_map(|term| term.label_selector.iter().chain(&term.namespace_selector)) {
                selector.judge(&format!("{path}.{name}"), broken);
            }
        }
    }
}

impl LabelSelector {
    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        for (n, requirement) in self.match_expressions.iter().enumerate() {
            law::judge(LABEL_LAWS, requirement, &format!("{path}.matchExpressions[{n}]"), broken);
        }
    }
}
