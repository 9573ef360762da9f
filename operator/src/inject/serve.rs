//! The webhook's desk. It works on a thread of its own: a reconcile that takes its time must not hold up somebody's pod. No
//! answer waits for the API server, for what is decided by comes from watches; only a pod that would be refused for want of its
//! MeshNode is worth the question whether the watch is late.

use std::{
    convert::Infallible,
    net::TcpListener,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};
use http_body_util::Full;
use tokio::time::{sleep, timeout};

use super::{
    asked::Asked,
    choice::Nodes,
    decide::{Decision, Settings},
    nodes::KnownNodes,
    review,
    tell::{Namespace, Teller},
};
use crate::{
    port::{self, Closing, json, plain},
    thread,
};

/// Where pods are sent; the configuration of the webhook says it too.
const INJECT: &str = "/inject";
/// A MeshNode that was applied in one breath with its pods may reach us after them. Below the ten seconds that the configuration
/// gives the webhook.
const GRACE: Duration = Duration::from_secs(4);
/// Then the API server is asked: where the node's definition was just upgraded it has ended our watch, and we begin another one
/// only after a while. A crowd of pods without a node asks twice for each, at most, and shares the answers.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// What answers are made of.
pub(super) struct Desk {
    pub(super) nodes: KnownNodes,
    pub(super) asked: Asked,
    pub(super) settings: Settings,
    pub(super) teller: Teller,
}

/// Serves on a thread of its own, for as long as the process lives.
///
/// # Errors
/// When the thread cannot be started, or ended.
pub(super) async fn serve(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    desk: Desk,
    closing: Closing,
) -> Result<Infallible> {
    let serve = || async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(port::serve(listener, tls, Arc::new(desk), closing).await)
    };
    thread::on_a_thread("webhook", serve).await
}

impl port::Desk for Desk {
    /// An API server takes objects of at most 3 MiB; the review around it is small.
    const BODY: usize = 4 << 20;

    fn refuses(&self, request: &Parts) -> Option<Response<Full<Bytes>>> {
        match (request.uri.path(), &request.method) {
            (INJECT, &Method::POST) => None,
            (INJECT, _) => Some(plain(StatusCode::METHOD_NOT_ALLOWED, "an AdmissionReview comes by POST")),
            _ => Some(plain(StatusCode::NOT_FOUND, "there is only /inject")),
        }
    }

    async fn answer(&self, _: Parts, body: Bytes) -> Response<Full<Bytes>> {
        let begun = Instant::now();
        let request = match review::read(&body) {
            Ok(request) => request,
            Err(unreadable) => return plain(StatusCode::BAD_REQUEST, &unreadable.to_string()),
        };
        let mut changes = self.nodes.changes();
        let judge = || review::judge(&request, &self.nodes.of(&request.namespace), &self.settings);
        let mut decision = judge();
        let healed = async {
            let mut pause = ASK_AFTER;
            // What the watch says meanwhile costs us neither the pause nor our place among those who ask.
            let mut asked = pin!(self.asked_after(pause, &request.namespace));
            while may_heal(&decision) {
                tokio::select! {
                    _ = changes.changed() => decision = judge(),
                    nodes = &mut asked => {
                        if let Some(nodes) = nodes {
                            decision = review::judge(&request, &nodes, &self.settings);
                        }
                        pause *= 2;
                        asked.set(self.asked_after(pause, &request.namespace));
                    }
                }
            }
        };
        // Time that is over leaves the decision as it is.
        let _ = timeout(GRACE, healed).await;
        let has_nodes = !self.nodes.of(&request.namespace).is_empty();
        self.teller.tell(&request, &decision, if has_nodes { Namespace::WithNodes } else { Namespace::Other });
        let answer = json(StatusCode::OK, &review::answer(&request, &decision));
        self.teller.metrics.seconds.observe(begun.elapsed().as_secs_f64());
        answer
    }
}

impl Desk {
    async fn asked_after(&self, pause: Duration, namespace: &str) -> Option<Arc<Nodes>> {
        sleep(pause).await;
        self.asked.of(namespace).await
    }
}

fn may_heal(decision: &Decision) -> bool {
    matches!(decision, Decision::Refused(refusal) if refusal.may_heal())
}
