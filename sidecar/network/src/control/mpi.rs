//! The MPIs `mesh.net.*` of this version (PTP section 11.2). No answer carries a private key (decision D6).

use std::sync::Arc;

use mesh_core::{
    Code, NodeId, Refusal, Route,
    config::ApiRoute,
    mpi::{Access, Answer, Call, Table},
};
use serde_json::{Map, Value, json};

use super::{Control, ControlError, document::Document, permit, route::status};

impl Control {
    /// Registers `mesh.net.environ`, `mesh.net.edge`, `mesh.net.edges` and `mesh.net.refresh`.
    pub fn register(self: &Arc<Self>, table: &mut Table) {
        let this = Arc::clone(self);
        // Partners ask it to learn whether they reached the right node, and to get its root.
        table.register("mesh.net.environ", Access::Partner, move |_| {
            let answer = this.environ();
            async { Ok(Some(answer)) }
        });
        let this = Arc::clone(self);
        table.register("mesh.net.edge", Access::Local, move |call| {
            let answer = this.edge(&call);
            async { answer }
        });
        let this = Arc::clone(self);
        table.register("mesh.net.edges", Access::Local, move |_| {
            let answer = this.edges();
            async { Ok(Some(answer)) }
        });
        let this = Arc::clone(self);
        table.register("mesh.net.refresh", Access::Local, move |call| {
            let this = Arc::clone(&this);
            async move { this.refresh_by_mpi(call).await }
        });
    }

    /// Who this node is, without keys.
    fn environ(&self) -> Value {
        let snapshot = self.keeper.live().load();
        json!({
            "version": self.keeper.version(),
            "node_id": snapshot.node.node_id.as_str(),
            "inst_id": snapshot.node.inst_id.as_str(),
            "inst_name": snapshot.node.name,
            "root_crt": snapshot.node.roots_pem,
        })
    }

    fn edge(&self, call: &Call) -> Answer {
        let asked = call.arguments.get("node_id").and_then(Value::as_str);
        let node = NodeId::new(asked.ok_or(ControlError::Missing { member: "node_id" })?);
        let snapshot = self.keeper.live().load();
        let Some(route) = snapshot.route_to(&node) else {
            return Err(Refusal::from(crate::RouteError::UnknownNode { node }));
        };
        let by_api = self.keeper.api_routes();
        Ok(Some(shown(route, &by_api)))
    }

    fn edges(&self) -> Value {
        let by_api = self.keeper.api_routes();
        self.keeper.live().load().routes().iter().map(|route| shown(route, &by_api)).collect()
    }

    async fn refresh_by_mpi(&self, call: Call) -> Answer {
        permit(&call.caller, "mesh.net.refresh")?;
        let Some(Value::Object(route)) = call.arguments.get("route") else {
            return Err(Refusal::of_caller(Code::BAD_REQUEST, "the argument route is missing or no object"));
        };
        self.refresh(&Document(route.clone())).await?;
        Ok(None)
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

fn milliseconds(at: std::time::SystemTime) -> i64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
