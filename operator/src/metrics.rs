//! What the operator counts. Label sets are bounded: kinds and reasons, and no names but those of nodes that are not ready
//! (`node_metrics.rs`).

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::node_metrics::NodeMetrics;

/// The kind of resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    /// One of our kinds or, where it counts what is written and watched, of those that we write: `ConfigMap`, `Secret`, `Pod` ...
    pub(crate) kind: &'static str,
}

/// A kind, and why something about it failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FailureLabel {
    /// The kind of resource.
    pub(crate) kind: &'static str,
    /// The reason that the condition and the Event carry too.
    pub(crate) reason: String,
}

/// The operator's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Whether this process leads.
    pub(crate) leader: Gauge,
    /// Reconciles that ran.
    pub(crate) reconciles: Family<KindLabel, Counter>,
    /// Reconciles that failed and will be tried again.
    pub(crate) failures: Family<FailureLabel, Counter>,
    /// Objects and statuses written.
    pub(crate) writes: Family<KindLabel, Counter>,
    /// Statuses that were refused, or not taken in time.
    pub(crate) status_failures: Family<FailureLabel, Counter>,
    /// Objects that wait to be looked at.
    pub(crate) queue: Family<KindLabel, Gauge>,
    /// Full lists after the first one: the watch was lost.
    pub(crate) watch_restarts: Family<KindLabel, Counter>,
    /// Lists and watches that failed and are tried again.
    pub(crate) watch_failures: Family<KindLabel, Counter>,
    /// How long a reconcile takes, in seconds.
    pub(crate) seconds: Histogram,
    /// Objects of ours that somebody changed or deleted, and that are again as they were.
    pub(crate) repairs: Family<KindLabel, Counter>,
    /// Gateways that wait for another one to take a new version.
    pub(crate) updates_waiting: Gauge,
    /// What nodes say of themselves.
    pub(crate) nodes: NodeMetrics,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        // From a reconcile that writes nothing (about a millisecond) to one that waits for a slow API server.
        let seconds = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]);
        let metrics = Self {
            leader: Gauge::default(),
            reconciles: Family::default(),
            failures: Family::default(),
            writes: Family::default(),
            status_failures: Family::default(),
            queue: Family::default(),
            watch_restarts: Family::default(),
            watch_failures: Family::default(),
            seconds,
            repairs: Family::default(),
            updates_waiting: Gauge::default(),
            nodes: NodeMetrics::default(),
        };
        metrics.nodes.register(registry);
        let registry = registry.sub_registry_with_prefix("mesh_operator");
        registry.register("leader", "1 while this process leads", metrics.leader.clone());
        registry.register("reconciles", "reconciles that ran", metrics.reconciles.clone());
        registry.register("reconcile_failures", "reconciles that failed, by reason", metrics.failures.clone());
        registry.register("writes", "objects and statuses written", metrics.writes.clone());
        let refused = "statuses that were refused, or not taken in time";
        registry.register("status_failures", refused, metrics.status_failures.clone());
        registry.register("queue_depth", "objects that wait to be looked at", metrics.queue.clone());
        let again = "full lists after the first one: the watch was lost";
        registry.register("watch_restarts", again, metrics.watch_restarts.clone());
        let failed = "lists and watches that failed and are tried again";
        registry.register("watch_failures", failed, metrics.watch_failures.clone());
        registry.register("reconcile_seconds", "how long a reconcile takes", metrics.seconds.clone());
        let repairs = "objects that somebody else changed or deleted, and that were put right";
        registry.register("repairs", repairs, metrics.repairs.clone());
        let waiting = "gateways that stay on an older version until another one is ready on the new one";
        registry.register("gateway_updates_waiting", waiting, metrics.updates_waiting.clone());
        metrics
    }

    /// Another process leads now: what is told of nodes is its business.
    pub(crate) fn leads_no_more(&self) {
        self.leader.set(0);
        self.queue.clear();
        self.updates_waiting.set(0);
        self.nodes.clear();
    }

    /// A reconcile of this kind failed.
    pub(crate) fn failed(&self, kind: &'static str, reason: &str) {
        self.failures.get_or_create(&FailureLabel { kind, reason: reason.into() }).inc();
    }

    /// An object, or a status, of this kind was written.
    pub(crate) fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&KindLabel { kind }).inc();
    }

    /// An object of this kind was put right.
    pub(crate) fn repaired(&self, kind: &'static str) {
        self.repairs.get_or_create(&KindLabel { kind }).inc();
    }

    /// A status of this kind was not written.
    pub(crate) fn status_failed(&self, kind: &'static str, reason: &str) {
        self.status_failures.get_or_create(&FailureLabel { kind, reason: reason.into() }).inc();
    }
}
