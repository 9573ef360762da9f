//! The authorities whose certificates the network controller takes, and the administrator's word on those that were replaced.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mesh_tunnel::authority::{Clock, Forgotten, Trusted};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, blocking, off, refused, unix};

/// Those whose clients are let in.
pub(crate) async fn authorities(State(admin): State<Arc<Admin>>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    blocking(move || match control.authority().trusted(SystemTime::now()) {
        Ok(all) => Json(json!({ "authorities": all.iter().map(row).collect::<Vec<_>>() })).into_response(),
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}

/// Which one is to be forgotten.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Forget {
    /// The SHA-256 of its certificate in hex.
    id: String,
    /// Whether whoever asks says that this machine's clock is right.
    #[serde(default)]
    clock_is_right: bool,
}

/// One that was replaced is not trusted any more.
pub(crate) async fn forget(State(admin): State<Arc<Admin>>, Query(asked): Query<Forget>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    let clock = if asked.clock_is_right { Clock::Right } else { Clock::Unsure };
    blocking(move || match control.forget_authority(&asked.id, clock) {
        Ok((Forgotten::Done, cut)) => {
            let sessions = cut.len();
            tracing::info!(target: "audit", action = "forget an authority", source = "admin port", what = asked.id, sessions, "tunnel");
            let cut: Vec<String> = cut.iter().map(ToString::to_string).collect();
            Json(json!({"id": asked.id, "cut": cut})).into_response()
        }
        Ok((Forgotten::Needed, _)) => {
            refused(StatusCode::CONFLICT, "it issues certificates, or will: only one that was replaced can be forgotten")
        }
        Ok((Forgotten::ByTime, _)) => refused(StatusCode::CONFLICT, by_time(SystemTime::now())),
        Ok((Forgotten::Unknown, _)) => {
            refused(StatusCode::NOT_FOUND, "no authority has that SHA-256: `mesh tunnel authority ls` lists them")
        }
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}

/// Why one that would come back with the clock is not forgotten.
fn by_time(now: SystemTime) -> String {
    let now =
        jiff::Timestamp::try_from(now).map(|now| now.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default();
    format!(
        "its time was over by this machine's clock, which says {now}; if that is wrong it is the one that nodes trust, and takes its \
         place again once the clock is right. If the clock is right, say --clock-is-right"
    )
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
