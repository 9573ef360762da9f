//! What a node's operator sees of its grid (Grid section 8): counters that are kept where things happen, and gauges that are looked
//! up when somebody asks.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Weak},
};

use crds::Overflow;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use crate::{Grid, Topic, Unsent, queue::Pushed, wire::CloseCode};

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    accepted: Family<Listener, Counter>,
    refused: Family<Reason, Counter>,
    closed: Family<Code, Counter>,
    pub(crate) messages_in: Counter,
    pub(crate) bytes_in: Counter,
    messages_out: Counter,
    bytes_out: Counter,
    unsent: Family<Word, Counter>,
    dropped: Family<Dropped, Counter>,
    /// The topics that `dropped` has a series of.
    named: Mutex<HashSet<String>>,
    pub(crate) calls: Family<Code, Counter>,
    pub(crate) sending: Histogram,
    pub(crate) forwarding: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Code {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    k: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dropped {
    topic: String,
    policy: &'static str,
}

/// How a connection was lost before it was a client's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// Its handshake broke off, its TLS failed, or it took too long.
    Unfinished,
    /// It was the oldest of too many.
    GaveWay,
}

/// From the time of one table look-up to that of a publication to a hundred thousand.
const SENDING: [f64; 9] = [1e-6, 5e-6, 2e-5, 1e-4, 5e-4, 2e-3, 1e-2, 5e-2, 0.25];

/// Topics come and go, and a series stays: so many are named where something was dropped, the others are counted as one.
const MOST_NAMED: usize = 1000;
/// No topic has a name like that.
const OTHERS: &str = "(others)";
/// From the time of a round trip between two machines to that after which another node cannot be reached.
const FORWARDING: [f64; 7] = [1e-4, 5e-4, 2e-3, 1e-2, 5e-2, 0.25, 2.0];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            accepted: Family::default(),
            refused: Family::default(),
            closed: Family::default(),
            messages_in: Counter::default(),
            bytes_in: Counter::default(),
            messages_out: Counter::default(),
            bytes_out: Counter::default(),
            unsent: Family::default(),
            dropped: Family::default(),
            named: Mutex::default(),
            calls: Family::default(),
            sending: Histogram::new(SENDING),
            forwarding: Histogram::new(FORWARDING),
        }
    }
}

impl Metrics {
    pub(crate) fn accepted(&self, listener: &str) {
        self.accepted.get_or_create(&Listener { listener: listener.to_owned() }).inc();
    }

    /// A handshake was answered by that status.
    pub(crate) fn refused(&self, status: u16) {
        let reason = match status {
            401 => "credentials",
            403 => "forbidden",
            404 => "path",
            405 => "method",
            426 => "no_websocket",
            431 => "head_too_large",
            503 => "unavailable",
            _ => "malformed",
        };
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// A connection that became no client's, and that was told nothing.
    pub(crate) fn lost(&self, lost: Lost) {
        let reason = match lost {
            Lost::Unfinished => "unfinished",
            Lost::GaveWay => "gave_way",
        };
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// A client has gone; `None`: without a word. Codes that only applications give are one.
    pub(crate) fn closed(&self, code: Option<CloseCode>) {
        let code = match code.map_or(1006, CloseCode::get) {
            known @ (1000..=1014 | 3501 | 3502) => known,
            _ => 3000,
        };
        self.closed.get_or_create(&Code { code }).inc();
    }

    /// A message was put into so many outboxes, and not into so many others.
    pub(crate) fn sent(&self, clients: usize, bytes: usize) {
        let clients = u64::try_from(clients).unwrap_or(u64::MAX);
        self.messages_out.inc_by(clients);
        self.bytes_out.inc_by(clients.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX)));
    }

    pub(crate) fn unsent(&self, unsent: Unsent, clients: usize) {
        if clients > 0 {
            let clients = u64::try_from(clients).unwrap_or(u64::MAX);
            self.unsent.get_or_create(&Word { k: unsent.word() }).inc_by(clients);
        }
    }

    /// What became of a message whose topic was full, or that found no room among those that are held back before it.
    pub(crate) fn pushed(&self, topic: &Topic, pushed: &Pushed) {
        let policy = match pushed {
            Pushed::Held => return,
            Pushed::DroppedOldest => Overflow::DropOldest,
            Pushed::DroppedNewest => Overflow::DropNewest,
            Pushed::Rejected => Overflow::Reject,
            Pushed::Paused => Overflow::Pause,
        };
        self.full(topic, policy);
    }

    /// The same by what its topic's policy is.
    pub(crate) fn full(&self, topic: &Topic, policy: Overflow) {
        let label = Dropped { topic: self.named(topic.as_str()).to_owned(), policy: word(policy) };
        self.dropped.get_or_create(&label).inc();
    }

    fn named<'t>(&self, topic: &'t str) -> &'t str {
        let mut named = self.named.lock();
        if named.contains(topic) {
            return topic;
        }
        if named.len() >= MOST_NAMED {
            return OTHERS;
        }
        named.insert(topic.to_owned());
        topic
    }

    pub(crate) fn call(&self, code: u16) {
        self.calls.get_or_create(&Code { code }).inc();
    }

    /// Registers all of a grid as `mesh_grid_...`. May be done in several registries.
    pub fn register(grid: &Arc<Grid>, registry: &mut Registry) {
        let all = &grid.metrics;
        let room = registry.sub_registry_with_prefix("mesh_grid");
        room.register("accepted", "Clients whose handshake was answered, by listener", all.accepted.clone());
        room.register("refused", "Handshakes that were refused, by reason", all.refused.clone());
        room.register("closed", "Clients that have gone, by close code (1006: without one)", all.closed.clone());
        room.register("messages_in", "Messages and fragments that came from clients", all.messages_in.clone());
        room.register("bytes_in", "Their bytes", all.bytes_in.clone());
        room.register("messages_out", "Messages that were put into a client's queue", all.messages_out.clone());
        room.register("bytes_out", "Their bytes", all.bytes_out.clone());
        room.register(
            "send_errors",
            "Messages that a client's queue did not take, by the word of E.k",
            all.unsent.clone(),
        );
        room.register(
            "full",
            "Messages that found no room in their topic, or held back before it, by topic and what became of them",
            all.dropped.clone(),
        );
        room.register("calls", "Calls of backends, by code (0: success)", all.calls.clone());
        room.register("send_seconds", "How long a send or publish took, on this node", all.sending.clone());
        let forwarding = all.forwarding.clone();
        room.register("forwarded_seconds", "How long a send to a client of another node took", forwarding);
        registry.register_collector(Box::new(Gauges(Arc::downgrade(grid))));
    }
}

/// The word of the configuration.
fn word(policy: Overflow) -> &'static str {
    match policy {
        Overflow::DropOldest => "drop_oldest",
        Overflow::DropNewest => "drop_newest",
        Overflow::Reject => "reject",
        Overflow::Pause => "pause",
    }
}

/// What is looked up.
#[derive(Debug)]
struct Gauges(Weak<Grid>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(grid) = self.0.upgrade() else { return Ok(()) };
        let levels = [
            ("clients", "End users that are connected", grid.clients.count()),
            ("channels", "Channels with a subscriber", grid.clients.channels()),
            ("backends", "WebSockets of backends", grid.topics.sessions()),
            ("other_nodes", "Other nodes of the grid whose leases hold", grid.elsewhere.nodes()),
            ("node_number", "The number of this node in client ids", usize::from(grid.node().get())),
        ];
        for (name, help, value) in levels {
            let gauge = gauge(value);
            gauge.encode(encoder.encode_descriptor(
                &format!("mesh_grid_{name}"),
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        let rows = grid.topics.rows();
        type Look = fn(&crate::topics::TopicRow) -> usize;
        let of_topics: [(&str, &str, Look); 3] = [
            ("topic_depth", "Messages that wait in a topic", |row| row.depth),
            ("topic_unacked", "Messages that were given out and are not acknowledged", |row| row.unacked),
            ("topic_consumers", "Backends that consume a topic", |row| row.consumers),
        ];
        for (name, help, look) in of_topics {
            let name = format!("mesh_grid_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for row in &rows {
                gauge(look(row)).encode(family.encode_family(&[("topic", row.topic.as_str())])?)?;
            }
        }
        Ok(())
    }
}

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_without_end_have_no_series_without_end() {
        let metrics = Metrics::default();
        let topic = |n: usize| Topic::new(&format!("t{n}")).unwrap();
        (0..MOST_NAMED + 500).for_each(|n| metrics.full(&topic(n), Overflow::Reject));
        metrics.full(&topic(7), Overflow::Reject);
        let count = |topic: &str| {
            metrics.dropped.get_or_create(&Dropped { topic: topic.into(), policy: word(Overflow::Reject) }).get()
        };
        assert_eq!((count("t7"), count(OTHERS), count(&format!("t{MOST_NAMED}"))), (2, 500, 0));
    }
}
