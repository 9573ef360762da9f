//! What a node's operator sees of its calls to partners.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) requests: Counter,
    pub(super) failures: Counter,
    pub(super) dials: Counter,
    pub(super) dials_failed: Counter,
    pub(super) connections: Gauge,
    pub(super) waiting: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let room = registry.sub_registry_with_prefix("mesh_network");
        room.register("partner_requests", "Calls to partners", all.requests.clone());
        room.register("partner_failures", "Calls to partners that brought no answer", all.failures.clone());
        room.register("partner_dials", "Connections to partners that were tried", all.dials.clone());
        room.register("partner_dials_failed", "Connections to partners that failed", all.dials_failed.clone());
        room.register("partner_connections", "Connections to partners that are open now", all.connections.clone());
        room.register("gateway_waiting", "Calls of a sidecar that wait for its gateway to answer", all.waiting.clone());
        all
    }
}
