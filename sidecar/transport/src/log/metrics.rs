//! What the log counts.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// What the log counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) records: Counter,
    pub(crate) groups: Counter,
    pub(crate) moved: Counter,
    pub(crate) failures: Counter,
    pub(crate) held: Gauge,
    pub(crate) live: Gauge,
    pub(crate) full: Gauge,
}

impl Metrics {
    /// Registers everything under `mesh_transport_log_`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("mesh_transport_log");
        r.register("records", "Records that were written", self.records.clone());
        r.register("groups", "Groups of records that were written with one fsync", self.groups.clone());
        r.register("moved_records", "Records that were written again to free a segment", self.moved.clone());
        r.register("failures", "Writes that the disk refused", self.failures.clone());
        r.register("disk_bytes", "Bytes of the log's files", self.held.clone());
        r.register("live_bytes", "Bytes of records that are not gone", self.live.clone());
        r.register("full", "1 while pushes wait because the disk is full", self.full.clone());
    }
}
