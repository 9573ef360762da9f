//! A partner that was just added is asked who it is (PTP section 11.3): success sets status bit 1, failure clears it, and the
//! route is kept either way. A changed id is refused; the name is taken over.

use std::time::Duration;

use mesh_core::{NodeId, config::ApiRoute};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Control,
    asking::text,
    route::{bits_of, status},
};
use crate::question::ENVIRON;

/// PTP section 11.3.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

impl Control {
    pub(super) async fn greet(&self, node: &NodeId, mut route: ApiRoute) {
        // Without roots nobody could prove to be the partner.
        if route.config.disabled || route.config.roots.is_empty() {
            return;
        }
        let found = self.environ_of(node).await;
        let _turn = self.changing.lock().await;
        // What was changed meanwhile stands, a disabling above all; it has a greeting of its own.
        if !self.known(node).is_some_and(|now| is_same(&now, &route)) {
            return;
        }
        let old = bits_of(&route.record);
        let new = match found {
            Ok(name) => {
                if let Some(name) = name.filter(|_| route.config.peer.display_name.is_empty()) {
                    route.config.peer.display_name = name;
                }
                old | status::CONNECTED
            }
            Err(reason) => {
                tracing::info!(%node, "the new partner was not reached: {reason}");
                old & !status::CONNECTED
            }
        };
        route.record.insert("status".into(), new.into());
        // The keeper sees by itself when that is what it has.
        if let Err(e) = self.keeper.put_route(route).await {
            tracing::warn!(%node, "what the new partner said could not be kept: {e}");
        }
    }

    /// The partner's name, once it said that it is the one.
    async fn environ_of(&self, node: &NodeId) -> Result<Option<String>, String> {
        let asked = self.ask(node, ENVIRON, &json!({}), Instant::now() + PATIENCE).await;
        let content: Value = asked.map_err(|e| e.to_string())?;
        let id = text(&content, "node_id");
        if NodeId::new(&id) != *node {
            return Err(format!("it says that it is {id}"));
        }
        Ok(Some(text(&content, "inst_name")).filter(|name| !name.is_empty()))
    }
}

/// Whether nobody refreshed the route in between: each refresh counts its version up in the record.
fn is_same(now: &ApiRoute, greeted: &ApiRoute) -> bool {
    let (a, b) = (&now.config, &greeted.config);
    now.record == greeted.record && (a.disabled, &a.roots, &a.addresses) == (b.disabled, &b.roots, &b.addresses)
}
