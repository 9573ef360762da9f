//! What MeshNodes say of themselves, as metrics of the leader: a gateway that does not start scrapes nothing by itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::AtomicU64},
};

use crds::{Condition, ConditionStatus, READY};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// So many nodes that are not ready have a line of their own; more would be one cause, and its own alarm.
const NAMED: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SaidLabel {
    condition: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabel {
    node_namespace: String,
    node: String,
}

type Said = HashMap<(String, String), Vec<SaidLabel>>;

/// The gauges, and what they count.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeMetrics {
    conditions: Family<SaidLabel, Gauge>,
    not_ready: Family<NodeLabel, Gauge<f64, AtomicU64>>,
    said: Arc<Mutex<Said>>,
}

impl NodeMetrics {
    /// Registers them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("mesh_operator");
        registry.register("nodes", "MeshNodes, by what their conditions say", self.conditions.clone());
        let since = "since when a MeshNode is not ready, in seconds since 1970";
        registry.register("node_not_ready_since_seconds", since, self.not_ready.clone());
    }

    /// A node says this now.
    pub(crate) fn said(&self, namespace: &str, node: &str, conditions: &[Condition]) {
        let all = conditions.iter().map(|condition| SaidLabel {
            condition: condition.r#type.clone(),
            status: match condition.status {
                ConditionStatus::True => "True",
                ConditionStatus::False => "False",
                ConditionStatus::Unknown => "Unknown",
            },
        });
        let key = (namespace.to_owned(), node.to_owned());
        let mut said = self.said.lock();
        self.count(said.insert(key, all.collect()), &said, conditions);
        drop(said);
        let label = NodeLabel { node_namespace: namespace.into(), node: node.into() };
        let ready = conditions.iter().find(|condition| condition.r#type == READY);
        match ready.filter(|ready| ready.status != ConditionStatus::True) {
            Some(ready) => self.is_not_ready(&label, &ready.last_transition_time),
            None => _ = self.not_ready.remove(&label),
        }
    }

    /// Counts anew what was said before and what is said now.
    fn count(&self, before: Option<Vec<SaidLabel>>, said: &Said, conditions: &[Condition]) {
        let now = said.values().flatten().filter(|label| conditions.iter().any(|c| c.r#type == label.condition));
        let mut touched: HashSet<SaidLabel> = before.into_iter().flatten().collect();
        touched.extend(now.cloned());
        for label in &touched {
            let count = said.values().flatten().filter(|other| *other == label).count();
            if count == 0 {
                self.conditions.remove(label);
            } else {
                self.conditions.get_or_create(label).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    fn is_not_ready(&self, label: &NodeLabel, since: &str) {
        let of = |conditions: &[SaidLabel]| conditions.iter().any(|l| l.condition == READY && l.status != "True");
        let count = self.said.lock().values().filter(|conditions| of(conditions)).count();
        let since = since.parse::<jiff::Timestamp>().map_or(0.0, |at| at.as_duration().as_secs_f64());
        if count <= NAMED {
            self.not_ready.get_or_create(label).set(since);
        }
    }

    /// The node is gone.
    pub(crate) fn forget(&self, namespace: &str, node: &str) {
        let mut said = self.said.lock();
        let before = said.remove(&(namespace.to_owned(), node.to_owned()));
        self.count(before, &said, &[]);
        drop(said);
        self.not_ready.remove(&NodeLabel { node_namespace: namespace.into(), node: node.into() });
    }

    /// Another process leads, and tells.
    pub(crate) fn clear(&self) {
        self.said.lock().clear();
        self.conditions.clear();
        self.not_ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::cluster::conditions::{Aspect, merge};

    fn lines(metrics: &NodeMetrics) -> Vec<String> {
        let (mut registry, mut text) = (Registry::default(), String::new());
        metrics.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn nodes_are_counted_by_what_they_say_and_those_that_are_not_ready_named() {
        let metrics = NodeMetrics::default();
        let ready = merge(&[], &[Aspect::yes(READY, "Ready", "")], 1, "2026-11-21T00:00:00Z");
        let away = merge(&[], &[Aspect::no(READY, "CrashLoop", "")], 1, "1970-01-01T00:01:00Z");
        metrics.said("bank", "a", &ready);
        metrics.said("bank", "b", &away);
        metrics.said("bank", "c", &away);
        metrics.said("bank", "c", &ready);
        let wanted = [
            r#"mesh_operator_node_not_ready_since_seconds{node_namespace="bank",node="b"} 60.0"#,
            r#"mesh_operator_nodes{condition="Ready",status="False"} 1"#,
            r#"mesh_operator_nodes{condition="Ready",status="True"} 2"#,
        ];
        assert_eq!(lines(&metrics), wanted);
        metrics.forget("bank", "b");
        assert_eq!(lines(&metrics), wanted[2..]);
        metrics.clear();
        assert!(lines(&metrics).is_empty());
    }
}
