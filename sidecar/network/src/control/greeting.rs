//! A partner that was just added is asked who it is (PTP section 11.3): success sets status bit 1, failure clears it, and the
//! route is kept either way. A changed id is refused; the name is taken over.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use mesh_core::{Body, NodeId, config::ApiRoute};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{Control, route::status};

/// PTP section 11.3.
const PATIENCE: Duration = Duration::from_secs(3);
/// An Environ has two certificates at most.
const LONGEST_ANSWER: usize = 256 * 1024;
/// Version 00, proto 01, codec 00, and nothing else said (PTP section 8.1).
const FLAG: &str = "0001000000000000000000000000000000000";

impl Control {
    pub(super) async fn greet(&self, node: &NodeId, mut route: ApiRoute) {
        // Without roots nobody could prove to be the partner.
        if route.config.disabled || route.config.roots.is_empty() {
            return;
        }
        let found = self.environ_of(node).await;
        // What was changed meanwhile stands, a disabling above all; it has a greeting of its own.
        if !self.known(node).is_some_and(|now| is_same(&now, &route)) {
            return;
        }
        let old = route.record.get("status").and_then(Value::as_i64).unwrap_or(0);
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
        let snapshot = self.keeper.live().snapshot();
        let route = snapshot.route_to(node).ok_or("its route is gone")?;
        let deadline = Instant::now() + PATIENCE;
        let answer = self.partners.send(route, question(node)?, deadline).await.map_err(|e| e.to_string())?;
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER);
        let body = timeout_at(deadline, body.collect()).await.map_err(|_| "its answer did not end in time")?;
        let body = body.map_err(|e| e.to_string())?.to_bytes();
        let said: Value = serde_json::from_slice(&body).map_err(|_| "its answer is no JSON")?;
        let content = said.get("content").ok_or_else(|| format!("it answered {}", text(&said, "code")))?;
        let id = text(content, "node_id");
        if NodeId::new(&id) != *node {
            return Err(format!("it says that it is {id}"));
        }
        Ok(Some(text(content, "inst_name")).filter(|name| !name.is_empty()))
    }
}

/// Whether nobody refreshed the route in between: each refresh counts its version up in the record.
fn is_same(now: &ApiRoute, greeted: &ApiRoute) -> bool {
    let (a, b) = (&now.config, &greeted.config);
    now.record == greeted.record && (a.disabled, &a.roots, &a.addresses) == (b.disabled, &b.roots, &b.addresses)
}

fn question(node: &NodeId) -> Result<Request<Body>, String> {
    Request::builder()
        .method(Method::POST)
        .uri("/mesh/invoke")
        .header("content-type", "application/json")
        .header("mesh-urn", format!("environ.net.mesh.{FLAG}.{}.trustbe.cn", node.folded()))
        .header("x-ptp-target-node-id", node.as_str())
        .body(Body::from("{}"))
        .map_err(|e| e.to_string())
}

/// What a partner says is bounded and clean before it is logged or kept.
fn text(value: &Value, member: &str) -> String {
    let text = value.get(member).and_then(Value::as_str).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}
