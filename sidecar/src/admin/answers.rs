//! What the admin port answers.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::Value;

use super::{Admin, Diagnose, GridPage, Phase, QueuePage, ServicePage, directory, server::Peer, shown, tunnel};

/// A log level is a line.
const LONGEST_BODY: usize = 4096;
/// A network controller that is taken over: as many nodes as there may be, and the tokens with which they joined.
const LONGEST_IMPORT: usize = 16 << 20;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All paths of the admin port.
pub(super) fn routes(admin: Arc<Admin>) -> Router {
    let guarded = Router::new()
        .route("/config", get(config))
        .route("/status", get(status))
        .route("/queues", get(queues))
        .route("/queues/list", get(queue_page))
        .route("/services", get(services))
        .route("/grid", get(grid_page))
        .route("/tunnel", get(tunnel::nodes))
        .route("/tunnel/tokens", get(tunnel::tokens).post(tunnel::mint).delete(tunnel::revoke))
        .route("/tunnel/kick", post(tunnel::kick))
        .route("/tunnel/approve", post(tunnel::approve))
        .route("/tunnel/deny", post(tunnel::deny))
        .route("/tunnel/authorities", get(tunnel::authorities).delete(tunnel::forget_authority))
        .route("/tunnel/routes", get(tunnel::routes).post(tunnel::approve_route).delete(tunnel::revoke_route))
        .route("/tunnel/policy", get(tunnel::policy))
        .route("/tunnel/import", post(tunnel::import).layer(DefaultBodyLimit::max(LONGEST_IMPORT)))
        .route("/directory/tokens", get(directory::tokens).post(directory::issue).delete(directory::revoke))
        .route("/diagnose/route", get(diagnose))
        .route("/log", get(level).put(set_level))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), guard));
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(admin)
}

/// The same before there is anything to show: the process waits for something.
pub(super) fn starting(phase: Arc<Phase>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .fallback(|State(phase): State<Arc<Phase>>| async move {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", readiness(&phase).1))
        })
        .with_state(phase)
}

/// What a probe is answered.
fn readiness(phase: &Phase) -> (StatusCode, String) {
    match phase.unready() {
        None => (StatusCode::OK, phase.name().to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

/// From loopback, and with the token; both, because containers of a pod share the loopback address.
async fn guard(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let is_loopback = request.extensions().get::<Peer>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    if is_loopback && admin.token.admits(request.headers()) {
        return next.run(request).await;
    }
    let text = "only from this machine, and with the token of MESH_HOME/admin.token in the authorization header\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let (status, text) = readiness(&admin.phase);
    (status, format!("{text}\n")).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.metrics) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n").into_response(),
    }
}

async fn config(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(shown::config(&admin))
}

async fn status(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(shown::status(&admin))
}

async fn queues(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(admin.rooms.queues())
}

async fn queue_page(State(admin): State<Arc<Admin>>, Query(ask): Query<QueuePage>) -> Json<Value> {
    Json(admin.rooms.queue_page(&ask))
}

async fn services(State(admin): State<Arc<Admin>>, Query(ask): Query<ServicePage>) -> Json<Value> {
    Json(admin.rooms.services(&ask))
}

async fn grid_page(State(admin): State<Arc<Admin>>, Query(ask): Query<GridPage>) -> Response {
    match admin.rooms.grid_page(&ask) {
        Ok(page) => Json(page).into_response(),
        Err(why) => (StatusCode::NOT_FOUND, format!("{why}\n")).into_response(),
    }
}

async fn diagnose(State(admin): State<Arc<Admin>>, Query(ask): Query<Diagnose>) -> Response {
    match admin.rooms.diagnose(&ask).await {
        Ok(said) => Json(said).into_response(),
        Err(refusal) => (StatusCode::NOT_FOUND, format!("{refusal}\n")).into_response(),
    }
}

async fn level(State(admin): State<Arc<Admin>>) -> String {
    admin.level.get()
}

async fn set_level(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body);
    match admin.level.set(text.trim()) {
        Ok(()) => {
            tracing::info!(level = text.trim(), "the log level was changed");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => (StatusCode::BAD_REQUEST, format!("{problem}\n")).into_response(),
    }
}
