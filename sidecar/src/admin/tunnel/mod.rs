//! What the admin port answers of the network controller: nodes and tokens, shown, made and taken back. The disk is written where
//! blocking does no harm.

mod authorities;
mod import;
mod policy;
mod routes;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mesh_tunnel::{
    addresses::Network,
    control::Control,
    ledger::{Mint, MintError, NodeView, RevokeError},
    seam::{ConnState, Cut, Figures, PeerId},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use self::{
    authorities::{authorities, forget as forget_authority},
    import::import,
    policy::policy,
    routes::{approve as approve_route, revoke as revoke_route, routes},
};
use super::Admin;

/// A token that is asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NewToken {
    /// Seconds that it is worth something; absent: for ever.
    pub(crate) seconds: Option<u64>,
    /// How many nodes may join with it; absent: any number.
    pub(crate) max_uses: Option<u32>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Seconds of absence after which they are forgotten; absent: never.
    pub(crate) ephemeral: Option<u32>,
    /// 16 digits, for clients that know no other form.
    pub(crate) legacy: bool,
    /// Whether its nodes wait for an administrator.
    pub(crate) approval: bool,
}

/// A token or a node.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    id: String,
    /// Of a node: forget it, and not only end its session.
    #[serde(default)]
    unregister: bool,
}

/// A line of the answer where something is not done.
fn refused(status: StatusCode, text: impl std::fmt::Display) -> Response {
    (status, format!("{text}\n")).into_response()
}

fn off() -> Response {
    let text = "the tunnel is off: set MESH_TUNNEL_ADVERTISE to the IPv4 address that edge nodes dial";
    refused(StatusCode::NOT_FOUND, text)
}

async fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| refused(StatusCode::INTERNAL_SERVER_ERROR, "the call was given up"))
}

/// Seconds since 1970.
fn unix(at: SystemTime) -> i64 {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// A node, by what lists call it.
fn named(id: &str) -> Option<PeerId> {
    id.strip_prefix('n').and_then(|number| number.parse().ok()).map(PeerId)
}

/// The nodes.
pub(super) async fn nodes(State(admin): State<Arc<Admin>>) -> Response {
    admin.rooms.tunnel().map_or_else(off, |control| Json(shown_nodes(&control)).into_response())
}

/// The bootstrap tokens, without their secrets, which nobody has any more.
pub(super) async fn tokens(State(admin): State<Arc<Admin>>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    let rows: Vec<Value> = control
        .ledger()
        .tokens()
        .into_iter()
        .map(|(id, row)| {
            json!({
                "id": id, "created": row.created, "expires": row.expires, "uses": row.uses, "maxUses": row.max_uses,
                "revoked": row.revoked, "labels": row.labels, "approval": row.approval,
            })
        })
        .collect();
    Json(json!({ "tokens": rows })).into_response()
}

/// A new bootstrap token.
pub(super) async fn mint(State(admin): State<Arc<Admin>>, Json(ask): Json<NewToken>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    blocking(move || minted(&control, ask)).await
}

fn minted(control: &Control, ask: NewToken) -> Response {
    let now = SystemTime::now();
    let end = ask.seconds.map(|seconds| now.checked_add(Duration::from_secs(seconds)));
    if ask.seconds == Some(0) || end == Some(None) {
        return refused(StatusCode::BAD_REQUEST, "a token lives for at least a second, and not beyond the calendar");
    }
    let legacy = ask.legacy;
    let (max_uses, labels, ephemeral, approval) = (ask.max_uses, ask.labels, ask.ephemeral, ask.approval);
    let mint = Mint { expires: end.flatten().map(unix), max_uses, labels, ephemeral, legacy, approval };
    match control.ledger().mint(mint, unix(now)) {
        Ok(minted) => {
            tracing::info!(target: "audit", action = "mint", source = "admin port", what = minted.id, "tunnel");
            let setup = control.setup();
            Json(json!({
                "id": minted.id,
                "token": control.whole(&minted.secret, legacy),
                "address": format!("{}:{}", setup.places.advertise, setup.ports.bootstrap),
            }))
            .into_response()
        }
        Err(e @ MintError::Labels) => refused(StatusCode::BAD_REQUEST, e),
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    }
}

/// A bootstrap token is taken back.
pub(super) async fn revoke(State(admin): State<Arc<Admin>>, Query(named): Query<Named>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    blocking(move || match control.ledger().revoke(&named.id) {
        Ok(()) => {
            tracing::info!(target: "audit", action = "revoke", source = "admin port", what = named.id, "tunnel");
            Json(json!({ "id": named.id })).into_response()
        }
        Err(e @ RevokeError::Unknown) => refused(StatusCode::NOT_FOUND, e),
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}

/// A node's session is ended, or the node is forgotten.
pub(super) async fn kick(State(admin): State<Arc<Admin>>, Query(named): Query<Named>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    let unknown = || refused(StatusCode::NOT_FOUND, "no node is called that: `mesh tunnel ls` lists them");
    let Some(peer) = self::named(&named.id).filter(|peer| control.ledger().node(*peer).is_some()) else {
        return unknown();
    };
    let action = if named.unregister { "unregister" } else { "kick" };
    tracing::info!(target: "audit", action, source = "admin port", what = %peer, "tunnel");
    blocking(move || {
        if !named.unregister {
            control.cut(peer, Cut::Kicked);
            return Json(json!({ "id": named.id })).into_response();
        }
        match control.unregister(peer) {
            Ok(_) => Json(json!({ "id": named.id })).into_response(),
            Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
        }
    })
    .await
}

/// A node that waits may open its tunnel.
pub(super) async fn approve(State(admin): State<Arc<Admin>>, Query(named): Query<Named>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    let unknown = || refused(StatusCode::NOT_FOUND, "no node is called that: `mesh tunnel ls` lists them");
    let Some(peer) = self::named(&named.id) else { return unknown() };
    blocking(move || match control.ledger().approve(peer) {
        Ok(Some(changed)) => {
            tracing::info!(target: "audit", action = "approve", source = "admin port", what = %peer, "tunnel");
            Json(json!({"id": named.id, "changed": changed})).into_response()
        }
        Ok(None) => unknown(),
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}

/// Certificates with a key are refused.
pub(super) async fn deny(State(admin): State<Arc<Admin>>, Query(named): Query<Named>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    let key = named.id;
    if key.len() != 64 || !key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return refused(StatusCode::BAD_REQUEST, "a key is named by its SHA-256: 64 hexadecimal digits");
    }
    tracing::info!(target: "audit", action = "deny", source = "admin port", what = key, "tunnel");
    blocking(move || match control.deny(&key) {
        Ok(node) => Json(json!({"id": key, "node": node.map(|peer| peer.to_string())})).into_response(),
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, e),
    })
    .await
}

/// Peers that `/status` names; `/tunnel` has them all.
const SHOWN: usize = 20;

/// The network controller in a few figures, and the first of its live sessions, for `/status`; null where it is off.
pub(super) fn levels(admin: &Admin) -> Value {
    let Some(control) = admin.rooms.tunnel() else { return Value::Null };
    let nodes = control.ledger().nodes();
    let peers: Vec<Value> = control.figures().iter().take(SHOWN).map(|live| peer(&control, live)).collect();
    json!({
        "advertise": control.setup().places.advertise,
        "subnet": control.setup().places.subnet.to_string(),
        "nodes": nodes.len(),
        "connected": nodes.iter().filter(|node| node.state == ConnState::Connected).count(),
        "addressesTaken": control.ledger().addresses_taken(),
        "peers": peers,
    })
}

fn peer(control: &Control, live: &Figures) -> Value {
    json!({
        "id": live.peer.to_string(),
        "address": control.ledger().node(live.peer).and_then(|node| node.row.address),
        "from": live.from.to_string(),
        "roundTripMillis": live.round_trip.map(|time| time.as_secs_f64() * 1000.0),
        "dropped": live.dropped,
    })
}

fn shown_nodes(control: &Control) -> Value {
    let live: HashMap<PeerId, Figures> = control.figures().into_iter().map(|row| (row.peer, row)).collect();
    let networks = routes::in_force(control);
    let of = |node: &NodeView| shown(node, live.get(&node.peer), networks.get(&node.peer).map_or(&[], Vec::as_slice));
    let rows: Vec<Value> = control.ledger().nodes().iter().map(of).collect();
    json!({"subnet": control.setup().places.subnet.to_string(), "nodes": rows})
}

fn shown(node: &NodeView, live: Option<&Figures>, networks: &[Network]) -> Value {
    json!({
        "id": node.peer.to_string(),
        "state": node.state.wire(),
        "address": node.row.address,
        "created": node.row.created,
        "seen": if node.state == ConnState::Idle { node.seen } else { Some(unix(SystemTime::now())) },
        "certificateEnds": node.certificate_ends,
        "joinedWith": node.row.joined_with,
        "labels": node.row.labels,
        "waits": node.row.waits,
        "networks": networks,
        "from": live.map(|live| live.from.to_string()),
        "packetsIn": live.map(|live| live.packets_in),
        "packetsOut": live.map(|live| live.packets_out),
        "bytesIn": live.map(|live| live.bytes_in),
        "bytesOut": live.map(|live| live.bytes_out),
        "dropped": live.map(|live| live.dropped),
    })
}
