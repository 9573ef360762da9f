//! What the operator counts. Label sets are bounded: kinds and reasons, never names.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The kind of resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    /// `MeshNode`, `MeshRoute` or `ServiceRegistration`.
    pub(crate) kind: &'static str,
}

/// A kind, and why its reconcile failed.
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
    /// How long a reconcile takes, in seconds.
    pub(crate) seconds: Histogram,
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
            seconds,
        };
        let registry = registry.sub_registry_with_prefix("mesh_operator");
        registry.register("leader", "1 while this process leads", metrics.leader.clone());
        registry.register("reconciles", "reconciles that ran", metrics.reconciles.clone());
        registry.register("reconcile_failures", "reconciles that failed, by reason", metrics.failures.clone());
        registry.register("writes", "objects and statuses written", metrics.writes.clone());
        registry.register("reconcile_seconds", "how long a reconcile takes", metrics.seconds.clone());
        metrics
    }
}
