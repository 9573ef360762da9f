//! What a network controller of LiteKube left behind, taken over.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mesh_tunnel::control::{ImportProblem, Takeover};
use serde_json::json;

use super::{Admin, blocking, off, refused, unix};

/// Authorities, nodes and tokens are taken over.
pub(crate) async fn import(State(admin): State<Arc<Admin>>, Json(takeover): Json<Takeover>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    blocking(move || match control.take_over(&takeover, unix(SystemTime::now())) {
        Ok(done) => {
            tracing::info!(target: "audit", action = "import", source = "admin port", nodes = done.nodes, tokens = done.tokens, "tunnel");
            Json(json!({"nodes": done.nodes, "moved": done.moved, "tokens": done.tokens, "known": done.known}))
                .into_response()
        }
        Err(e @ ImportProblem::Authority(_)) => refused(StatusCode::BAD_REQUEST, e),
        Err(e @ (ImportProblem::Ledger(_) | ImportProblem::Admin(_))) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}
