//! What partners are asked for: whether they are reached, which version they are, what they can.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use futures::future::join_all;
use mesh_core::{
    NodeId,
    mpi::{Answer, Call},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::{
        Control, ControlError,
        asking::{AskError, text as bounded},
        greeting::PATIENCE,
    },
    node_ids, object, text,
};
use crate::{RouteError, dial::Address, question::ENVIRON, route::require_open};

/// What this node can, by the names of the standard's sections.
const FEATURES: [&str; 5] = ["transport", "registry", "network", "weave", "kms"];

impl Control {
    /// Whether the partner of a route is reached: over its route where there is one, else whether its address accepts a
    /// connection.
    pub(super) async fn accessible(self: Arc<Self>, call: Call) -> Answer {
        let asked = object(&call, "route")?;
        let node = asked.text("node_id")?.map(NodeId::new);
        let addresses = asked.text("address")?.map(Address::parse_list).transpose()?;
        let snapshot = self.keeper.live().snapshot();
        let known = node.as_ref().and_then(|node| snapshot.route_to(node));
        let reached = match (node, known, addresses) {
            (Some(node), _, _) if node == snapshot.node.node_id => true,
            // The gateway is asked to ask it.
            (Some(node), Some(_), None) if snapshot.gateway.is_some() => self.environ_over_route(&node).await.is_ok(),
            (_, Some(route), None) => self.partners.answers(route, Instant::now() + PATIENCE).await.is_ok(),
            (_, _, Some(addresses)) => self.partners.accepts(&addresses, PATIENCE).await,
            (Some(_), None, None) => false,
            (None, None, None) => return Err(ControlError::Missing { member: "node_id" }.into()),
        };
        Ok(Some(reached.into()))
    }

    /// The version of a node, and what is known of it beside that.
    pub(super) async fn version(self: Arc<Self>, call: Call) -> Answer {
        let own = self.keeper.live().load().node.node_id.clone();
        let node = text(&call, "node_id")?.and_then(NodeId::given).unwrap_or_else(|| own.clone());
        if node == own {
            let infos = BTreeMap::from([("mesh", env!("CARGO_PKG_VERSION")), ("kind", "interconn/1")]);
            return Ok(Some(json!({"version": self.keeper.live().load().node.version, "infos": infos})));
        }
        let environ = self.environ_over_route(&node).await?;
        let infos =
            BTreeMap::from([("node_id", bounded(&environ, "node_id")), ("name", bounded(&environ, "inst_name"))]);
        Ok(Some(json!({"version": bounded(&environ, "version"), "infos": infos})))
    }

    /// Whether all nodes have a feature: a version that they must have at least, or the name of something that they can.
    pub(super) async fn assert(self: Arc<Self>, call: Call) -> Answer {
        let feature = text(&call, "feature")?.ok_or(ControlError::Missing { member: "feature" })?.to_owned();
        let nodes = node_ids(&call)?;
        let asked = join_all(nodes.iter().map(|node| self.has(node, &feature)));
        Ok(Some(asked.await.into_iter().all(|has| has).into()))
    }

    async fn has(&self, node: &NodeId, feature: &str) -> bool {
        let is_own = *node == self.keeper.live().load().node.node_id;
        match numbers(feature) {
            Some(wanted) => {
                let version = if is_own {
                    Some(self.keeper.live().load().node.version.clone())
                } else {
                    self.environ_over_route(node).await.ok().map(|environ| bounded(&environ, "version"))
                };
                version.and_then(|version| numbers(&version)).is_some_and(|version| version >= wanted)
            }
            None if !FEATURES.iter().any(|known| known.eq_ignore_ascii_case(feature)) => false,
            None if is_own => true,
            // Our kind has them all; of others it is not known.
            None => {
                let snapshot = self.keeper.live().snapshot();
                match snapshot.route_to(node) {
                    Some(route) => {
                        matches!(self.partners.answers(route, Instant::now() + PATIENCE).await, Ok(crate::Kind::Ours))
                    }
                    None => false,
                }
            }
        }
    }

    async fn environ_over_route(&self, node: &NodeId) -> Result<Value, AskError> {
        let snapshot = self.keeper.live().snapshot();
        let route = snapshot.route_to(node).ok_or_else(|| RouteError::UnknownNode { node: node.clone() })?;
        require_open(route, SystemTime::now())?;
        self.ask(node, ENVIRON, &json!({}), Instant::now() + PATIENCE).await
    }
}

/// The numbers of a version such as `1.0.2`; `None` for what is none.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let version = version.trim_start_matches(">=").trim().trim_start_matches('v');
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(numbers("1.10.0") > numbers("1.9.9"));
        assert_eq!(numbers(">= v1.0"), Some(vec![1, 0]));
        for text in ["", "weave", "1.x", "1..0"] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }
}
