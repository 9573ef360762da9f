//! HTTP in and out of the intake: decode, who calls, one call, encode.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

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
use tokio::time::{error::Elapsed, timeout};

use super::{
    caller::{Caller, Callers, Unknown},
    change::partner,
    rate::{Rate, Turn},
    report::checked,
    routes::{MANAGER, NotWritten, Routes},
};
use crate::port::{self, Closing, Peer, json, plain};

/// Applications wait for the answer to a change of trust; a call that takes longer is answered as one that may be tried again.
const LONGEST: Duration = Duration::from_secs(8);
/// What is said then.
const SLOW: &str = "the API server is slow";

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
    routes: Arc<Routes>,
    rate: Mutex<Rate>,
    metrics: IntakeMetrics,
    closing: Closing,
}

type Answer = Response<Full<Bytes>>;

impl IntakeDesk {
    pub(super) fn new(client: Client, metrics: IntakeMetrics, closing: Closing) -> Self {
        let (callers, routes) = (Callers::new(client.clone()), Arc::new(Routes::new(client.clone())));
        Self { client, callers, routes, rate: Mutex::default(), metrics, closing }
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

    /// Comes to its end and into the log whether somebody still waits for the answer or not: a caller that hangs up takes nothing
    /// out of the audit. The port's end waits for it as for a connection.
    async fn change(&self, caller: Caller, change: RouteChange) -> Answer {
        let (routes, metrics) = (Arc::clone(&self.routes), self.metrics.clone());
        let done = async move {
            let came = timeout(LONGEST, routes.change(&caller, &change)).await;
            answered(&caller, &change, came, &metrics)
        };
        let slow = |_| plain(StatusCode::SERVICE_UNAVAILABLE, SLOW);
        tokio::spawn(self.closing.counted(done)).await.unwrap_or_else(slow)
    }
}

/// Counts and logs what became of a change, and says it.
fn answered(
    caller: &Caller,
    change: &RouteChange,
    came: Result<Result<String, NotWritten>, Elapsed>,
    metrics: &IntakeMetrics,
) -> Answer {
    let (namespace, pod, user, partner) = (&caller.namespace, &caller.pod, &caller.user, partner(change));
    let what = match change {
        RouteChange::Put { .. } => "put",
        RouteChange::Remove { .. } => "remove",
    };
    let error = match came {
        Ok(Ok(done)) => {
            tracing::info!(audit = true, namespace, pod, user, what, partner, done, "intake: change of trust");
            metrics.count("route", "done");
            return outcome(Outcome::DONE, &done);
        }
        Ok(Err(error)) => match error.code() {
            Some(code) => {
                tracing::info!(audit = true, namespace, pod, user, what, partner, %error, "intake: change of trust refused");
                metrics.count("route", "refused");
                return outcome(code, &error.to_string());
            }
            None => error.to_string(),
        },
        Err(_) => SLOW.into(),
    };
    tracing::warn!(
        audit = true,
        namespace,
        pod,
        user,
        what,
        partner,
        error,
        "intake: change of trust, outcome not known"
    );
    metrics.count("route", "unavailable");
    plain(StatusCode::SERVICE_UNAVAILABLE, &error)
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
                Ok(change) => self.change(caller, change).await,
                Err(answer) => {
                    let Caller { namespace, pod, user, .. } = &caller;
                    tracing::info!(
                        audit = true,
                        namespace,
                        pod,
                        user,
                        "intake: change of trust refused: it cannot be read"
                    );
                    self.metrics.count("route", "refused");
                    *answer
                }
            }
        };
        timeout(LONGEST, done).await.unwrap_or_else(|_| plain(StatusCode::SERVICE_UNAVAILABLE, SLOW))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Answer>> {
    serde_json::from_slice(body).map_err(|error| Box::new(outcome("E0000000400", &error.to_string())))
}

fn outcome(code: &str, message: &str) -> Answer {
    json(StatusCode::OK, &json!(Outcome { code: code.into(), message: message.into() }))
}

#[cfg(test)]
mod tests {
    use super::{
        super::routes::tests::{Server, caller, put},
        *,
    };

    fn desk(server: &Server) -> IntakeDesk {
        let metrics = IntakeMetrics::new(&mut Registry::default());
        IntakeDesk::new(server.client(), metrics, Closing::default())
    }

    fn counted(desk: &IntakeDesk, outcome: &'static str) -> u64 {
        desk.metrics.0.get_or_create(&Asked { call: "route", outcome }).get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_comes_to_its_end_though_nobody_waits_for_it_and_a_port_ends_behind_it() {
        let server = Server::allowing(&[("create", None)]);
        let desk = desk(&server);
        let hung_up = timeout(Duration::from_millis(1), desk.change(caller(), put("LX2"))).await;
        assert!(hung_up.is_err() && server.written().is_empty(), "it was done before: this proves nothing");
        desk.closing.done(LONGEST).await;
        assert_eq!((server.written().len(), counted(&desk, "done")), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_write_that_is_not_answered_is_said_that_nothing_is_known() {
        let server = Server::allowing(&[("create", None)]).silent();
        let desk = desk(&server);
        let answer = desk.change(caller(), put("LX2")).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((server.written().len(), counted(&desk, "unavailable")), (1, 1));
    }
}
