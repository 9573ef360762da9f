//! What a node's operator sees of its directory: counters that are kept where things happen, and gauges that are looked up when
//! somebody asks.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::RwLock;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    directory::Directory,
    lenient::{Leniency, Used},
    state::State,
};

/// What is counted. It outlives the directory that counts: one that is closed and opened anew goes on.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<Call, Counter>,
    leniencies: Family<Number, Counter>,
    writing: Histogram,
    shown: Shown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    what: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Number {
    number: u8,
}

/// From the time of a commit on a fast disk to that after which callers give up.
const WRITING: [f64; 9] = [5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.2, 1.0, 5.0];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            leniencies: Family::default(),
            writing: Histogram::new(WRITING),
            shown: Arc::default(),
        }
    }
}

impl Metrics {
    /// Registers all as `mesh_directory_...`.
    pub fn register(&self, registry: &mut Registry) {
        let room = registry.sub_registry_with_prefix("mesh_directory");
        room.register("calls", "Calls, by what was asked and code", self.calls.clone());
        room.register("leniencies", "Calls that took a leniency, by its number", self.leniencies.clone());
        room.register("write_seconds", "From a write to its answer", self.writing.clone());
        registry.register_collector(Box::new(Gauges(Arc::clone(&self.shown))));
    }

    /// Whose levels are shown; `None`: there is no directory now.
    pub fn show(&self, directory: Option<&Arc<Directory>>) {
        *self.shown.write() = directory.map(Arc::downgrade);
    }

    pub(crate) fn called(&self, what: &'static str, code: u16) {
        self.calls.get_or_create(&Call { what, code }).inc();
    }

    pub(crate) fn lenient(&self, used: &Used) {
        for leniency in used.iter().copied().map(Leniency::number) {
            self.leniencies.get_or_create(&Number { number: leniency }).inc();
        }
    }

    pub(crate) fn wrote(&self, took: Duration) {
        self.writing.observe(took.as_secs_f64());
    }
}

/// What is looked up.
#[derive(Debug)]
struct Gauges(Shown);

/// Whose levels are shown. It is not kept open by that.
type Shown = Arc<RwLock<Option<Weak<Directory>>>>;

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(directory) = self.0.read().as_ref().and_then(Weak::upgrade) else { return Ok(()) };
        let view = directory.view();
        let [systems, classes, addresses] = view.read(State::counts);
        let entries = usize::try_from(view.published().size).unwrap_or(usize::MAX);
        for (name, help, value) in [
            ("central_systems", "Central systems that are connected", systems),
            ("adapter_classes", "Adapter classes that somebody offers", classes),
            ("data_systems", "Data systems", addresses),
            ("entries", "Entries that the last checkpoint is over", entries),
            (
                "unreached",
                "Central systems that were not reached when they were probed",
                directory.health().unreached().len(),
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let name = format!("mesh_directory_{name}");
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        let Some(cosigned) = directory.cosigned() else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let waiting = cosigned.lock().waiting(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let gauge = ConstGauge::new(i64::try_from(waiting / 1000).unwrap_or(i64::MAX));
        let help = "For how long the oldest entry has waited that too few witnesses have signed";
        gauge.encode(encoder.encode_descriptor("mesh_directory_unwitnessed_seconds", help, None, MetricType::Gauge)?)
    }
}
