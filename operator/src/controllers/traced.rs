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

#[cfg(test)]
#[path = "../../../sidecar/traces/tests/collector/mod.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod collector;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
    use traces::Options;

    use super::{collector::Collector, *};
    use crate::node::sample;

    #[tokio::test]
    async fn a_look_is_a_span_with_what_was_looked_at_and_why_it_failed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut collector = Collector::by(tonic::transport::Server::builder(), listener);
        let options = Options { endpoint: Some(collector.endpoint()), ..Options::default() };
        let traces = Traces::open(&options, "mesh-operator", "1").unwrap();
        let node = sample::node("a", "LX1");
        let good = look(traces.as_ref(), "MeshNode", &node, async { Ok(7) }).await;
        assert_eq!(good.unwrap(), 7);
        let route = sample::route("r", "a", "LX2", &[]);
        let fails = async {
            Err::<(), _>(Failure {
                reason: "WriteFailed",
                message: "Secret a of bank".into(),
                again: Duration::from_secs(1),
            })
        };
        let bad = look(traces.as_ref(), "MeshRoute", &route, fails).await;
        assert_eq!(bad.unwrap_err().reason, "WriteFailed");
        assert_eq!(look(None, "MeshNode", &node, async { Ok(8) }).await.unwrap(), 8, "without a collector too");
        traces.unwrap().end().await;
        collector.until(|spans| spans.len() == 2).await;
        let told: Vec<_> = collector
            .spans
            .iter()
            .map(|arrived| {
                let said = |key| arrived.said(key).unwrap();
                let status = arrived.span.status.clone().unwrap_or_default();
                (
                    (arrived.service.as_str(), arrived.span.name.as_str()),
                    (said("k8s.resource.kind"), said("k8s.namespace.name"), said("k8s.resource.name")),
                    (status.code, status.message),
                )
            })
            .collect();
        let of = |kind: &str, name: &str| (kind.to_owned(), "privacy".to_owned(), name.to_owned());
        let (who, unset, failed) = (("mesh-operator", "reconcile"), StatusCode::Unset as i32, StatusCode::Error as i32);
        assert_eq!(
            told,
            [
                (who, of("MeshNode", "a"), (unset, String::new())),
                (who, of("MeshRoute", "r"), (failed, "WriteFailed".to_owned())),
            ]
        );
        assert!(!format!("{:?}", collector.spans).contains("Secret a of bank"), "what failed is in the log");
    }
}
