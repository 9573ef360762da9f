//! Weaves that wait at the gateway, for a sidecar whose application answers one: strangers dial the gateway, and applications call
//! their sidecar. What is told is what people compare, never the pair that the stranger gave.

use std::time::{Duration, SystemTime};

use futures::future::join_all;
use mesh_core::{
    NodeId,
    mpi::{Answer, Call},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Control, mpi::node_id, pending::Weave};
use crate::RouteError;

/// The MPI by which a sidecar asks its gateway.
pub(super) const WAITING: &str = "interconn.net.waiting";
/// The same backwards, as a urn has it.
const WAITING_URN: &str = "waiting.net.interconn";
/// The gateway looks into its memory.
const PATIENCE: Duration = Duration::from_secs(3);

impl Control {
    /// What waits here in the name of a node; without one, the names alone, since 256 roots fit no answer.
    pub(super) fn waiting(&self, call: &Call) -> Answer {
        let now = SystemTime::now();
        if !call.arguments.contains_key("node_id") {
            let names = self.pending.all(now).into_iter().map(|weave| Value::from(weave.node_id));
            return Ok(Some(names.collect()));
        }
        let node = node_id(call)?;
        match self.pending.of(&node, now) {
            Some(weave) => Ok(Some(json!(without_pair(weave)))),
            None => Err(RouteError::UnknownNode { node }.into()),
        }
    }

    /// The weave of a node that waits here or, for a sidecar, at the gateway.
    pub(super) async fn waiting_for(&self, node: &NodeId, now: SystemTime) -> Option<Weave> {
        if let Some(weave) = self.pending.of(node, now) {
            return Some(weave);
        }
        let gateway = self.keeper.live().load().gateway.as_ref()?.node_id.clone();
        let (which, deadline) = (json!({"node_id": node.as_str()}), Instant::now() + PATIENCE);
        let told = self.ask(&gateway, WAITING_URN, &which, deadline).await.ok()?;
        serde_json::from_value(told).ok()
    }

    /// All that wait here or, for a sidecar, at the gateway.
    pub(super) async fn all_waiting(&self, now: SystemTime) -> Vec<Weave> {
        let mut all = self.pending.all(now);
        let Some(gateway) = self.keeper.live().load().gateway.as_ref().map(|gateway| gateway.node_id.clone()) else {
            return all;
        };
        let names = self.ask(&gateway, WAITING_URN, &json!({}), Instant::now() + PATIENCE).await.unwrap_or_default();
        let named = names.as_array().into_iter().flatten().filter_map(Value::as_str).map(NodeId::new);
        let there: Vec<NodeId> = named.collect();
        all.extend(join_all(there.iter().map(|node| self.waiting_for(node, now))).await.into_iter().flatten());
        all
    }
}

fn without_pair(weave: Weave) -> Weave {
    Weave { certificate: String::new(), key: String::new(), ..weave }
}
