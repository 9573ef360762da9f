//! Weaves that wait at the gateway, for a sidecar whose application answers one: strangers dial the gateway, and applications call
//! their sidecar. What is told is what people compare, never the pair that the stranger gave.

use std::time::{Duration, SystemTime};

use mesh_core::{
    NodeId,
    mpi::{Answer, Call},
};
use serde_json::json;
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
    /// What waits here in the name of a node.
    pub(super) fn waiting(&self, call: &Call) -> Answer {
        let node = node_id(call)?;
        match self.pending.of(&node, SystemTime::now()) {
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
}

fn without_pair(weave: Weave) -> Weave {
    Weave { certificate: String::new(), key: String::new(), ..weave }
}
