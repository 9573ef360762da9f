//! What may be read: who this node is, and its routes as PTP section 11.1 has them.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use mesh_core::{
    NodeId, Route,
    config::ApiRoute,
    mpi::{Answer, Call},
};
use serde_json::{Map, Value, json};

use super::{
    super::{
        Control,
        pending::Weave,
        route::{bits_of, status},
    },
    node_id,
    page::{self, Page},
};
use crate::RouteError;

impl Control {
    /// Who this node is, without keys.
    pub(super) fn environ(&self) -> Value {
        let snapshot = self.keeper.live().load();
        json!({
            "version": snapshot.node.version,
            "node_id": snapshot.node.node_id.as_str(),
            "inst_id": snapshot.node.inst_id.as_str(),
            "inst_name": snapshot.node.name,
            "root_crt": snapshot.node.roots_pem,
        })
    }

    pub(super) fn edge(&self, call: &Call) -> Answer {
        let node = node_id(call)?;
        let snapshot = self.keeper.live().load();
        let waiting = self.pending.of(&node, SystemTime::now());
        match (snapshot.route_to(&node), waiting) {
            (Some(route), waiting) => {
                let api_routes = self.keeper.api_routes();
                Ok(Some(shown(route, api_routes.get(&node), waiting.is_some())))
            }
            (None, Some(weave)) => Ok(Some(shown_waiting(&weave))),
            (None, None) => Err(RouteError::UnknownNode { node }.into()),
        }
    }

    /// All routes, and what waits to become one.
    pub(crate) fn edges(&self) -> Vec<Value> {
        let (api_routes, snapshot) = (self.keeper.api_routes(), self.keeper.live().load());
        let waiting = self.pending.all(SystemTime::now());
        let asked: HashSet<NodeId> = waiting.iter().map(|weave| NodeId::new(&weave.node_id)).collect();
        let edge = |route: &Arc<Route>| {
            let node = &route.node_id;
            shown(route, api_routes.get(node), asked.contains(node))
        };
        let mut all: Vec<Value> = snapshot.routes().iter().map(edge).collect();
        let is_new = |weave: &&Weave| snapshot.route_to(&NodeId::new(&weave.node_id)).is_none();
        all.extend(waiting.iter().filter(is_new).map(shown_waiting));
        all
    }

    pub(super) fn index(&self, call: &Call) -> Answer {
        let page = Page::read(call)?;
        Ok(Some(page::of(&page, self.edges())))
    }
}

/// A Route as PTP section 11.1 has it.
///
/// `known` is what the API set of it; `is_asked` says that somebody asks to be woven in its name, which trusts nobody yet.
fn shown(route: &Route, known: Option<&ApiRoute>, is_asked: bool) -> Value {
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
    let bits = bits_of(&shown) & !status::DISABLED;
    let set = |bit: i64, is_set: bool| if is_set { bit } else { 0 };
    let bits = bits | set(status::DISABLED, config.disabled) | set(status::APPROVING, is_asked);
    shown.insert("status".into(), bits.into());
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
