//! The laws of the queue at a node that has its sessions for itself.

#[allow(clippy::duplicate_mod, reason = "they hold at both")]
#[path = "laws.rs"]
mod laws;

use crate::node::{A, B, C, Node};

async fn node(transport: &serde_json::Value) -> Node {
    Node::new(A, &[B, C], transport)
}
