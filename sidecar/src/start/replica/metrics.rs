//! What operators see of a sidecar's copy of the directory, as `mesh_directory_replica_...`.

use std::{fmt, sync::Arc};

use mesh_directory::replica::Replica;
use parking_lot::RwLock;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

use super::{Because, Kept, ended};

/// The copy, where there is one.
type Place = Arc<RwLock<Option<Arc<Kept>>>>;

/// What is counted, and where the levels are.
pub(super) struct Metrics {
    answers: Family<Answer, Counter>,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    reason: &'static str,
}

impl Metrics {
    pub(super) fn new(place: Place) -> Self {
        Self { answers: Family::default(), place }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Lookups that the sidecar's copy of the directory answered, by why it was asked";
        registry.register("mesh_directory_replica_answers", help, self.answers.clone());
        registry.register_collector(Box::new(Gauges(Arc::clone(&self.place))));
    }

    pub(super) fn answered(&self, why: Because) {
        let reason = match why {
            Because::Allowed => "allowed",
            Because::Away => "away",
        };
        self.answers.get_or_create(&Answer { reason }).inc();
    }
}

/// What is looked up when somebody asks.
struct Gauges(Place);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(kept) = self.0.read().clone() else { return Ok(()) };
        let copy = kept.copy.read();
        let (entries, held) = copy.as_ref().map_or((0, 0), |replica| (replica.progress().0, Replica::held(replica)));
        let has_ended = ended(copy.as_ref()).is_some();
        let is_full = copy.as_ref().is_some_and(|replica| replica.full().is_some());
        let levels = [
            ("entries", "Entries of the directory's log that the copy has taken in", entries),
            ("bytes", "Bytes that its records take, as they count towards directory.replica.memory", held),
            ("ended", "1: the copy has ended and answers nothing; the log says why", u64::from(has_ended)),
            ("full", "1: the copy has no room for what comes next, and ages; the log says why", u64::from(is_full)),
        ];
        for (name, help, value) in levels {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let name = format!("mesh_directory_replica_{name}");
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        let Some(age) = kept.staleness() else { return Ok(()) };
        let gauge = ConstGauge::new(age.as_secs_f64());
        let help = "How old an answer of the copy may be";
        gauge.encode(encoder.encode_descriptor(
            "mesh_directory_replica_age_seconds",
            help,
            None,
            gauge.metric_type(),
        )?)
    }
}
