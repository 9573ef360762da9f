//! Sends spans, and says once that the collector is away, and once that it is back: traces that are lost are nobody's work to
//! read about every five seconds.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

use crate::{Options, TracesError, roots};

/// The exporter, and whether its collector was away when it was last asked.
#[derive(Debug)]
pub(crate) struct Told {
    exporter: Otlp,
    endpoint: String,
    is_away: AtomicBool,
}

impl Told {
    /// To the collector at `endpoint`, with the roots of `options` where that speaks TLS. Connects when there is something to send.
    pub(crate) fn to(endpoint: &str, options: &Options) -> Result<Self, TracesError> {
        let refused = |reason| TracesError::Endpoint { endpoint: endpoint.to_owned(), reason };
        let builder = Otlp::builder().with_tonic().with_endpoint(endpoint);
        let builder = match endpoint.split_once("://") {
            Some(("http", _)) => builder,
            Some(("https", _)) => builder.with_tls_config(roots::tls(options)?),
            // Without a scheme it would be taken, and no call would ever reach it.
            _ => return Err(refused(String::new())),
        };
        let exporter = builder.build().map_err(|e| refused(format!(": {e}")))?;
        Ok(Self { exporter, endpoint: endpoint.to_owned(), is_away: AtomicBool::new(false) })
    }
}

impl SpanExporter for Told {
    /// Never fails: whoever asked would say so each time.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        match (sent, self.is_away.load(Relaxed)) {
            (Err(reason), false) => {
                self.is_away.store(true, Relaxed);
                tracing::warn!(collector = %self.endpoint, %reason, "the collector does not take traces: they are dropped until it does");
            }
            (Ok(()), true) => {
                self.is_away.store(false, Relaxed);
                tracing::info!(collector = %self.endpoint, "the collector takes traces again");
            }
            (Ok(()), false) | (Err(_), true) => {}
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
