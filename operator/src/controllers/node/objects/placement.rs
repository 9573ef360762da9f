//! Where the gateway's pod runs: what its node says, in the words of the API server's own types.

use std::collections::BTreeMap;

use crds::{LabelRequirement, NodeTerm, PodTerm};
use k8s_openapi::{
    api::core::v1::{
        Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinity, PodAffinityTerm,
        PodAntiAffinity, PreferredSchedulingTerm, Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use super::workload::some;
use crate::node::pod::{ROLE_LABEL, Role, labels};

pub(super) fn toleration(said: &crds::Toleration) -> Toleration {
    Toleration {
        key: said.key.clone(),
        operator: Some(word(said.operator)),
        value: said.value.clone(),
        effect: said.effect.map(word),
        toleration_seconds: said.toleration_seconds,
    }
}

pub(super) fn affinity(said: &crds::Affinity) -> Affinity {
    Affinity {
        node_affinity: said.node_affinity.as_ref().map(to_nodes),
        pod_affinity: said.pod_affinity.as_ref().map(|said| {
            let (required, preferred) = to_pods(said);
            PodAffinity {
                required_during_scheduling_ignored_during_execution: required,
                preferred_during_scheduling_ignored_during_execution: preferred,
            }
        }),
        pod_anti_affinity: said.pod_anti_affinity.as_ref().map(|said| {
            let (required, preferred) = to_pods(said);
            PodAntiAffinity {
                required_during_scheduling_ignored_during_execution: required,
                preferred_during_scheduling_ignored_during_execution: preferred,
            }
        }),
    }
}

/// What is said; where nothing is, several gateways of a node are on machines of their own as far as there are so many, so that
/// who loses a machine loses one of them.
pub(super) fn spread(node: &str, gateways: u8, said: &[crds::TopologySpread]) -> Vec<TopologySpreadConstraint> {
    if gateways < 2 || !said.is_empty() {
        return said.iter().map(as_said).collect();
    }
    let of_node = LabelSelector { match_labels: Some(labels(node, Role::Gateway)), match_expressions: None };
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(of_node),
        ..TopologySpreadConstraint::default()
    }]
}

/// Whoever names no pods means gateways: an absent selector would count none, and spread nothing.
fn as_said(said: &crds::TopologySpread) -> TopologySpreadConstraint {
    let gateways = || LabelSelector {
        match_labels: Some(BTreeMap::from([(ROLE_LABEL.to_owned(), Role::Gateway.label().to_owned())])),
        match_expressions: None,
    };
    TopologySpreadConstraint {
        max_skew: said.max_skew,
        topology_key: said.topology_key.clone(),
        when_unsatisfiable: word(said.when_unsatisfiable),
        label_selector: Some(said.label_selector.as_ref().map_or_else(gateways, selector)),
        min_domains: said.min_domains,
        ..TopologySpreadConstraint::default()
    }
}

fn to_nodes(said: &crds::NodeAffinity) -> NodeAffinity {
    let required = said.required.as_ref();
    let preferred = said.preferred.iter();
    NodeAffinity {
        required_during_scheduling_ignored_during_execution: required.map(|required| NodeSelector {
            node_selector_terms: required.node_selector_terms.iter().map(node_term).collect(),
        }),
        preferred_during_scheduling_ignored_during_execution: some(
            preferred
                .map(|term| PreferredSchedulingTerm { weight: term.weight, preference: node_term(&term.preference) })
                .collect(),
        ),
    }
}

fn node_term(said: &NodeTerm) -> NodeSelectorTerm {
    let requirement = |said: &crds::NodeRequirement| NodeSelectorRequirement {
        key: said.key.clone(),
        operator: word(said.operator),
        values: some(said.values.clone()),
    };
    NodeSelectorTerm {
        match_expressions: some(said.match_expressions.iter().map(requirement).collect()),
        match_fields: some(said.match_fields.iter().map(requirement).collect()),
    }
}

type ToPods = (Option<Vec<PodAffinityTerm>>, Option<Vec<WeightedPodAffinityTerm>>);

fn to_pods(said: &crds::PodAffinity) -> ToPods {
    let required = said.required.iter().map(pod_term).collect();
    let preferred = said.preferred.iter().map(|term| WeightedPodAffinityTerm {
        weight: term.weight,
        pod_affinity_term: pod_term(&term.pod_affinity_term),
    });
    (some(required), some(preferred.collect()))
}

fn pod_term(said: &PodTerm) -> PodAffinityTerm {
    PodAffinityTerm {
        topology_key: said.topology_key.clone(),
        label_selector: said.label_selector.as_ref().map(selector),
        namespace_selector: said.namespace_selector.as_ref().map(selector),
        namespaces: some(said.namespaces.clone()),
        ..PodAffinityTerm::default()
    }
}

fn selector(said: &crds::LabelSelector) -> LabelSelector {
    let requirement = |said: &LabelRequirement| LabelSelectorRequirement {
        key: said.key.clone(),
        operator: word(said.operator),
        values: some(said.values.clone()),
    };
    LabelSelector {
        match_labels: Some(said.match_labels.clone()).filter(|labels| !labels.is_empty()),
        match_expressions: some(said.match_expressions.iter().map(requirement).collect()),
    }
}

/// The words of our types are those of the API server's: their names are what both write.
fn word(said: impl std::fmt::Debug) -> String {
    format!("{said:?}")
}
