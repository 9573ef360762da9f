//! The orderly end of the port: newcomers are told to come again, and legacy nodes, which exit on any close, are the last.

use std::time::Duration;

use mesh_core::Drained;
use mesh_websocket::{Close, CloseCode};
use tokio::time::sleep;

use crate::hub::Hub;

/// How long legacy nodes are served while the rest of the program ends: calls that go through the tunnel end meanwhile.
const LEGACY: Duration = Duration::from_secs(3);
/// How often it is looked whether all have gone.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until the end is asked for, and until all nodes have gone.
pub(super) async fn run(hub: &Hub, drained: &Drained) {
    drained.asked().await;
    // They come again by themselves, to whoever is there then.
    hub.end_batching(&Close::new(CloseCode::RESTART, "this server ends: come again"));
    if hub.count() > 0 {
        sleep(LEGACY).await;
    }
    while hub.count() > 0 {
        hub.end_all(&Close::new(CloseCode::GOING_AWAY, "this server ends"));
        sleep(LOOK).await;
    }
}
