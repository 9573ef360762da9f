//! A full disk under `MESH_HOME`: the change is refused, nothing is lost, and it goes on when there is room.

use std::fs;

use serde_json::json;

use crate::harness::{A, B, Node, fill_disk, on_a_small_disk, post};

const OK: &str = "E0000000000";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_changes_until_there_is_room() {
    let node = on_a_small_disk("3m", "transport: {}\n").await;
    let root = node.become_node(A).await;
    let filler = fill_disk(&node);

    let mut refused = None;
    // The store has pages in reserve; a few changes may still fit.
    for i in 0..200 {
        let code = node.trust(&format!("LX{i}"), node.data, &root).await;
        if code != "E0000000000" {
            refused = Some((i, code));
            break;
        }
    }
    let (kept, code) = refused.expect("the disk is full");
    assert_eq!(code, "E0000000500");
    assert_eq!(node.push(None, "t", "memory needs no disk").await, "E0000000000");
    let edges = node.mpi("mesh.net.edges", &json!({})).await;
    assert_eq!(edges.as_array().unwrap().len(), kept, "what was refused is not in force");

    fs::remove_file(&filler).unwrap();
    assert_eq!(node.trust(B, node.data, &root).await, "E0000000000");
}

/// Pushes until one finds no room; how many went in before.
async fn push_until_full(node: &Node, payload: &str) -> (usize, String) {
    for i in 0..1000 {
        let body = json!({"topic": "t", "payload": payload}).to_string();
        // A disk that others write to takes its time, too.
        let headers = [("x-ptp-session-id", "s"), ("x-ptp-timeout", "10000")];
        let code = node.send(post("/v1/interconn/chan/push", &headers, body)).await.code();
        if code != OK {
            return (i, code);
        }
    }
    panic!("1000 messages on a disk of 110 MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_pushes_wait_and_what_is_acknowledged_stays() {
    // Three segments and the rest of the node's state.
    let node = on_a_small_disk("110m", "transport: {store: Disk}\n").await;
    let payload = "A".repeat(1 << 20);
    let (kept, code) = push_until_full(&node, &payload).await;
    assert_eq!(code, "E0000000700", "after {kept}");
    assert!(kept > 20, "{kept}");
    // Reading needs no room, and makes some.
    let mut read = 0;
    let body = || json!({"topic": "t", "timeout": 500}).to_string();
    for _ in 0..kept {
        let answer = node.send(post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], body())).await;
        read += usize::from(answer.json()["payload"].as_str().is_some_and(|got| got.len() == payload.len()));
    }
    assert_eq!(read, kept, "all that was acknowledged is there");
    // Commits follow within seconds; the pushes that come then go in again.
    let (again, code) = push_until_full(&node, &payload).await;
    assert_eq!((again, code.as_str()), (kept, "E0000000700"), "it goes on as before");
}
