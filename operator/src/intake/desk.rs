//! HTTP in and out of the intake: decode, who calls, one call, encode.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crds::intake::{BODY_MAX, Outcome, REPORT, REPORTS, ROUTES, Report, RouteChange};
use http::{Method, Response, StatusCode, header::AUTHORIZATION, request::Parts};
use http_body_util::Full;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::{
    caller::{Caller, Callers, Unknown},
    rate::{Rate, Turn},
    report::checked,
    routes::{MANAGER, Routes},
};
use crate::port::{self, Peer, json, plain};

/// Applications wait for the answer to a change of trust; a call that takes longer is answered as one that may be tried again.
const LONGEST: Duration = Duration::from_secs(8);

/// What was asked, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    call: &'static str,
    outcome: &'static str,
}

/// What the intake counts.
#[derive(Clone, Debug)]
pub(crate) struct IntakeMetrics(Family<Asked, Counter>);

impl IntakeMetrics {
    /// Registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self(Family::default());
        let registry = registry.sub_registry_with_prefix("mesh_operator");
        registry.register("intake_calls", "calls of gateways and sidecars, by what became of them", metrics.0.clone());
        metrics
    }

    fn count(&self, call: &'static str, outcome: &'static str) {
        self.0.get_or_create(&Asked { call, outcome }).inc();
    }
}

/// The desk.
pub(super) struct IntakeDesk {
    client: Client,
    callers: Callers,
    routes: Routes,
    rate: Mutex<Rate>,
    metrics: IntakeMetrics,
}

type Answer = Response<Full<Bytes>>;

impl IntakeDesk {
    pub(super) fn new(client: Client, callers: Callers, routes: Routes, metrics: IntakeMetrics) -> Self {
        Self { client, callers, routes, rate: Mutex::default(), metrics }
    }

    async fn caller(&self, head: &Parts) -> Result<Caller, Answer> {
        let header = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let from = head.extensions.get::<Peer>().map(|Peer(address)| *address);
        let caller = self.callers.of(header, from).await.map_err(|unknown| self.turned_away(head, &unknown))?;
        let turn = self.rate.lock().take(&caller.pod_uid, Instant::now());
        if turn == Turn::Taken {
            return Ok(caller);
        }
        self.metrics.count("any", "too_many");
        if turn == Turn::Refused {
            tracing::info!(audit = true, namespace = caller.namespace, pod = caller.pod, "intake: too many calls");
        }
        Err(plain(StatusCode::TOO_MANY_REQUESTS, "too many calls: one a second, and a few more at a start"))
    }

    /// Nobody is known by the token. Who calls without end does not fill the log.
    fn turned_away(&self, head: &Parts, unknown: &Unknown) -> Answer {
        let (status, outcome) = match unknown {
            Unknown::Api(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Unknown::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
            Unknown::NoToken | Unknown::Refused(_) | Unknown::Unbound => (StatusCode::UNAUTHORIZED, "unknown_caller"),
        };
        if !matches!(unknown, Unknown::TooMany(Turn::RefusedAgain)) {
            let from = head.extensions.get::<Peer>().map(|Peer(address)| *address);
            tracing::info!(audit = true, path = head.uri.path(), ?from, %unknown, "intake: refused");
        }
        self.metrics.count("any", outcome);
        plain(status, &unknown.to_string())
    }

    /// The pod says what it runs on.
    async fn report(&self, caller: &Caller, report: Report) -> Answer {
        let text = match checked(report).map(|report| json!(report).to_string()) {
            Ok(text) => text,
            Err(rule) => {
                self.metrics.count("report", "refused");
                return outcome("E0000000400", rule);
            }
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &caller.namespace);
        // With the uid, so that a pod of the same name that came after it is not spoken for. The same word again writes nothing.
        let metadata = json!({"uid": caller.pod_uid, "annotations": {REPORT: text}});
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match api.patch_metadata(&caller.pod, &params, &Patch::Merge(json!({"metadata": metadata}))).await {
            Ok(_) => {
                self.metrics.count("report", "noted");
                outcome(Outcome::DONE, "noted")
            }
            Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409 | 422) => {
                self.metrics.count("report", "refused");
                outcome("E0000000614", "the pod is gone, or has no room for more annotations")
            }
            Err(error) => {
                self.metrics.count("report", "unavailable");
                plain(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
            }
        }
    }

    async fn change(&self, caller: &Caller, change: &RouteChange) -> Answer {
        let (namespace, pod, user) = (&caller.namespace, &caller.pod, &caller.user);
        let (what, partner) = match change {
            RouteChange::Put { route } => ("put", &route.peer.node_id),
            RouteChange::Remove { node_id } => ("remove", node_id),
        };
        match self.routes.change(caller, change).await {
            Ok(done) => {
                tracing::info!(audit = true, namespace, pod, user, what, partner, done, "intake: change of trust");
                self.metrics.count("route", "done");
                outcome(Outcome::DONE, &done)
            }
            Err(error) => {
                tracing::info!(audit = true, namespace, pod, user, what, partner, %error, "intake: change of trust refused");
                self.metrics.count("route", if error.code().is_some() { "refused" } else { "unavailable" });
                match error.code() {
                    Some(code) => outcome(code, &error.to_string()),
                    None => plain(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
                }
            }
        }
    }
}

impl port::Desk for IntakeDesk {
    const BODY: usize = BODY_MAX;

    fn refuses(&self, request: &Parts) -> Option<Answer> {
        match (request.uri.path(), &request.method) {
            (REPORTS | ROUTES, &Method::POST) => None,
            (REPORTS | ROUTES, _) => Some(plain(StatusCode::METHOD_NOT_ALLOWED, "by POST")),
            _ => Some(plain(StatusCode::NOT_FOUND, "there is nothing here")),
        }
    }

    async fn answer(&self, head: Parts, body: Bytes) -> Answer {
        let done = async {
            let caller = match self.caller(&head).await {
                Ok(caller) => caller,
                Err(answer) => return answer,
            };
            if head.uri.path() == REPORTS {
                return match read(&body) {
                    Ok(report) => self.report(&caller, report).await,
                    Err(answer) => *answer,
                };
            }
            match read(&body) {
                Ok(change) => self.change(&caller, &change).await,
                Err(answer) => *answer,
            }
        };
        timeout(LONGEST, done)
            .await
            .unwrap_or_else(|_| plain(StatusCode::SERVICE_UNAVAILABLE, "the API server is slow"))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Answer>> {
    serde_json::from_slice(body).map_err(|error| Box::new(outcome("E0000000400", &error.to_string())))
}

fn outcome(code: &str, message: &str) -> Answer {
    json(StatusCode::OK, &json!(Outcome { code: code.into(), message: message.into() }))
}
