//! One look at a resource in a span of its own, where traces are on: of which kind, which one, and why it failed.

use kube::ResourceExt;
use traces::{SpanKind, Traces};

use super::failure::Failure;

/// Does `work`, which is about `object`.
pub(super) async fn look<O: ResourceExt, D>(
    traces: Option<&Traces>,
    kind: &'static str,
    object: &O,
    work: impl Future<Output = Result<D, Failure>>,
) -> Result<D, Failure> {
    let Some(traces) = traces else { return work.await };
    let mut span = traces.begin("reconcile", SpanKind::Internal, None);
    span.set("k8s.resource.kind", kind);
    span.set("k8s.namespace.name", object.namespace().unwrap_or_default());
    span.set("k8s.resource.name", object.name_any());
    let done = work.await;
    if let Err(failure) = &done {
        span.failed(failure.reason);
    }
    done
}
