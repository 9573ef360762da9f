//! In a sidecar, which dials its gateway alone: whether a partner answers through it. The rest is the gateway's to diagnose.

use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Limited};
use mesh_core::{Body, Code, Route};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::report::Lines;
use crate::{
    Partners,
    question::{ENVIRON, question},
};

/// As long as a partner has for any question.
const LIMIT: Duration = Duration::from_secs(10);
/// An Environ has two certificates at most.
const LONGEST: usize = 256 * 1024;

impl Partners {
    /// Asks the partner of `route` who it is, through the gateway.
    pub(super) async fn ask_through(&self, gateway: &Arc<Route>, route: &Arc<Route>, lines: &mut Lines) {
        let node = &route.node_id;
        let detail = "this is a sidecar: its gateway dials the partner, and what follows is the way to the gateway";
        lines.ok("sidecar", detail);
        match self.asked_through(gateway, route).await {
            Ok(Code::SUCCESS) => lines.ok("partner", format!("{node} answers through the gateway")),
            Ok(code) => lines.failed("partner", format!("asked through the gateway, {code}"), remedy(route)),
            Err(reason) => lines.failed("partner", reason, remedy(route)),
        }
    }

    async fn asked_through(&self, gateway: &Arc<Route>, route: &Arc<Route>) -> Result<Code, String> {
        let deadline = Instant::now() + LIMIT;
        let request = question(&self.live().load().node.node_id, &route.node_id, ENVIRON, Body::from("{}"))
            .map_err(|e| e.to_string())?;
        let answer = self.send(gateway, request, deadline).await.map_err(|e| e.to_string())?;
        let body = timeout_at(deadline, Limited::new(answer.into_body(), LONGEST).collect()).await;
        let body = body.map_err(|_| "no whole answer in time")?.map_err(|e| e.to_string())?.to_bytes();
        let said: Value = serde_json::from_slice(&body).map_err(|_| "the answer is no JSON")?;
        said["code"].as_str().and_then(Code::parse).ok_or_else(|| "the answer has no code".to_owned())
    }
}

fn remedy(route: &Route) -> String {
    format!("diagnose it where it is dialled, in the gateway's pod: mesh diagnose route {}", route.node_id)
}
