//! What the control plane counts.

use std::{sync::Arc, time::UNIX_EPOCH};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
    },
    registry::Registry,
};

use super::Control;
use crate::seam::{ConnState, Figures, Moved};

/// Nodes that are shown one by one, those of the lowest numbers: more would fill a metrics store.
const SHOWN: usize = 500;

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
    sockets_limited: Counter,
    exhausted: Counter,
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

    pub(super) fn socket_limited(&self) {
        self.sockets_limited.inc();
    }

    pub(super) fn exhausted(&self) {
        self.exhausted.inc();
    }

    /// Nodes that were sent away because no address is free.
    pub fn turned_away(&self) -> u64 {
        self.exhausted.get()
    }

    /// Puts them where they are read.
    pub fn register(control: &Arc<Control>, registry: &mut Registry) {
        let own = &control.metrics;
        let here = registry.sub_registry_with_prefix("mesh_tunnel");
        here.register("calls", "Calls of the network controller, by verdict", own.calls.clone());
        here.register("joins", "Nodes that joined", own.joined.clone());
        here.register("limited", "Attempts to join that came too fast", own.limited.clone());
        let help = "Requests for the tunnel that came too fast";
        here.register("sockets_limited", help, own.sockets_limited.clone());
        here.register("exhausted", "Nodes that were sent away because no address is free", own.exhausted.clone());
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
        let help = "When the authority of a plane ends, in seconds since 1970";
        let name = "mesh_tunnel_authority_not_after_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for plane in [&self.0.authority.register, &self.0.authority.join] {
            let end = plane.ends().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let gauge = ConstGauge::new(i64::try_from(end).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("plane", plane.name())])?)?;
        }
        let Some(sessions) = self.0.sessions.get() else { return Ok(()) };
        device(&mut encoder, sessions.device_is_up())?;
        moved(&mut encoder, &sessions.moved())?;
        let mut live = sessions.figures();
        live.truncate(SHOWN);
        of_nodes(&mut encoder, &live)
    }
}

/// Whether this machine's TUN device is there, where there is to be one.
fn device(encoder: &mut DescriptorEncoder<'_>, is_up: Option<bool>) -> Result<(), std::fmt::Error> {
    let Some(is_up) = is_up else { return Ok(()) };
    let gauge = ConstGauge::new(i64::from(is_up));
    let help = "1: this machine is in the network by its TUN device; 0: the device is lost, and is made again";
    gauge.encode(encoder.encode_descriptor("mesh_tunnel_device_up", help, None, MetricType::Gauge)?)
}

/// What the tunnel has moved and dropped, of all nodes together.
fn moved(encoder: &mut DescriptorEncoder<'_>, moved: &Moved) -> Result<(), std::fmt::Error> {
    let both = [
        ("mesh_tunnel_packets", "Packets from nodes and to nodes", moved.packets_in, moved.packets_out),
        ("mesh_tunnel_bytes", "Bytes of packets from nodes and to nodes", moved.bytes_in, moved.bytes_out),
    ];
    for (name, help, into, out) in both {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (direction, count) in [("in", into), ("out", out)] {
            ConstCounter::new(count).encode(family.encode_family(&[("direction", direction)])?)?;
        }
    }
    for (name, help, count) in [
        ("mesh_tunnel_dead", "Sessions that ended because their node gave no sign of life", moved.dead),
        ("mesh_tunnel_taken_over", "Sessions that another socket of their node took over", moved.taken_over),
    ] {
        let counter = ConstCounter::new(count);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    let help = "Packets that were dropped, by reason";
    let mut family = encoder.encode_descriptor("mesh_tunnel_packets_dropped", help, None, MetricType::Counter)?;
    for (reason, count) in &moved.dropped {
        ConstCounter::new(*count).encode(family.encode_family(&[("reason", *reason)])?)?;
    }
    Ok(())
}

/// What live sessions have moved, by node.
fn of_nodes(encoder: &mut DescriptorEncoder<'_>, live: &[Figures]) -> Result<(), std::fmt::Error> {
    type Look = fn(&Figures) -> u64;
    let counters: [(&str, &str, Look); 3] = [
        ("mesh_tunnel_node_bytes_in", "Bytes of packets from a node, in its live session", |row| row.bytes_in),
        ("mesh_tunnel_node_bytes_out", "Bytes of packets to a node, in its live session", |row| row.bytes_out),
        ("mesh_tunnel_node_packets_dropped", "Packets from or to a node that were dropped", |row| row.dropped),
    ];
    for (name, help, look) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in live {
            let node = row.peer.to_string();
            ConstCounter::new(look(row)).encode(family.encode_family(&[("node", node.as_str())])?)?;
        }
    }
    let help = "The last round trip of a ping to a node";
    let mut family = encoder.encode_descriptor("mesh_tunnel_node_round_trip_seconds", help, None, MetricType::Gauge)?;
    for row in live {
        let Some(time) = row.round_trip else { continue };
        let node = row.peer.to_string();
        ConstGauge::new(time.as_secs_f64()).encode(family.encode_family(&[("node", node.as_str())])?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;
    use crate::seam::PeerId;

    /// A collector of what two functions write.
    #[derive(Debug)]
    struct Both(Moved, Vec<Figures>);

    impl Collector for Both {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
            device(&mut encoder, Some(true))?;
            moved(&mut encoder, &self.0)?;
            of_nodes(&mut encoder, &self.1)
        }
    }

    #[test]
    fn packets_drops_and_nodes_are_shown_under_their_names() {
        let all = Moved {
            packets_in: 3,
            bytes_out: 1400,
            dropped: vec![("spoofed", 2)],
            dead: 4,
            taken_over: 5,
            ..Moved::default()
        };
        let node = Figures {
            peer: PeerId(7),
            from: ([203, 0, 113, 9], 4000).into(),
            since: std::time::SystemTime::UNIX_EPOCH,
            packets_in: 3,
            packets_out: 1,
            bytes_in: 99,
            bytes_out: 33,
            dropped: 2,
            round_trip: Some(std::time::Duration::from_millis(250)),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Both(all, vec![node])));
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            "mesh_tunnel_packets_total{direction=\"in\"} 3",
            "mesh_tunnel_packets_total{direction=\"out\"} 0",
            "mesh_tunnel_bytes_total{direction=\"out\"} 1400",
            "mesh_tunnel_device_up 1",
            "mesh_tunnel_dead_total 4",
            "mesh_tunnel_taken_over_total 5",
            "mesh_tunnel_packets_dropped_total{reason=\"spoofed\"} 2",
            "mesh_tunnel_node_bytes_in_total{node=\"n7\"} 99",
            "mesh_tunnel_node_bytes_out_total{node=\"n7\"} 33",
            "mesh_tunnel_node_packets_dropped_total{node=\"n7\"} 2",
            "mesh_tunnel_node_round_trip_seconds{node=\"n7\"} 0.25",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
        }
    }
}
