//! The admin port: probes and metrics for everyone, the rest with the token and from this machine only.

use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt as _};

use http::Request;
use http_body_util::Full;

use crate::harness::{Node, from};

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_are_open_and_the_rest_wants_the_token() {
    let node = Node::start().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(node.admin(path).await.status, 200, "{path}");
    }
    for path in ["/config", "/status", "/queues", "/log"] {
        assert_eq!(node.admin(path).await.status, 403, "{path} without the token");
        assert_eq!(node.private(path).await.status, 200, "{path} with the token");
        let wrong = Request::get(path).header("authorization", "Bearer 0").body(Full::default()).unwrap();
        assert_eq!(from(Ipv4Addr::LOCALHOST, node.admin, wrong).await.status, 403, "{path} with another token");
    }
    let mode = std::fs::metadata(node.home().join("admin.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_level_changes_while_it_runs() {
    let node = Node::with(&[("MESH_LOG", "error")]).await;
    let put = |level: &'static str| {
        let request = Request::put("/log").header("authorization", format!("Bearer {}", node.token()));
        from(Ipv4Addr::LOCALHOST, node.admin, request.body(Full::from(level)).unwrap())
    };
    assert_eq!(put("mesh_network=loud").await.status, 400);
    assert_eq!(put("info").await.status, 204);
    assert!(node.log().contains("the log level was changed"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_what_the_node_does() {
    let node = Node::start().await;
    let mesh = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(args).env("MESH_HOME", node.home()).env("MESH_ADMIN_LISTEN", node.admin.to_string());
        command.env("MESH_ADDRESS", node.data.to_string()).output().unwrap()
    };
    let file = node.home().join("file");
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    let pushed = mesh(&["push", "t", file.to_str().unwrap(), "--session", "s"]);
    assert!(pushed.status.success(), "{pushed:?}");
    let status = mesh(&["status", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&shown["state"], shown["queues"]["bytes"].as_u64()), (&"serving".into(), Some(3_000_000)));
    assert!(mesh(&["peek", "t", "--session", "s"]).stdout == content);
    assert!(mesh(&["pop", "t", "--session", "s"]).stdout == content);
    assert_eq!(mesh(&["pop", "t", "--session", "s", "--timeout", "200ms"]).status.code(), Some(4));
    assert!(mesh(&["release", "--session", "s"]).status.success());
    assert_eq!(mesh(&["push", "t", file.to_str().unwrap(), "--session", "s"]).status.code(), Some(1), "released");
    assert_eq!(mesh(&["push", "t", "--address", "127.0.0.1:1"]).status.code(), Some(3));
    assert_eq!(mesh(&["push"]).status.code(), Some(2));
    assert_eq!(mesh(&["push", "t", "/no/such/file"]).status.code(), Some(5));
}
