//! Three nodes: a call that their routes would lead in a circle ends at once, and nobody reaches a third party through a
//! partner (PTP sections 8.4 and 11.5, design section 4).

use std::time::Duration;

use serde_json::json;

use super::OK;
use crate::harness::{A, B, Node};

const C: &str = "LX0000010000260";
/// Nobody is it; each node believes that the next one is.
const NOBODY: &str = "LX0000010000999";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_would_go_round_in_circles_ends_at_the_second_node() {
    // The name in a certificate would end it before.
    let careless = [("PLUGIN_PROXY_INSECURE_SKIP", "true")];
    let nodes = [Node::with(&careless).await, Node::with(&careless).await, Node::with(&careless).await];
    let mut roots = Vec::new();
    for (node, id) in nodes.iter().zip([A, B, C]) {
        roots.push(node.become_node(id).await);
    }
    for (n, node) in nodes.iter().enumerate() {
        for (other, id) in [A, B, C].into_iter().enumerate().filter(|(other, _)| *other != n) {
            assert_eq!(node.trust(id, nodes[other].data, &roots[other]).await, OK);
        }
        let next = (n + 1) % 3;
        // A route to nobody at the next node's address, with its root: one root serves two partners, which their leaves tell
        // apart.
        assert_eq!(node.trust(NOBODY, nodes[next].data, &roots[next]).await, OK);
    }
    let headers = [("x-ptp-session-id", "s"), ("x-ptp-target-node-id", NOBODY), ("x-ptp-timeout", "5000")];
    let ask = async |node: &Node, path: &str, body| {
        tokio::time::timeout(Duration::from_secs(60), node.post(path, &headers, &body)).await.expect("it ends")
    };
    let urn = format!("environ.net.mesh.0001{}.{}.trustbe.cn", "0".repeat(33), NOBODY.to_lowercase());
    for node in &nodes {
        let pushed = ask(node, "/v1/interconn/chan/push", json!({"topic": "t", "payload": ""})).await;
        assert_eq!(pushed.code(), "E0000000614", "{}", pushed.text());
        let popped = ask(node, "/v1/interconn/chan/pop", json!({"topic": "t", "timeout": 2000})).await;
        assert_eq!(popped.code(), "E0000000614", "{}", popped.text());
        let asked = node.post("/mesh/invoke", &[("mesh-urn", &urn)], &json!({})).await;
        assert_eq!(asked.code(), "E0000000614", "{}", asked.text());
        let registered = ask(node, "/anything", json!({})).await;
        assert_eq!((registered.status.as_u16(), registered.code().as_str()), (403, "E0000000614"));
    }
    for (n, (node, id)) in nodes.iter().zip([A, B, C]).enumerate() {
        assert_eq!(nodes[(n + 1) % 3].push(Some(id), "t", "x").await, OK, "the ordinary routes work beside it");
        assert_eq!(node.pop("t").await.as_deref(), Some("x"));
    }
}
