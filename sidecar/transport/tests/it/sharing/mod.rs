//! Gateways of one node that share their sessions: the laws of the queue at one of them, and what becomes of a session that another
//! one takes over.

#[allow(clippy::duplicate_mod, reason = "they hold at both")]
#[path = "../laws.rs"]
mod laws;
mod moves;
mod world;

use std::sync::Arc;

use mesh_core::{SessionId, Topic};
use mesh_transport::{Key, Reader};
use serde_json::{Value, json};

use self::world::World;
use crate::node::{A, B, C, Node};

/// A gateway of a world of its own, which keeps messages in the logs of their sessions.
async fn node(transport: &Value) -> Node {
    let mut transport = transport.clone();
    transport["store"] = json!("Disk");
    let node = gateway(&World::default(), &transport).await;
    // Those who wait at once are counted in their order: their sessions are open.
    for session in ["s", "a", "", "t", "a.b"] {
        let key = Key { session: SessionId::new(session), topic: Topic::new("t") };
        assert!(node.channels.peek(&key, &Reader::application()).await.unwrap().is_none());
    }
    node
}

/// One more gateway of that world.
async fn gateway(world: &World, transport: &Value) -> Node {
    let node = Node::new(A, &[B, C], transport);
    node.channels.share(Arc::new(world.join())).await;
    node
}
