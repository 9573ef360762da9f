//! What the channels count. No label names a topic or a session: their number is the users' business, a label's is not.

use std::{
    fmt::{self, Write as _},
    sync::Weak,
};

use mesh_core::Code;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge},
    registry::Registry,
};

use super::Channels;

/// What the channels count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) pushes: Counter,
    pub(crate) repeated_pushes: Counter,
    pub(crate) push_repeats: Counter,
    pub(crate) pops: Counter,
    pub(crate) empty_pops: Counter,
    pub(crate) peeks: Counter,
    pub(crate) releases: Counter,
    pub(crate) commits: Counter,
    pub(crate) hand_backs: Counter,
    pub(crate) expired_messages: Counter,
    pub(crate) dropped_messages: Counter,
    pub(crate) expired_sessions: Counter,
    pub(crate) room_waits: Counter,
    pub(crate) waiting_pops: Gauge,
    pub(crate) waiting_pushes: Gauge,
    pub(crate) refusals: Family<Refused, Counter>,
}

/// The label of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Refused {
    code: CodeLabel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CodeLabel(Code);

impl EncodeLabelValue for CodeLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        write!(encoder, "{}", self.0)
    }
}

impl Metrics {
    /// Registers everything under `mesh_transport_`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("mesh_transport");
        r.register("pushes", "Messages that entered a queue", self.pushes.clone());
        r.register("push_repeats", "Pushes to other nodes that were sent once more", self.push_repeats.clone());
        r.register("repeated_pushes", "Pushes of other nodes that had entered already", self.repeated_pushes.clone());
        r.register("pops", "Pops that were given a message", self.pops.clone());
        r.register("empty_pops", "Pops that ended without a message", self.empty_pops.clone());
        r.register("peeks", "Peeks that were given a message", self.peeks.clone());
        r.register("releases", "Releases of a topic or a session", self.releases.clone());
        r.register("lease_commits", "Leases that ended well", self.commits.clone());
        r.register("lease_hand_backs", "Messages that went back to their place", self.hand_backs.clone());
        r.register("expired_messages", "Messages older than messageTtl", self.expired_messages.clone());
        r.register("dropped_messages", "Messages dropped by release or idle expiry", self.dropped_messages.clone());
        r.register("expired_sessions", "Sessions that were idle too long", self.expired_sessions.clone());
        r.register("room_waits", "Pushes that had to wait for room", self.room_waits.clone());
        r.register("waiting_pops", "Pops that wait for a message now", self.waiting_pops.clone());
        r.register("waiting_pushes", "Pushes that wait for room now", self.waiting_pushes.clone());
        r.register("refusals", "Calls that were refused, by code", self.refusals.clone());
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, code: Code) {
        self.refusals.get_or_create(&Refused { code: CodeLabel(code) }).inc();
    }
}

/// What is not counted but looked up when it is asked for.
#[derive(Debug)]
pub(crate) struct Gauges(pub(crate) Weak<Channels>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(channels) = self.0.upgrade() else { return Ok(()) };
        let now = channels.levels();
        let levels = [
            ("messages", "Messages that are queued or leased", now.messages),
            ("bytes", "Bytes that are queued or leased", now.bytes),
            ("sessions", "Sessions that are kept", now.sessions),
            ("tombstones", "Released sessions that are still refused", now.tombstones),
        ];
        for (name, help, value) in levels {
            let name = format!("mesh_transport_{name}");
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
