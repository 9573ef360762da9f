//! What may be read: who this node is, and its routes as PTP section 11.1 has them.

use std::time::SystemTime;

use mesh_core::{
    NodeId, Refusal, Route,
    config::ApiRoute,
    mpi::{Answer, Call},
};
use serde_json::{Map, Value, json};

use super::{
    super::{Control, pending::Weave, route::status},
    node_id,
    page::{self, Page},
};
use crate::RouteError;

impl Control {
    /// Who this node is, without keys.
    pub(super) fn environ(&self) -> Value {
        let snapshot = self.keeper.live().load();
        json!({
            "version": self.keeper.version(),
            "node_id": snapshot.node.node_id.as_str(),
            "inst_id": snapshot.node.inst_id.as_str(),
            "inst_name": snapshot.node.name,
            "root_crt": snapshot.node.roots_pem,
        })
    }

    pub(super) fn edge(&self, call: &Call) -> Answer {
        let node = node_id(call)?;
        let shown = self
            .edges()
            .into_iter()
            .find(|edge| edge.get("node_id").and_then(Value::as_str).is_some_and(|id| NodeId::new(id) == node));
        shown.map(Some).ok_or_else(|| Refusal::from(RouteError::UnknownNode { node }))
    }

    /// All routes, and what waits to become one.
    pub(crate) fn edges(&self) -> Vec<Value> {
        let by_api = self.keeper.api_routes();
        let snapshot = self.keeper.live().load();
        let waiting = self.pending.all(SystemTime::now());
        let mut all: Vec<Value> = snapshot
            .routes()
            .iter()
            .map(|route| {
                let mut edge = shown(route, &by_api);
                // Somebody asks in the name of a route that trusts nobody yet.
                if waiting.iter().any(|weave| NodeId::new(&weave.node_id) == route.node_id) {
                    let bits = edge["status"].as_i64().unwrap_or(0) | status::APPROVING;
                    edge["status"] = bits.into();
                }
                edge
            })
            .collect();
        let is_known = |weave: &&Weave| snapshot.route_to(&NodeId::new(&weave.node_id)).is_none();
        all.extend(waiting.iter().filter(is_known).map(shown_waiting));
        all
    }

    pub(super) fn index(&self, call: &Call) -> Answer {
        let page = Page::read(call)?;
        Ok(Some(page::of(&page, self.edges())))
    }
}

/// A Route as PTP section 11.1 has it.
fn shown(route: &Route, by_api: &[ApiRoute]) -> Value {
    let known = by_api.iter().find(|known| NodeId::new(&known.config.peer.node_id) == route.node_id);
    let mut shown = known.map_or_else(Map::new, |known| known.record.clone());
    let config = &route.config;
    let addresses: Vec<&str> = config.addresses.iter().map(|address| address.address.as_str()).collect();
    let members: [(&str, Value); 8] = [
        ("node_id", config.peer.node_id.as_str().into()),
        ("inst_id", config.peer.inst_id.as_str().into()),
        ("name", config.peer.display_name.as_str().into()),
        ("inst_name", config.peer.display_name.as_str().into()),
        ("address", addresses.join(",").into()),
        ("guest_root", config.roots.join("\n").into()),
        ("guest_crt", known.and_then(|known| known.client_pair.as_ref()).map_or("", |pair| &pair.chain_pem).into()),
        ("expire_at", route.expires_at.map_or(0, milliseconds).into()),
    ];
    shown.extend(members.map(|(name, value)| (name.to_owned(), value)));
    let bits = shown.get("status").and_then(Value::as_i64).unwrap_or(0) & !status::DISABLED;
    shown.insert("status".into(), (bits | if config.disabled { status::DISABLED } else { 0 }).into());
    Value::Object(shown)
}

/// A weave that waits, as the Route that it may become.
fn shown_waiting(weave: &Weave) -> Value {
    json!({
        "node_id": weave.node_id,
        "inst_id": weave.inst_id,
        "name": weave.name,
        "inst_name": weave.name,
        "address": weave.address,
        "auth_code": weave.auth_code,
        "guest_root": weave.root,
        "guest_crt": weave.certificate,
        "create_at": weave.at,
        "status": status::APPROVING,
        "version": 0,
    })
}

fn milliseconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
