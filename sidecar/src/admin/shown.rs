//! The configuration and the state of the node as the admin port shows them: everything that helps, and no secret. Each
//! member is named here; nothing is shown because it happens to be in a type.

use std::time::SystemTime;

use crds::ClientCertificate;
use mesh_core::{Origin, Route, Snapshot, Standing};
use mesh_network::{Remarks, dial::shown as shown_address};
use serde_json::{Value, json};

use super::{Admin, directory, tunnel};

/// The configuration in force, without keys.
pub(super) fn config(admin: &Admin) -> Value {
    let snapshot = admin.keeper.live().snapshot();
    let routes: Vec<Value> = snapshot.routes().iter().map(|route| route_config(route)).collect();
    json!({
        "config": origin(admin, &snapshot),
        "node": node(&snapshot),
        "transport": snapshot.transport,
        "plaintextFrom": snapshot.transport.plaintext_from,
        "registry": snapshot.registry,
        "backplane": snapshot.backplane,
        "registrations": snapshot.registrations,
        "routes": routes,
    })
}

/// What the node is doing.
pub(super) fn status(admin: &Admin) -> Value {
    let snapshot = admin.keeper.live().snapshot();
    let now = SystemTime::now();
    let (remarks, by_api) = (Remarks::of(&snapshot, admin.rooms.names()), admin.keeper.api_routes());
    let routes: Vec<Value> = snapshot
        .routes()
        .iter()
        .map(|route| {
            let addresses: Vec<String> = route.config.addresses.iter().map(|a| shown_address(&a.address)).collect();
            let known = by_api.get(&route.node_id);
            let warnings: Vec<String> = remarks.on(route).iter().map(ToString::to_string).collect();
            json!({
                "name": route.config.name,
                "nodeId": route.node_id.as_str(),
                "addresses": addresses.join(", "),
                "standing": standing(route, now),
                "reached": admin.rooms.addresses(&route.node_id),
                "proven": route.config.client_certificate == ClientCertificate::Required,
                "warnings": warnings,
                "mismatch": known.and_then(|known| known.record.get("mismatch")),
                "calledUsAt": admin.rooms.last_call(&route.node_id).map(stamp),
                "diagnosis": admin.rooms.last_diagnosis(&route.node_id),
            })
        })
        .collect();
    json!({
        "state": admin.phase.name(),
        "unready": admin.phase.unready(),
        "role": snapshot.role.as_str(),
        "gateway": snapshot.gateway.as_ref().map(|gateway| gateway_state(admin, gateway)),
        "version": env!("CARGO_PKG_VERSION"),
        "node": node(&snapshot),
        "config": origin(admin, &snapshot),
        "queues": admin.rooms.queues(),
        "grid": admin.rooms.grid(),
        "backplane": admin.rooms.backplane(),
        "tunnel": tunnel::levels(admin),
        "directory": directory::levels(admin),
        "directoryReplica": admin.rooms.replica(),
        "instances": admin.rooms.instances(),
        "routes": routes,
    })
}

/// A sidecar's way to its gateway.
fn gateway_state(admin: &Admin, gateway: &Route) -> Value {
    let address = gateway.config.addresses.first().map(|address| address.address.as_str());
    json!({"address": address, "reached": admin.rooms.addresses(&gateway.node_id)})
}

fn node(snapshot: &Snapshot) -> Value {
    let node = &snapshot.node;
    json!({
        "nodeId": node.node_id.as_str(),
        "instId": node.inst_id.as_str(),
        "name": node.name,
        "address": node.address,
        "leafNotAfter": stamp(node.leaf.info.not_after),
        "leafSha256": node.leaf.info.sha256,
        "roots": node.roots.roots().map(|root| json!({"sha256": root.sha256, "notAfter": stamp(root.not_after)})).collect::<Vec<_>>(),
    })
}

fn origin(admin: &Admin, snapshot: &Snapshot) -> Value {
    json!({
        "origin": match &snapshot.origin {
            Origin::Standalone => "standalone".to_owned(),
            Origin::Managed { resource } => format!("MeshNode {resource}"),
        },
        "generation": snapshot.generation,
        "hash": snapshot.hash,
        "problem": admin.keeper.problem(),
    })
}

fn route_config(route: &Route) -> Value {
    let config = &route.config;
    json!({
        "name": config.name,
        "peer": config.peer,
        "addresses": config.addresses.iter().map(|a| json!({"address": shown_address(&a.address), "serverName": a.server_name})).collect::<Vec<_>>(),
        "rootSha256": route.anchors.roots().map(|root| root.sha256.as_str()).collect::<Vec<_>>(),
        "clientCertificate": config.client_certificate,
        "ownPair": route.client_pair.is_some(),
        "expiresAt": config.expires_at,
        "disabled": config.disabled,
        "exports": config.exports,
        "maxQueuedBytes": config.max_queued_bytes,
        "proxy": !config.proxy.is_empty(),
    })
}

fn standing(route: &Route, now: SystemTime) -> &'static str {
    match route.standing(now) {
        Standing::Open => "open",
        Standing::Disabled => "disabled",
        Standing::Expired => "expired",
    }
}

fn stamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|stamp| stamp.to_string()).unwrap_or_default()
}
