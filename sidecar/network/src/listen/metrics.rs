//! What a node's operator sees of its listeners.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) open: Gauge,
    pub(super) accepted: Counter,
    pub(super) turned_away: Counter,
    pub(super) handshakes_failed: Counter,
    pub(super) accepts_failed: Counter,
    pub(super) odd: Counter,
    pub(super) panics: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let room = registry.sub_registry_with_prefix("mesh_network");
        room.register("connections", "Connections that are open now", all.open.clone());
        room.register("connections_accepted", "Connections accepted", all.accepted.clone());
        room.register("connections_turned_away", "Connections closed because of the bound", all.turned_away.clone());
        room.register(
            "handshakes_failed",
            "Connections that ended before their first request could be read",
            all.handshakes_failed.clone(),
        );
        room.register("accepts_failed", "Failed accepts, file descriptors run out", all.accepts_failed.clone());
        room.register(
            "connections_odd",
            "HTTP/1.1 connections on which a request came that does not go the short way",
            all.odd.clone(),
        );
        room.register("request_panics", "Requests that ended in a panic", all.panics.clone());
        all
    }
}

/// Counts one open connection for as long as it lives.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Open {
    pub(super) fn count(metrics: &Metrics) -> Self {
        metrics.accepted.inc();
        metrics.open.inc();
        Self(metrics.open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
