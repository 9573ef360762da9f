//! OpenTelemetry traces of both programs: off unless a collector is named.
//!
//! A span says what was done, how long it took and what came of it; never a payload, a token, a session, a topic, a key or a
//! query. Switched off, a caller holds a `None` and nothing here runs.
//!
//! [`Options`] is what the standard's variables say, [`Traces`] the way to the collector, [`Span`] one thing that is done, and
//! [`Parent`] the W3C header by which spans of several processes find each other. What is worth a span is the callers' business.

#![forbid(unsafe_code)]

mod exporter;
mod options;
mod parent;
mod roots;
mod span;

pub use opentelemetry::trace::SpanKind;
pub use options::Options;
pub use parent::{Parent, TRACEPARENT};
pub use span::{Span, child};

use std::{thread, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};

use exporter::Told;
use tokio::{sync::oneshot, time::timeout};

/// What the last spans get at the end of the process: a collector in reach takes milliseconds, and one that is away must not
/// make every pod's end longer.
const LAST: Duration = Duration::from_secs(1);
/// The process has ended by then: the library would call it an error otherwise, which a collector that is away is not.
const NEVER: Duration = Duration::from_secs(3600);

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The collector cannot be called.
    #[error(
        "the collector of traces cannot be called: OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint:?} and must be http://host:4317 or https://host:4317, for OTLP over gRPC{reason}"
    )]
    Endpoint {
        /// What was said.
        endpoint: String,
        /// Why it is none, where more is known.
        reason: String,
    },
    /// The roots that the collector should be known by.
    #[error(
        "the roots that the collector of traces is known by cannot be used: {whence}: {reason}; name a file with certificates in PEM by OTEL_EXPORTER_OTLP_CERTIFICATE, or none to take those of the machine (SSL_CERT_FILE)"
    )]
    Root {
        /// The file or variable.
        whence: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such sampler.
    #[error(
        "OTEL_TRACES_SAMPLER is {0:?} and must be always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio"
    )]
    Sampler(String),
    /// The part of the traces that is wanted is no part.
    #[error("OTEL_TRACES_SAMPLER_ARG is {0:?} and must be a number from 0 to 1: the part of the traces that is sent")]
    Ratio(String),
}

/// The way to the collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// As `options` say; `None` where they name no collector. Must be called in a runtime, on which the connections live; what
    /// is sent is put together on a thread of its own.
    ///
    /// # Errors
    /// An endpoint, roots, a sampler or a ratio that are none.
    pub fn open(options: &Options, service: &'static str, version: &'static str) -> Result<Option<Self>, TracesError> {
        let Some(endpoint) = &options.endpoint else { return Ok(None) };
        let (exporter, sampler) = (Told::to(endpoint, options)?, options.sampler()?);
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(service);
        }
        let resource = resource.with_attribute(KeyValue::new("service.version", version)).build();
        // The queue is bounded (2048 spans, the standard's default), and what it has no room for is dropped.
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("interconn");
        Ok(Some(Self { provider, tracer }))
    }

    /// Begins a span; under `parent` where there is one.
    #[must_use]
    pub fn begin(&self, name: &'static str, kind: SpanKind, parent: Option<&Parent>) -> Span {
        Span::begin(&self.tracer, name, kind, parent)
    }

    /// Sends what is left; waits for the collector, for a second at most. Without it the last spans hold up whoever drops this.
    pub async fn end(&self) {
        let (provider, (told, hears)) = (self.provider.clone(), oneshot::channel());
        // On a thread that nothing waits for, so that a collector which does not answer holds up no end of a runtime.
        let sending = thread::Builder::new().name("last-traces".into()).spawn(move || {
            let _ = told.send(provider.shutdown_with_timeout(NEVER));
        });
        if sending.is_err() || timeout(LAST, hears).await.is_err() {
            tracing::info!("the collector did not take the last traces in time");
        }
    }
}
