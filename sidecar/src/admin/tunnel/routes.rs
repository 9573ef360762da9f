//! Networks behind edge nodes: what is announced and approved, and the administrator's word on it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mesh_tunnel::{
    addresses::Network,
    control::Control,
    ledger::ApproveError,
    seam::{PeerId, Standing},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, blocking, named, off, refused};

/// A network behind a node.
#[derive(Debug, Deserialize)]
pub(crate) struct Behind {
    id: String,
    network: Network,
}

/// What is announced, and what is approved.
pub(crate) async fn routes(State(admin): State<Arc<Admin>>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    Json(json!({ "routes": rows(&control) })).into_response()
}

/// A network is approved.
pub(crate) async fn approve(State(admin): State<Arc<Admin>>, Query(behind): Query<Behind>) -> Response {
    decided(&admin, behind, "approve a route", Control::approve_route).await
}

/// An approval is taken back.
pub(crate) async fn revoke(State(admin): State<Arc<Admin>>, Query(behind): Query<Behind>) -> Response {
    decided(&admin, behind, "revoke a route", |control, peer, network| Ok(control.revoke_route(peer, network)?)).await
}

async fn decided(
    admin: &Admin,
    behind: Behind,
    action: &'static str,
    decide: fn(&Control, PeerId, Network) -> Result<bool, ApproveError>,
) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    let Some(peer) = named(&behind.id) else { return refused(StatusCode::NOT_FOUND, ApproveError::Unknown) };
    blocking(move || match decide(&control, peer, behind.network) {
        Ok(changed) => {
            tracing::info!(target: "audit", action, source = "admin port", node = %peer, network = %behind.network, "tunnel");
            Json(json!({"id": behind.id, "network": behind.network, "changed": changed})).into_response()
        }
        Err(e @ ApproveError::Unknown) => refused(StatusCode::NOT_FOUND, e),
        Err(e @ ApproveError::Unwritten(_)) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
        Err(e) => refused(StatusCode::CONFLICT, e),
    })
    .await
}

/// Rows by node and network: what live sessions announced, and what is approved and not announced now.
fn rows(control: &Control) -> Vec<Value> {
    let mut rows: BTreeMap<(PeerId, Network), Value> = BTreeMap::new();
    for node in control.ledger().nodes() {
        for network in node.row.routes {
            let row = json!({"id": node.peer.to_string(), "network": network, "approved": true, "state": "away", "why": "the node does not announce it now"});
            rows.insert((node.peer, network), row);
        }
    }
    for route in control.routes() {
        let approved = rows.contains_key(&(route.peer, route.network));
        let (state, why) = (route.standing.word(), route.standing.to_string());
        let row = json!({"id": route.peer.to_string(), "network": route.network, "approved": approved, "state": state, "why": why});
        rows.insert((route.peer, route.network), row);
    }
    rows.into_values().collect()
}

/// The networks that a node has in force.
pub(super) fn in_force(control: &Control) -> BTreeMap<PeerId, Vec<Network>> {
    let mut nodes: BTreeMap<PeerId, Vec<Network>> = BTreeMap::new();
    for route in control.routes().into_iter().filter(|route| route.standing == Standing::InForce) {
        nodes.entry(route.peer).or_default().push(route.network);
    }
    nodes
}
