//! How it stands with the backplane, as numbers: looked up when somebody asks.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Instant,
};

use mesh_backplane::Fabric as _;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use super::BackplanePlace;

/// Registers all as `mesh_backplane_...`; nothing is shown where there is no backplane.
pub(super) fn register(place: &Arc<BackplanePlace>, registry: &mut Registry) {
    registry.register_collector(Box::new(Gauges(Arc::downgrade(place))));
}

struct Gauges(Weak<BackplanePlace>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let place = self.0.upgrade();
        let Some(joined) = place.as_ref().and_then(|place| place.joined.get()) else { return Ok(()) };
        let standing = *joined.standing.borrow();
        let away =
            standing.away_since.map_or(0.0, |since| Instant::now().saturating_duration_since(since).as_secs_f64());
        let ids = standing.ids_until.saturating_sub(mesh_grid::now_ms());
        let is_connected = standing.away_since.is_none() && !standing.is_fenced;
        let all = [
            ("connected", "Whether other gateways can be reached", f64::from(u8::from(is_connected))),
            ("away_seconds", "How long the servers of NATS have been away; 0: they are there", away),
            ("fenced", "Whether another gateway has the number of this one", f64::from(u8::from(standing.is_fenced))),
            ("number", "The number of this gateway among those of its node", joined.nats.number().into()),
            ("other_gateways", "Other gateways of the node that are there", joined.nats.others().len() as f64),
            ("ids_seconds", "For how long ids may be issued without a renewal of the lease", ids as f64 / 1000.0),
        ];
        let copies = place.as_ref().and_then(|place| place.copies.get()).map(|(copies, _)| copies.figures());
        let of_copies = copies.map(|copies| {
            [
                ("copied_messages", "Messages in ack mode that have a copy in JetStream", copies.written as f64),
                ("uncopied_messages", "Messages in ack mode that are in memory alone", copies.unwritten as f64),
                ("adopted_messages", "Messages that other gateways left and this one took over", copies.adopted as f64),
            ]
        });
        let all = all.into_iter().chain(of_copies.into_iter().flatten());
        for (name, help, value) in all {
            let name = format!("mesh_backplane_{name}");
            ConstGauge::new(value).encode(encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}
