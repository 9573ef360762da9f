//! What the admin port answers of the directory: how large it is, and its tokens, shown, issued and revoked. The disk is written where
//! blocking does no harm.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mesh_directory::{
    DirectoryError,
    directory::Directory,
    witness::{Member, Standing},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Admin;
use crate::start::now;

/// Central systems that were not reached and are named: a metric counts them all.
const SHOWN: usize = 20;

/// A token that is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewDirectoryToken {
    /// The central system that it is for.
    pub(crate) csid: String,
    /// Seconds that it holds; absent: until it is revoked.
    #[serde(default)]
    pub(crate) seconds: Option<u64>,
}

/// A central system.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    csid: String,
}

fn off() -> Response {
    let text = "the directory is off: set MESH_DIRECTORY=on, or spec.directory\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

fn refused(error: &DirectoryError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, format!("{error}\n")).into_response()
}

async fn blocking(
    admin: &Admin,
    work: impl FnOnce(&Directory) -> Result<Value, DirectoryError> + Send + 'static,
) -> Response {
    let Some(directory) = admin.rooms.directory() else { return off() };
    match tokio::task::spawn_blocking(move || work(&directory)).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the call was given up\n").into_response(),
    }
}

/// The tokens, without their secrets, which nobody has any more.
pub(super) async fn tokens(State(admin): State<Arc<Admin>>) -> Response {
    let row = |(id, token): (String, mesh_directory::tokens::Token)| json!({"id": id, "csid": token.csid, "issued": token.issued, "until": token.until});
    blocking(&admin, move |directory| {
        Ok(json!({"tokens": directory.tokens().into_iter().map(row).collect::<Vec<_>>()}))
    })
    .await
}

/// A new token.
pub(super) async fn issue(State(admin): State<Arc<Admin>>, Json(ask): Json<NewDirectoryToken>) -> Response {
    blocking(&admin, move |directory| {
        let now = now();
        let until = ask.seconds.map(|seconds| now.saturating_add(seconds.saturating_mul(1000)));
        let secret = directory.issue(&ask.csid, until, now)?;
        tracing::info!(target: "audit", action = "issue", source = "admin port", what = ask.csid, "directory");
        Ok(json!({"csid": ask.csid, "token": secret}))
    })
    .await
}

/// The tokens of a central system are revoked.
pub(super) async fn revoke(State(admin): State<Arc<Admin>>, Query(named): Query<Named>) -> Response {
    blocking(&admin, move |directory| {
        let revoked = directory.revoke(&named.csid)?;
        tracing::info!(target: "audit", action = "revoke", source = "admin port", what = named.csid, "directory");
        Ok(json!({"csid": named.csid, "revoked": revoked}))
    })
    .await
}

/// The directory in a few figures, for `/status`; null where it is off.
pub(super) fn levels(admin: &Admin) -> Value {
    let Some(directory) = admin.rooms.directory() else { return Value::Null };
    let witness = |(member, standing): (&Member, &Standing)| {
        json!({
            "name": member.verifier.name().as_str(),
            "url": member.url,
            "size": standing.size,
            "time": standing.time,
            "problem": standing.problem,
        })
    };
    let witnesses = directory.cosigned().map(|cosigned| {
        let cosigned = cosigned.lock();
        let members: Vec<Value> = cosigned.members().map(witness).collect();
        json!({"quorum": cosigned.quorum(), "covered": cosigned.covered(), "members": members})
    });
    let unreached = directory.health().unreached();
    let unreached = unreached.iter().take(SHOWN).map(|(csid, problem)| json!({"csid": csid, "problem": problem}));
    let [systems, classes, addresses] = directory.view().read(mesh_directory::state::State::counts);
    json!({
        "origin": directory.log_key().name().as_str(),
        "logKey": directory.log_key().to_string(),
        "directoryKey": directory.custodian().to_string(),
        "entries": directory.view().published().size,
        "centralSystems": systems,
        "adapterClasses": classes,
        "dataSystems": addresses,
        "witnessKey": directory.witness_key().to_string(),
        "witnesses": witnesses,
        "unreached": unreached.collect::<Vec<_>>(),
        "checked": directory.is_checked(),
        "damage": directory.damage(),
    })
}
