//! What the API was told survives `kill -9` right after the answer.

use serde_json::json;

use crate::{
    exchange::two,
    harness::{A, B, Node},
};

const OK: &str = "E0000000000";

#[tokio::test(flavor = "multi_thread")]
async fn identity_and_routes_survive_kill_9() {
    let (mut a, b) = two().await;
    let before = (a.mpi("mesh.net.environ", &json!({})).await, a.mpi("mesh.net.edges", &json!({})).await);
    a.kill_and_restart().await;
    let after = (a.mpi("mesh.net.environ", &json!({})).await, a.mpi("mesh.net.edges", &json!({})).await);
    assert_eq!(after, before);
    assert_eq!(a.push(Some(B), "t", "still woven").await, OK);
    assert_eq!(b.pop("t").await.as_deref(), Some("still woven"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_of_a_node_that_nobody_named_survives_kill_9() {
    let mut node = Node::start().await;
    let before = node.mpi("mesh.net.environ", &json!({})).await;
    assert_eq!(before["node_id"], "LX0000000000000");
    assert_eq!(before["inst_name"], "互联互通节点");
    node.kill_and_restart().await;
    assert_eq!(node.mpi("mesh.net.environ", &json!({})).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_many_answered_changes_is_there_after_kill_9() {
    let mut node = Node::start().await;
    let root = node.become_node(A).await;
    for i in 0..20 {
        assert_eq!(node.trust(&format!("LX{i}"), node.data, &root).await, OK);
    }
    node.kill_and_restart().await;
    let edges = node.mpi("mesh.net.edges", &json!({})).await;
    assert_eq!(edges.as_array().unwrap().len(), 20);
}
