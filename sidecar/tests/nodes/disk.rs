//! A full disk under `MESH_HOME`: the change is refused, nothing is lost, and it goes on when there is room.

use std::{fs, io::Write as _, path::PathBuf, process::Command};

use serde_json::json;

use crate::harness::{A, B, Node, free_port};

/// A node whose home is a file system of 3 MiB, in a mount namespace of its own that ends with it.
async fn on_a_small_disk() -> Node {
    Node::run(free_port(), &[], |home, mesh| {
        let script = r#"mount -t tmpfs -o size=3m tmpfs "$1" && shift && exec "$@""#;
        let mut command = Command::new("unshare");
        // With a user namespace it needs no root either.
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(home.join("mesh")).arg(mesh.get_program()).args(mesh.get_args());
        command
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_changes_until_there_is_room() {
    let node = on_a_small_disk().await;
    let root = node.become_node(A).await;
    let seen_from_here = PathBuf::from(format!("/proc/{}/root{}", node.pid(), node.home().display()));
    let filler = seen_from_here.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);

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
