//! What the tests against real peers stand on: a Kubernetes that they start themselves, images without a Docker engine,
//! and waits that end.
//!
//! `tests/` holds the tests: `house.rs` (no cluster), `api_*.rs` (etcd and a real API server, no root), `node_*.rs` (a
//! real kubelet). The bins are tools of the tests: `cluster` starts and ends a cluster, `image` writes image archives,
//! `bank` is the application in the pods and `pause` holds a pod's namespaces.

pub mod api;
pub mod between;
pub mod callers;
pub mod cluster;
pub mod definitions;
pub mod helm;
pub mod image;
pub mod institution;
pub mod kubectl;
pub mod ledger;
pub mod loss;
pub mod objects;
pub mod operator;
pub mod signer;
pub mod wait;
pub mod webhook;

/// Tells people something. Never fails: whoever listened may be gone, and a cluster has to be taken down all the same.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
