//! The authorities whose certificates the network controller takes, and the administrator's word on those that were replaced.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mesh_tunnel::authority::{Forgotten, Trusted};
use serde_json::{Value, json};

use super::{Admin, Named, blocking, off, refused, unix};

/// Those whose clients are let in.
pub(crate) async fn authorities(State(admin): State<Arc<Admin>>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    blocking(move || match control.authority().trusted(SystemTime::now()) {
        Ok(all) => Json(json!({ "authorities": all.iter().map(row).collect::<Vec<_>>() })).into_response(),
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}

/// One that was replaced is not trusted any more.
pub(crate) async fn forget(State(admin): State<Arc<Admin>>, Query(named): Query<Named>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    blocking(move || match control.authority().forget(&named.id, SystemTime::now()) {
        Ok(Forgotten::Done) => {
            tracing::info!(target: "audit", action = "forget an authority", source = "admin port", what = named.id, "tunnel");
            Json(json!({"id": named.id})).into_response()
        }
        Ok(Forgotten::Needed) => refused(StatusCode::CONFLICT, "it issues certificates, or will: only one that was replaced can be forgotten"),
        Ok(Forgotten::Unknown) => {
            refused(StatusCode::NOT_FOUND, "no authority has that SHA-256: `mesh tunnel authority ls` lists them")
        }
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}

fn row(trusted: &Trusted) -> Value {
    json!({
        "sha256": trusted.info.sha256,
        "plane": trusted.plane,
        "standing": trusted.standing,
        "subject": trusted.info.subject,
        "ends": unix(trusted.info.not_after),
    })
}
