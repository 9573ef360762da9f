//! A partner that was just added is asked who it is (PTP section 11.3): success sets status bit 1, failure clears it, and the
//! route is kept either way. Another id than the route's is refused and stays to be read with the route; the name is taken over.

use std::time::Duration;

use mesh_core::{NodeId, config::ApiRoute};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Control,
    asking::{AskError, text},
    route::{MISMATCH, SAID_NAME, bits_of, status},
};
use crate::question::ENVIRON;

/// PTP section 11.3.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// What the partner of a route said.
enum Said {
    /// That it is the one, and its name, which may be empty.
    Itself(String),
    /// That it is somebody else.
    Another(String),
}

impl Control {
    pub(super) async fn greet(&self, mut route: ApiRoute) {
        let node = NodeId::new(&route.config.peer.node_id);
        // Without roots nobody could prove to be the partner.
        let said = match route.config.disabled || route.config.roots.is_empty() {
            true => None,
            false => Some(self.who_is(&node, &route.config.peer.inst_id).await),
        };
        let _turn = self.changing.lock().await;
        // What was changed meanwhile stands, a disabling above all; it has a greeting of its own.
        if !self.known(&node).is_some_and(|now| is_same(&now, &route)) {
            return;
        }
        let mut bits = bits_of(&route.record) & !status::CONNECTED;
        route.record.remove(MISMATCH);
        match said {
            Some(Ok(Said::Itself(name))) => {
                bits |= status::CONNECTED;
                if !name.is_empty() {
                    route.config.peer.display_name.clone_from(&name);
                    route.record.insert(SAID_NAME.into(), name.into());
                }
            }
            Some(Ok(Said::Another(reason))) => {
                tracing::warn!(%node, "the new partner is another: {reason}");
                route.record.insert(MISMATCH.into(), reason.into());
            }
            Some(Err(reason)) => tracing::info!(%node, "the new partner was not reached: {reason}"),
            None => {}
        }
        route.record.insert("status".into(), bits.into());
        // The keeper sees by itself when that is what it has.
        if let Err(e) = self.keeper.put_route(route).await {
            tracing::warn!(%node, "what the new partner said could not be kept: {e}");
        }
    }

    async fn who_is(&self, node: &NodeId, inst: &str) -> Result<Said, AskError> {
        let content = self.ask(node, ENVIRON, &json!({}), Instant::now() + PATIENCE).await?;
        for (member, known) in [("node_id", node.as_str()), ("inst_id", inst)] {
            let said = text(&content, member);
            // Some say nothing of their institution.
            let is_silent = known.is_empty() || (said.is_empty() && member == "inst_id");
            if !is_silent && !said.eq_ignore_ascii_case(known) {
                return Ok(Said::Another(format!("the route's {member} is {known}, and who answers says {said}")));
            }
        }
        Ok(Said::Itself(text(&content, "inst_name")))
    }
}

/// Whether nobody refreshed the route in between: each refresh counts its version up in the record.
fn is_same(now: &ApiRoute, greeted: &ApiRoute) -> bool {
    let (a, b) = (&now.config, &greeted.config);
    now.record == greeted.record && (a.disabled, &a.roots, &a.addresses) == (b.disabled, &b.roots, &b.addresses)
}
