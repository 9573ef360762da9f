//! What the registry counts (prefix `mesh_registry_`). No label names a service, an urn or an instance: their number is
//! the users' to choose.

use mesh_core::Code;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry as Metered,
};

/// What became of a call to a registered path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// A service of this node answered.
    Forwarded,
    /// It went to a partner's node, which answered.
    Relayed,
    /// The caller may not call it, or the request is wrong.
    Refused,
    /// No instance is ready.
    NoInstance,
    /// No answer in time.
    Timeout,
    /// The service or the partner broke off, or could not be reached.
    Broken,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 6] =
        [Self::Forwarded, Self::Relayed, Self::Refused, Self::NoInstance, Self::Timeout, Self::Broken];

    /// The outcome that a refusal's code stands for.
    #[must_use]
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::NO_INSTANCE => Self::NoInstance,
            Code::TIMEOUT => Self::Timeout,
            Code::UNKNOWN | Code::UNREACHABLE | Code::CERTIFICATE | Code::INTERNAL => Self::Broken,
            _ => Self::Refused,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

/// The calls by outcome, each counter at hand: a call looks up no label.
#[derive(Clone, Debug, Default)]
struct Calls {
    family: Family<OutcomeLabel, Counter>,
    each: [Counter; Outcome::ALL.len()],
}

/// The registry's metrics; a clone counts on the same ones.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    calls: Calls,
    /// Live registrations.
    pub(crate) live: Gauge,
    /// Permanent registrations.
    pub(crate) permanent: Gauge,
    /// Instances that get calls.
    pub(crate) ready: Gauge,
    /// Instances that do not.
    pub(crate) not_ready: Gauge,
    /// Registrations that ran out.
    pub(crate) expired: Counter,
    /// Permanent registrations that this version cannot route.
    pub(crate) unusable: Gauge,
}

impl Metrics {
    /// Registers all of them.
    #[must_use]
    pub fn new(metered: &mut Metered) -> Self {
        let mut metrics = Self::default();
        for outcome in Outcome::ALL {
            metrics.calls.each[outcome as usize] = metrics.calls.family.get_or_create_owned(&OutcomeLabel { outcome });
        }
        let metered = metered.sub_registry_with_prefix("mesh_registry");
        metered.register("calls", "Calls to registered paths, by what became of them", metrics.calls.family.clone());
        metered.register("live_registrations", "Registrations made by the API", metrics.live.clone());
        metered.register("permanent_registrations", "Registrations of the configuration", metrics.permanent.clone());
        metered.register("ready_instances", "Instances that get calls", metrics.ready.clone());
        metered.register("not_ready_instances", "Instances that accept no connection", metrics.not_ready.clone());
        metered.register("expired_registrations", "Registrations that ran out", metrics.expired.clone());
        let unusable = "Registrations of the configuration that this version cannot route";
        metered.register("unusable_registrations", unusable, metrics.unusable.clone());
        metrics
    }

    /// Counts a call.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.calls.each[outcome as usize].inc();
    }
}
