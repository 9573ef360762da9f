//! What the control plane counts.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

use super::Control;
use crate::seam::ConnState;

/// A call and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    rpc: &'static str,
    code: &'static str,
}

/// The counters.
#[derive(Debug, Default)]
pub struct Metrics {
    calls: Family<Call, Counter>,
    joined: Counter,
    limited: Counter,
}

impl Metrics {
    pub(super) fn called(&self, rpc: &'static str, code: &'static str) {
        self.calls.get_or_create(&Call { rpc, code }).inc();
    }

    pub(super) fn joined(&self) {
        self.joined.inc();
    }

    pub(super) fn limited(&self) {
        self.limited.inc();
    }

    /// Puts them where they are read.
    pub fn register(control: &Arc<Control>, registry: &mut Registry) {
        let own = &control.metrics;
        registry.register("mesh_tunnel_calls", "Calls of the network controller, by verdict", own.calls.clone());
        registry.register("mesh_tunnel_joins", "Nodes that joined", own.joined.clone());
        registry.register("mesh_tunnel_limited", "Attempts to join that came too fast", own.limited.clone());
        registry.register_collector(Box::new(Levels(Arc::clone(control))));
    }
}

/// What is there now, counted when somebody looks.
#[derive(Debug)]
struct Levels(Arc<Control>);

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let nodes = self.0.ledger.nodes();
        let connected = nodes.iter().filter(|node| node.state == ConnState::Connected).count();
        let rows = [
            ("mesh_tunnel_nodes", "Nodes that are registered", nodes.len()),
            ("mesh_tunnel_nodes_connected", "Nodes that packets reach", connected),
            ("mesh_tunnel_addresses_taken", "Addresses that nodes have", self.0.ledger.addresses_taken()),
        ];
        for (name, help, level) in rows {
            let gauge = ConstGauge::new(i64::try_from(level).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
