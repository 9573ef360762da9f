//! What may be read: who this node is, and its routes as PTP section 11.1 has them.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use crds::snapshot::RouteConfig;
use mesh_core::{
    NodeId, Route,
    config::{ApiRoute, ApiRoutes},
    mpi::{Answer, Call},
};
use serde_json::{Map, Value, json};

use super::{
    super::{
        Control,
        pending::Weave,
        route::{SAID_NAME, known_bits, status},
    },
    node_id,
    page::{self, Page},
};
use crate::{
    AddressState, Remarks, RouteError,
    dial::{shown as shown_address, shown_url},
};

/// A server shows its leaf before it knows who calls.
const NOT_SHOWN: &str =
    "host_crt: it is kept to be read back, and this node shows its own leaf -> give the partner this node's root";

impl Control {
    /// Who this node is, without keys.
    pub(super) fn environ(&self) -> Value {
        let snapshot = self.keeper.live().load();
        let mut environ = json!({
            "version": snapshot.node.version,
            "node_id": snapshot.node.node_id.as_str(),
            "inst_id": snapshot.node.inst_id.as_str(),
            "inst_name": snapshot.node.name,
            "root_crt": snapshot.node.roots_pem,
        });
        // A sidecar has the pair of a member, which is nobody else's business.
        if snapshot.gateway.is_none() {
            let chain = &snapshot.node.leaf.chain;
            let leaf = chain.first().map(|leaf| mesh_pki::encode_certificate(leaf)).unwrap_or_default();
            environ["node_crt"] = leaf.into();
        }
        environ
    }

    pub(super) async fn edge(self: Arc<Self>, call: Call) -> Answer {
        let node = node_id(&call)?;
        let waiting = self.waiting_for(&node, SystemTime::now()).await;
        let snapshot = self.keeper.live().load();
        match (snapshot.route_to(&node), waiting) {
            (Some(route), waiting) => {
                let remarks = Remarks::of(&snapshot, self.partners.names());
                Ok(Some(self.shown(route, &remarks, &self.keeper.api_routes(), waiting.as_ref())))
            }
            (None, Some(weave)) => Ok(Some(shown_waiting(&weave))),
            (None, None) => Err(RouteError::UnknownNode { node }.into()),
        }
    }

    /// All routes, and what waits to become one.
    pub(super) async fn edges(&self) -> Vec<Value> {
        let waiting = self.all_waiting(SystemTime::now()).await;
        let (api_routes, snapshot) = (self.keeper.api_routes(), self.keeper.live().load());
        let asked: HashMap<NodeId, &Weave> = waiting.iter().map(|weave| (NodeId::new(&weave.node_id), weave)).collect();
        let remarks = Remarks::of(&snapshot, self.partners.names());
        let edge = |route: &Arc<Route>| self.shown(route, &remarks, &api_routes, asked.get(&route.node_id).copied());
        let mut all: Vec<Value> = snapshot.routes().iter().map(edge).collect();
        let is_new = |weave: &&Weave| snapshot.route_to(&NodeId::new(&weave.node_id)).is_none();
        all.extend(waiting.iter().filter(is_new).map(shown_waiting));
        all
    }

    /// A Route as PTP section 11.1 has it; bits that no call of the API set are what is found out.
    fn shown(&self, route: &Route, remarks: &Remarks<'_>, by_api: &ApiRoutes, waiting: Option<&Weave>) -> Value {
        let known = by_api.get(&route.node_id);
        let found = if known.is_some() { 0 } else { bits_of_resource(&self.partners.addresses(&route.node_id)) };
        shown(route, remarks, known, found, waiting)
    }

    pub(super) async fn index(self: Arc<Self>, call: Call) -> Answer {
        let page = Page::read(&call)?;
        Ok(Some(page::of(&page, self.edges().await)))
    }
}

/// A route in a resource or a file is our consent, and its partner is connected while one of its addresses answers and lets us in.
fn bits_of_resource(addresses: &[AddressState]) -> i64 {
    let lets_in = |state: &AddressState| state.answered && state.error.is_none() && state.refused.is_none();
    status::WOVEN | if addresses.iter().any(lets_in) { status::CONNECTED } else { 0 }
}

/// A Route as PTP section 11.1 has it, with what the API knows beyond that. What is shown may be refreshed as it is.
///
/// `known` is what the API set of it; `found` are bits beside those in it; `waiting` is who asks to be woven in its name, whom nobody trusts yet.
fn shown(route: &Route, remarks: &Remarks<'_>, known: Option<&ApiRoute>, found: i64, waiting: Option<&Weave>) -> Value {
    let mut shown = known.map_or_else(Map::new, |known| known.record.clone());
    let said_name = shown.remove(SAID_NAME);
    let config = &route.config;
    let bits = known_bits(config, &shown) | found;
    let name = || Value::from(config.peer.display_name.as_str());
    let inst_name = said_name.or_else(|| shown.remove("inst_name")).unwrap_or_else(name);
    let members: [(&str, Value); 8] = [
        ("node_id", config.peer.node_id.as_str().into()),
        ("inst_id", config.peer.inst_id.as_str().into()),
        ("inst_name", inst_name),
        ("address", commas(config.addresses.iter().map(|given| shown_address(&given.address)))),
        ("proxy", shown_url(&config.proxy).into()),
        ("guest_crt", known.and_then(|known| known.client_pair.as_ref()).map_or("", |pair| &pair.chain_pem).into()),
        ("expire_at", route.expires_at.map_or(0, milliseconds).into()),
        ("status", (bits | waiting.map_or(0, |_| status::APPROVING)).into()),
    ];
    shown.extend(members.map(|(name, value)| (name.to_owned(), value)));
    shown.extend(rights(config).map(|(name, value)| (name.to_owned(), value)));
    // What no document said, but a file, a resource, or the partner itself.
    let has_roots = shown.contains_key("guest_root") || shown.contains_key("host_root");
    let otherwise = [
        ("name", name()),
        ("static_ip", commas(config.static_ips.iter().map(ToString::to_string))),
        ("guest_root", if has_roots { "".into() } else { config.roots.join("\n").into() }),
        ("host_root", "".into()),
        ("host_crt", "".into()),
    ];
    for (name, value) in otherwise {
        shown.entry(name).or_insert(value);
    }
    let mut warnings: Vec<String> = remarks.on(route).iter().map(ToString::to_string).collect();
    if shown.get("host_crt").and_then(Value::as_str).is_some_and(|given| !given.is_empty()) {
        warnings.push(NOT_SHOWN.to_owned());
    }
    if !warnings.is_empty() {
        shown.insert("warnings".into(), warnings.into());
    }
    if let Some(weave) = waiting {
        shown.insert("asked".into(), asked(weave));
    }
    Value::Object(shown)
}

/// Who asks, and what an ack would trust: to be compared with what the party says by another way.
fn asked(weave: &Weave) -> Value {
    json!({
        "inst_id": weave.inst_id,
        "name": weave.name,
        "address": weave.address,
        "auth_code": weave.auth_code,
        "host_root": weave.root,
        "sha256": weave.fingerprints(),
        "at": weave.at,
    })
}

/// What only MeshRoute says otherwise (`route/rights.rs`).
fn rights(config: &RouteConfig) -> [(&'static str, Value); 4] {
    let same = config.addresses.first().map(|first| first.server_name.as_str());
    let same = same.filter(|name| config.addresses.iter().all(|address| address.server_name == *name));
    [
        ("exports", json!(config.exports)),
        ("client_certificate", json!(config.client_certificate)),
        ("max_queued_bytes", json!(config.max_queued_bytes)),
        ("server_name", same.unwrap_or_default().into()),
    ]
}

fn commas(all: impl Iterator<Item = String>) -> Value {
    all.collect::<Vec<_>>().join(",").into()
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
        "asked": asked(weave),
    })
}

fn milliseconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
