//! The admin port: `/livez`, `/readyz`, `/metrics`.
//!
//! Ready means, of every process: the certificate of webhook and intake is loaded, the webhook's configuration trusts it, and the webhook
//! knows all MeshNodes; of the leader also: it knows where pods find the intake, and every watch has delivered its first full list. An
//! operator that has not seen the world yet must not receive a rollout's trust.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::StatusCode, routing::get};
use parking_lot::Mutex;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

use crate::{places::Places, port, thread};

/// What the process still waits for before it is ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<BTreeSet<String>>>);

/// One thing that it waits for. Dropping it without `done` leaves the process not ready.
#[derive(Debug)]
pub(crate) struct Pending {
    readiness: Readiness,
    what: String,
}

impl Readiness {
    /// The process is not ready before `what` is done.
    #[must_use]
    pub(crate) fn pending(&self, what: &str) -> Pending {
        self.0.lock().insert(what.into());
        Pending { readiness: self.clone(), what: what.into() }
    }

    /// What was begun since `before` was missing is no business of this process any more.
    pub(crate) fn waits_only_for(&self, before: &[String]) {
        self.0.lock().retain(|what| before.contains(what));
    }

    /// What it still waits for.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}

impl Pending {
    /// It is done; a second time changes nothing.
    pub(crate) fn done(&self) {
        self.readiness.0.lock().remove(&self.what);
    }
}

/// Serves until the process ends, on a thread of its own: a kubelet that asks whether it lives must not wait for a thousand routes.
///
/// # Errors
/// When the address cannot be bound or the listener breaks.
pub(crate) async fn serve(address: SocketAddr, readiness: Readiness, metrics: Arc<Registry>) -> Result<()> {
    let serve = move || async move {
        let listener =
            port::listen(address).and_then(TcpListener::from_std).with_context(|| format!("admin port {address}"))?;
        axum::serve(Places::new(listener), router(readiness, metrics)).await.context("admin port")
    };
    thread::on_a_thread("admin", serve).await
}

fn router(readiness: Readiness, metrics: Arc<Registry>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(exposition).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let missing = readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}", missing.join(", ")))
    }
}

async fn exposition(State(metrics): State<Arc<Registry>>) -> (StatusCode, String) {
    let mut text = String::new();
    match encode(&mut text, &metrics) {
        Ok(()) => (StatusCode::OK, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_process_is_ready_when_nothing_is_pending_any_more() {
        let readiness = Readiness::default();
        let (nodes, routes) = (readiness.pending("meshnodes"), readiness.pending("meshroutes"));
        nodes.done();
        let (status, text) = readyz(State(readiness.clone())).await;
        assert_eq!((status, text.contains("meshroutes")), (StatusCode::SERVICE_UNAVAILABLE, true));
        routes.done();
        routes.done();
        assert_eq!(readyz(State(readiness.clone())).await.0, StatusCode::OK);
        let before = readiness.missing();
        let _of_a_leader = readiness.pending("MeshNode of all namespaces");
        readiness.waits_only_for(&before);
        assert_eq!(readyz(State(readiness)).await.0, StatusCode::OK, "who leads no more stands by, and is ready");
    }
}
