//! What the channels count. No label names a topic or a session: their number is the users' business, a label's is not.

use std::{
    fmt::{self, Write as _},
    sync::Weak,
};

use mesh_core::Code;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::Channels;

/// What the channels count.
#[derive(Clone, Debug)]
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
    pub(crate) redeliveries: Counter,
    pub(crate) dropped_by_release: Counter,
    pub(crate) dropped_by_idleness: Counter,
    pub(crate) expired_sessions: Counter,
    pub(crate) moved_sessions: Counter,
    pub(crate) lost_messages: Counter,
    pub(crate) forwarded_calls: Counter,
    pub(crate) room_wait: Histogram,
    pub(crate) waiting_pops: Gauge,
    pub(crate) waiting_pushes: Gauge,
    pub(crate) waiting_bodies: Gauge,
    pub(crate) leases: Gauge,
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

/// From a millisecond, which nobody notices, to the 120 s that a pop waits by default.
const WAITS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            pushes: Counter::default(),
            repeated_pushes: Counter::default(),
            push_repeats: Counter::default(),
            pops: Counter::default(),
            empty_pops: Counter::default(),
            peeks: Counter::default(),
            releases: Counter::default(),
            commits: Counter::default(),
            hand_backs: Counter::default(),
            expired_messages: Counter::default(),
            redeliveries: Counter::default(),
            dropped_by_release: Counter::default(),
            dropped_by_idleness: Counter::default(),
            expired_sessions: Counter::default(),
            moved_sessions: Counter::default(),
            lost_messages: Counter::default(),
            forwarded_calls: Counter::default(),
            room_wait: Histogram::new(WAITS),
            waiting_pops: Gauge::default(),
            waiting_pushes: Gauge::default(),
            waiting_bodies: Gauge::default(),
            leases: Gauge::default(),
            refusals: Family::default(),
        }
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
        r.register("redeliveries", "Messages that were given out once more", self.redeliveries.clone());
        let text = "Unread messages that a release dropped";
        r.register("dropped_by_release", text, self.dropped_by_release.clone());
        let text = "Unread messages of sessions that were idle too long";
        r.register("dropped_by_idleness", text, self.dropped_by_idleness.clone());
        r.register("expired_sessions", "Sessions that were idle too long", self.expired_sessions.clone());
        let text = "Sessions that went from this gateway to another one of the node";
        r.register("moved_sessions", text, self.moved_sessions.clone());
        let text = "Unread messages that only memory had of a session which another gateway took over";
        r.register("lost_messages", text, self.lost_messages.clone());
        let text = "Calls that were passed on to the gateway that owns their session";
        r.register("forwarded_calls", text, self.forwarded_calls.clone());
        let text = "How long pushes and bodies waited for room that had to";
        r.register_with_unit("room_wait", text, Unit::Seconds, self.room_wait.clone());
        r.register("waiting_pops", "Pops that wait for a message now", self.waiting_pops.clone());
        r.register("waiting_pushes", "Pushes that wait for room now", self.waiting_pushes.clone());
        r.register("waiting_bodies", "Bodies that wait for room before they are read", self.waiting_bodies.clone());
        r.register("leases", "Messages that were given out and are not committed", self.leases.clone());
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
            ("bytes", "Bytes that are held: queued, leased, or in flight", now.bytes),
            ("in_flight_bytes", "Bytes of bodies that are read and answers that pass through", now.in_flight),
            ("sessions", "Sessions that are kept", now.sessions),
            ("tombstones", "Released sessions that are still refused", now.tombstones),
            ("oldest_message_age_seconds", "Age of the oldest message, as of the last sweep", now.oldest.as_secs()),
        ];
        for (name, help, value) in levels {
            let name = format!("mesh_transport_{name}");
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
