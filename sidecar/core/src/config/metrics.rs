//! What the metrics say about the configuration in force.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The counters and gauges of the configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigMetrics {
    pub(super) rejected: Counter,
    pub(super) swapped: Counter,
    pub(super) unknown_members: Gauge,
    pub(super) healthy: Gauge,
    pub(super) leaf_not_before: Gauge<f64, AtomicU64>,
    pub(super) leaf_not_after: Gauge<f64, AtomicU64>,
    pub(super) root_not_after: Gauge<f64, AtomicU64>,
}

impl ConfigMetrics {
    /// Registers them under `mesh_config_`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("mesh_config");
        registry.register(
            "rejected",
            "Configurations that were found bad and not put in force",
            metrics.rejected.clone(),
        );
        registry.register("swapped", "Configurations that were put in force after the first", metrics.swapped.clone());
        registry.register(
            "unknown_members",
            "Members of the configuration in force that this version does not know",
            metrics.unknown_members.clone(),
        );
        registry.register(
            "healthy",
            "1 when the newest configuration is in force, 0 when it was found bad and the one before serves",
            metrics.healthy.clone(),
        );
        registry.register(
            "leaf_not_before_seconds",
            "When the node's leaf began, in seconds since 1970",
            metrics.leaf_not_before.clone(),
        );
        registry.register(
            "leaf_not_after_seconds",
            "When the node's leaf ends, in seconds since 1970",
            metrics.leaf_not_after.clone(),
        );
        registry.register(
            "root_not_after_seconds",
            "When the first of the node's roots ends, in seconds since 1970",
            metrics.root_not_after.clone(),
        );
        metrics
    }
}
