//! What people may say of the gateway's pod: where it runs, what it is called by others, and how it is pulled.
//!
//! The words are those of a pod's spec in `core/v1`, with its meaning and its forms, so that people write here what they write
//! everywhere; [`affinity`](super::affinity) has the larger ones.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::affinity::{Affinity, LabelSelector};
use crate::{
    LocalRef, Violation,
    law::{self, Law},
    pattern,
};

/// What is said of the gateway's pod, as in `core/v1`. What is absent is as the operator's own defaults have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct GatewayPod {
    /// Labels beside ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": pattern::LABEL_VALUE}))]
    pub labels: BTreeMap<String, String>,
    /// Annotations beside ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    pub annotations: BTreeMap<String, String>,
    /// The labels that its machine must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": pattern::LABEL_VALUE}))]
    pub node_selector: BTreeMap<String, String>,
    /// The taints of a machine that do not keep it away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// Machines and pods that it is drawn to, or kept from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How gateways are spread over machines and zones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["topologyKey", "whenUnsatisfiable"]))]
    pub topology_spread_constraints: Vec<TopologySpread>,
    /// Its PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub priority_class_name: Option<String>,
    /// Secrets of the node's namespace to pull the image with, beside those that the operator names for every gateway.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalRef>,
}

/// A taint that does not keep the pod away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(TOLERATION_LAWS))]
pub struct Toleration {
    /// The taint's key; absent: every key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,
    /// How key and value are compared.
    pub operator: TolerationOperator,
    /// The taint's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = pattern::LABEL_VALUE))]
    pub value: Option<String>,
    /// The taint's effect; absent: every effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// For how long a taint that comes is borne; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration is compared with a taint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value are the taint's.
    #[default]
    Equal,
    /// The key is the taint's, whatever its value.
    Exists,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New ones are kept away.
    NoSchedule,
    /// New ones are kept away where that can be.
    PreferNoSchedule,
    /// Those that run have to go as well.
    NoExecute,
}

/// How gateways are spread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(SPREAD_LAWS))]
pub struct TopologySpread {
    /// By how many one place may have more of them than another.
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
    /// The label of machines that makes a place, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// What happens where that cannot be.
    pub when_unsatisfiable: Unsatisfiable,
    /// The pods that are counted; absent: the gateways of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// So many places there are to be at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_domains: Option<i32>,
}

/// What happens where a spread cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unsatisfiable {
    /// The pod waits.
    DoNotSchedule,
    /// It runs where it spoils the spread least.
    ScheduleAnyway,
}

/// The laws of [`GatewayPod`]: what the operator, and other meshes, know the pod by is not for people to say.
const LAWS: &[Law<GatewayPod>] = &[
    Law {
        field: ".labels",
        cel: "!has(self.labels) || !self.labels.exists(k, k.startsWith('interconn.dev/') || k.startsWith('sidecar.istio.io/'))",
        message: "labels of interconn.dev/ and sidecar.istio.io/ are the operator's",
        holds: |pod| !has_of(&pod.labels, &["interconn.dev/", "sidecar.istio.io/"]),
    },
    Law {
        field: ".annotations",
        cel: "!has(self.annotations) || !self.annotations.exists(k, k.startsWith('interconn.dev/') || k.startsWith('linkerd.io/'))",
        message: "annotations of interconn.dev/ and linkerd.io/ are the operator's",
        holds: |pod| !has_of(&pod.annotations, &["interconn.dev/", "linkerd.io/"]),
    },
];

fn has_of(map: &BTreeMap<String, String>, reserved: &[&str]) -> bool {
    map.keys().any(|key| reserved.iter().any(|domain| key.starts_with(domain)))
}

/// The laws of [`Toleration`], which are those of `core/v1`.
const TOLERATION_LAWS: &[Law<Toleration>] = &[
    Law {
        field: ".value",
        cel: "!has(self.value) || self.value == '' || self.operator != 'Exists'",
        message: "must be absent where operator is Exists",
        holds: |t| t.value.as_ref().is_none_or(String::is_empty) || t.operator != TolerationOperator::Exists,
    },
    Law {
        field: ".operator",
        cel: "has(self.key) || self.operator == 'Exists'",
        message: "must be Exists where there is no key",
        holds: |t| t.key.is_some() || t.operator == TolerationOperator::Exists,
    },
    Law {
        field: ".tolerationSeconds",
        cel: "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
        message: "may be given for effect NoExecute only",
        holds: |t| t.toleration_seconds.is_none() || t.effect == Some(TaintEffect::NoExecute),
    },
];

/// The laws of [`TopologySpread`], which are those of `core/v1`.
const SPREAD_LAWS: &[Law<TopologySpread>] = &[Law {
    field: ".minDomains",
    cel: "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
    message: "may be given for whenUnsatisfiable DoNotSchedule only",
    holds: |s| s.min_domains.is_none() || s.when_unsatisfiable == Unsatisfiable::DoNotSchedule,
}];

impl GatewayPod {
    /// What is said here, and where nothing is, what `defaults` say. Maps are joined, everything else stands as a whole.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        let joined = |own: &BTreeMap<String, String>, by_default: &BTreeMap<String, String>| {
            by_default.iter().chain(own).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Self {
            labels: joined(&self.labels, &defaults.labels),
            annotations: joined(&self.annotations, &defaults.annotations),
            node_selector: joined(&self.node_selector, &defaults.node_selector),
            tolerations: whole(&self.tolerations, &defaults.tolerations),
            affinity: self.affinity.clone().or_else(|| defaults.affinity.clone()),
            topology_spread_constraints: whole(
                &self.topology_spread_constraints,
                &defaults.topology_spread_constraints,
            ),
            priority_class_name: self.priority_class_name.clone().or_else(|| defaults.priority_class_name.clone()),
            image_pull_secrets: whole(&self.image_pull_secrets, &defaults.image_pull_secrets),
        }
    }

    pub(super) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
        for (n, toleration) in self.tolerations.iter().enumerate() {
            law::judge(TOLERATION_LAWS, toleration, &format!("{path}.tolerations[{n}]"), broken);
        }
        if let Some(affinity) = &self.affinity {
            affinity.judge(&format!("{path}.affinity"), broken);
        }
        for (n, spread) in self.topology_spread_constraints.iter().enumerate() {
            let path = format!("{path}.topologySpreadConstraints[{n}]");
            law::judge(SPREAD_LAWS, spread, &path, broken);
            if let Some(selector) = &spread.label_selector {
                selector.judge(&format!("{path}.labelSelector"), broken);
            }
        }
    }
}

fn whole<T: Clone>(own: &[T], by_default: &[T]) -> Vec<T> {
    if own.is_empty() { by_default.to_vec() } else { own.to_vec() }
}
