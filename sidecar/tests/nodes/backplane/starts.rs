//! Gateways whose servers are away when they start, or whose number is another's.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use serde_json::json;

use super::{PATIENCE, again, file, gateway, server::Server};
use crate::harness::{A, Node, free_port, lacking, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_servers_are_away_waits_for_them_and_says_so() {
    let mut server = Server::start("").unwrap();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mesh.yaml");
    fs::write(&config, file(&server).to_string()).unwrap();
    let begun = || {
        Node::begun(free_port(), &[], |_, mut mesh| {
            mesh.arg("--config").arg(&config);
            mesh
        })
    };
    let waits = async |node: &Node| {
        until("the gateway to say what it waits for", PATIENCE, async || {
            // The port is not there at first.
            if TcpStream::connect(node.admin).is_err() {
                return false;
            }
            let ready = node.admin("/readyz").await;
            ready.status == 503 && ready.text().starts_with("starting: waits for the backplane: NATS: ")
        })
        .await;
        assert_eq!(node.admin("/livez").await.status, 200, "nobody kills it for that");
        assert_eq!(node.admin("/status").await.status, 503);
    };
    let mut asked_to_end = begun();
    waits(&asked_to_end).await;
    asked_to_end.signal("TERM");
    assert!(asked_to_end.ended(PATIENCE).await.success());

    let mut node = begun();
    waits(&node).await;
    server.start_again().unwrap();
    node.ready().await;
    let status = node.private("/status").await.json();
    assert_eq!(status["backplane"], json!({"state": "Joined", "number": 0, "others": 0}));
    assert_eq!(node.metric("mesh_backplane_connected").await, 1.0);
    let page = node.admin("/metrics").await.text();
    let lacking = lacking(&["mesh_backplane_"], &page);
    assert!(lacking.is_empty(), "alerts and dashboard ask for {lacking:?}:\n{page}");
    let shown = Command::new(env!("CARGO_BIN_EXE_mesh"))
        .args(["status"])
        .envs([("MESH_HOME", node.home().display().to_string()), ("MESH_ADMIN_LISTEN", node.admin.to_string())])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("backplane    joined as gateway 0, 0 others are there\n"), "{shown}");
}

/// What another gateway writes that takes the number of one which was away for too long.
fn takes_the_number(server: &Server, number: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let record = r#"{"life":1,"name":"another","ids_until":1}"#;
    let subject = format!("$KV.interconn-v1-{A}-members.{number}");
    write!(stream, "CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n{record}\r\nPING\r\n", record.len()).unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"PONG\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_number_is_anothers_sends_its_clients_away_and_ends() {
    let server = Server::start("").unwrap();
    let mut stage = gateway(&server).await;
    let mut user = stage.user("/").await;
    takes_the_number(&server, 0);
    assert_eq!(user.is_closed().await, 1012);
    let status = stage.node.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(5), "whoever runs it is to start it again: {}", stage.node.log());
    again(&mut stage, &server).await;
    assert_eq!(stage.metric("node_number").await, 1.0);
}
