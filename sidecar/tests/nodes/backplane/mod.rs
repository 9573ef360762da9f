//! Several gateways of one node over a real NATS (Grid section 7): `NATS_SERVER` names the server's program, or `PATH` has it.
//!
//! ```text
//! copies.rs    messages in ack mode, when the gateway is lost that they came to
//! faults.rs    sessions of port 7304 while servers, links or owners go, or what was allowed is taken back
//! grid.rs      what the grid of one reaches at the others, whoever dies
//! members.rs   sidecars that reach all of them under one address
//! servers.rs   servers that are upgraded or slow, and clocks that differ
//! services.rs  services that are registered at one, and called at another
//! sessions.rs  sessions of port 7304, whichever gateway is asked, and whoever dies
//! kept.rs      copies of messages in ack mode, when their stream is purged or full
//! starts.rs    gateways whose servers are away when they start, or whose number is another's
//! ```

#![allow(clippy::disallowed_methods, reason = "tests dial servers of their own, and may block")]

mod copies;
#[path = "../../../backplane/tests/fabric/cut.rs"]
mod cut;
mod faults;
mod grid;
mod kept;
mod members;
#[allow(dead_code, reason = "several servers are what the fabric's own tests are about")]
#[path = "../../../backplane/tests/fabric/server.rs"]
pub(crate) mod server;
mod servers;
mod services;
mod sessions;
mod starts;

use std::time::Duration;

use serde_json::{Value, json};

use self::server::Server;
use crate::{
    grid::Stage,
    harness::{A, configure_as, until},
};

/// What happens soon, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The file of each gateway.
pub(crate) fn file(server: &Server) -> Value {
    json!({
        "nodeId": A, "instId": "JG0100002800000000", "grid": {},
        "backplane": {"nats": {"url": server.url()}},
    })
}

/// A gateway that has joined.
async fn gateway(server: &Server) -> Stage {
    Stage::with(&file(server), &[]).await
}

/// The same gateway again, once it has ended.
async fn again(stage: &mut Stage, server: &Server) {
    configure_as(stage.node.home().parent().unwrap(), &file(server).to_string());
    stage.node.start_again().await;
}

/// Waits until a gateway sees so many others.
pub(crate) async fn sees(stage: &Stage, others: usize) {
    until("the others to be seen", PATIENCE, async || stage.metric("other_nodes").await == others as f64).await;
}
