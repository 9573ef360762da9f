//! Why a pod got no sidecar, for people: an Event at what creates it, and counters.
//!
//! Nothing here holds up an answer: Events go through a short queue to a task that publishes them, and what does not fit is
//! only counted. A dry run is only counted, too.

use std::{sync::Arc, time::Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::sync::mpsc;

use super::{
    bucket::Buckets,
    decide::Decision,
    review::{Request, regarding},
    verdict::Left,
};

/// A burst of pods of one workload makes one series of Events; more than this waiting says nothing new.
const WAITING: usize = 256;

/// What became of a pod, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    reason: &'static str,
}

/// What the webhook counts.
#[derive(Clone, Debug)]
pub(crate) struct InjectMetrics {
    admissions: Family<Outcome, Counter>,
    untold: Counter,
    pub(super) seconds: Histogram,
    /// When the certificate that is shown ends.
    pub(super) certificate_ends: Gauge,
}

impl InjectMetrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        // Ten milliseconds is the goal; the rest shows how far off it is.
        let seconds = Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0]);
        let metrics = Self {
            admissions: Family::default(),
            untold: Counter::default(),
            seconds,
            certificate_ends: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("mesh_operator");
        registry.register("admissions", "pods, by what became of them and why", metrics.admissions.clone());
        registry.register("admission_events_lost", "Events about pods that were not published", metrics.untold.clone());
        registry.register("admission_seconds", "how long an answer takes", metrics.seconds.clone());
        let ends = "when the certificate of webhook and intake ends; 0 without one";
        registry.register("webhook_certificate_not_after_seconds", ends, metrics.certificate_ends.clone());
        metrics
    }
}

/// What is known of the namespace that somebody asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    /// It has MeshNodes.
    WithNodes,
    /// It has none, or is not looked after.
    Other,
}

/// Where decisions are told.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) metrics: InjectMetrics,
    events: mpsc::Sender<(Left, ObjectReference)>,
    buckets: Arc<Mutex<Buckets>>,
}

/// The other end: what is yet to be published.
pub(super) struct Untold(mpsc::Receiver<(Left, ObjectReference)>);

impl Teller {
    pub(super) fn new(metrics: InjectMetrics) -> (Self, Untold) {
        let (events, untold) = mpsc::channel(WAITING);
        (Self { metrics, events, buckets: Arc::default() }, Untold(untold))
    }

    /// Counts a decision and, where somebody may wonder about it, has an Event published. Whoever reaches the port can ask about a
    /// pod of any namespace, so Events are for those alone that have a node, and there are only so many.
    pub(super) fn tell(&self, request: &Request, decision: &Decision, namespace: Namespace) {
        let (outcome, reason) = match decision {
            Decision::Patch { .. } => ("injected", ""),
            Decision::Left(left) => ("left", left.reason()),
            Decision::Refused(refusal) => ("refused", refusal.reason()),
        };
        self.metrics.admissions.get_or_create(&Outcome { outcome, reason }).inc();
        // A refusal needs no Event of ours: whoever creates the pod gets the text, and controllers publish it.
        let (Decision::Left(left), Some(pod)) = (decision, &request.pod) else { return };
        let is_to_be_told = left.is_worth_an_event() && !request.is_dry_run && namespace == Namespace::WithNodes;
        if is_to_be_told
            && (!self.buckets.lock().take(&request.namespace, Instant::now())
                || self.events.try_send((*left, regarding(pod, &request.namespace))).is_err())
        {
            self.metrics.untold.inc();
        }
    }
}

impl Untold {
    /// Publishes for ever.
    pub(super) async fn publish(mut self, client: Client, metrics: &InjectMetrics) {
        let recorder = Recorder::new(client, Reporter { controller: "interconn-injector".into(), instance: None });
        while let Some((left, regarding)) = self.0.recv().await {
            let event = Event {
                type_: EventType::Normal,
                reason: format!("NotInjected{}", left.reason()),
                note: Some(left.text().into()),
                action: "Inject".into(),
                secondary: None,
            };
            if let Err(error) = recorder.publish(&event, &regarding).await {
                metrics.untold.inc();
                tracing::debug!(%error, "an Event about a pod was not published");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::review;

    /// What waits to be published after `count` reviews of a pod that shares its processes.
    fn told(count: usize, namespace: Namespace) -> usize {
        let mut registry = Registry::default();
        let (teller, mut untold) = Teller::new(InjectMetrics::new(&mut registry));
        let review = serde_json::json!({"request": {"uid": "u", "resource": {"resource": "pods"}, "operation": "CREATE",
            "namespace": "kube-system", "object": {"metadata": {"name": "p"}}}});
        let request = review::read(review.to_string().as_bytes()).unwrap();
        (0..count).for_each(|_| teller.tell(&request, &Decision::Left(Left::SharedProcesses), namespace));
        std::iter::from_fn(|| untold.0.try_recv().ok()).count()
    }

    #[test]
    fn ten_thousand_posted_reviews_make_few_events_and_none_elsewhere() {
        assert_eq!(told(10_000, Namespace::Other), 0);
        let few = told(10_000, Namespace::WithNodes);
        assert!((1..100).contains(&few), "{few}");
    }
}
