//! The admin port: probes and metrics for everyone, the rest with the token and from this machine only.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::Full;

use crate::harness::{Node, free_port, from, lacking, post};

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
    // Also where the room is off: who may not ask is told nothing of that.
    for path in ["/tunnel/tokens", "/directory/tokens"] {
        for token in ["", "Bearer 0"] {
            let mint = Request::post(path).header("authorization", token).body(Full::from("{}")).unwrap();
            assert_eq!(from(Ipv4Addr::LOCALHOST, node.admin, mint).await.status, 403, "{path} with {token:?}");
        }
    }
    let mode = std::fs::metadata(node.home().join("admin.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// The operator's metrics, the backplane's and the sidecar's own are looked at where these run.
#[tokio::test(flavor = "multi_thread")]
async fn what_alerts_and_dashboard_ask_for_is_among_the_metrics() {
    let ports = [(); 5].map(|()| format!("127.0.0.1:{}", free_port()));
    let names = [
        "MESH_TUNNEL_LISTEN",
        "MESH_TUNNEL_GRPC_LISTEN",
        "MESH_TUNNEL_BOOTSTRAP_LISTEN",
        "MESH_GRID_LISTEN",
        "MESH_GRID_CLIENT_LISTEN",
    ];
    let mut variables: Vec<(&str, &str)> = names.into_iter().zip(ports.iter().map(String::as_str)).collect();
    variables.push(("MESH_TUNNEL_ADVERTISE", "127.0.0.1"));
    let node = Node::with(&variables).await;
    // Codes are counted from the first refusal on.
    assert_ne!(node.push(Some("LX9"), "t", "for nobody").await, "E0000000000");
    let rooms = ["mesh_config_", "mesh_transport_", "mesh_network_", "mesh_registry_", "mesh_tunnel_", "mesh_grid_"];
    let page = node.admin("/metrics").await.text();
    // That one is there where a device is (`mode: Tun`); its name is compared beside the metrics of the tunnel.
    let lacking: Vec<&str> = lacking(&rooms, &page).into_iter().collect();
    assert_eq!(lacking, ["mesh_tunnel_device_up"], "{page}");
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
async fn requests_are_logged_where_somebody_wants_it_with_what_came_of_them_and_nothing_of_what_they_carry() {
    let node = Node::start().await;
    let level = async |level: &'static str| {
        let request = Request::put("/log").header("authorization", format!("Bearer {}", node.token()));
        let request = request.body(Full::from(level)).unwrap();
        assert_eq!(from(Ipv4Addr::LOCALHOST, node.admin, request).await.status, 204);
    };
    let ask = async |trace: &'static str| {
        let path = "/v1/interconn/chan/push?topic=t&payload=aGVsbG8tc2VjcmV0";
        let headers = [("x-ptp-trace-id", trace), ("x-ptp-token", "token-secret"), ("x-ptp-session-id", "s")];
        node.send(post(path, &headers, String::new())).await;
        node.mpi("mesh.net.environ", &serde_json::json!({})).await;
    };
    ask("unseen").await;
    level("info,access=debug").await;
    ask("seen").await;
    level("info").await;
    ask("unseen").await;
    let log = node.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("access: ")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for part in ["answered", "POST", "/v1/interconn/chan/push", "seen", "200", "E0000000000", "millis=", "127.0.0.1:"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(lines[1].contains("/mesh/invoke") && lines[1].contains("E0000000000"), "{}", lines[1]);
    assert!(!log.contains("unseen") && !log.contains("secret") && !log.contains("aGVsbG8"), "{log}");
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

/// A kubelet holds a whole pod back until this command ends.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_node_goes_on_when_it_is_ready_and_is_told_when_it_is_not() {
    let mesh = |admin: std::net::SocketAddr, within: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(["ready", "--within", within]).env("MESH_ADMIN_LISTEN", admin.to_string());
        command.env("MESH_HOME", "/nowhere").output().unwrap()
    };
    let node = Node::start().await;
    assert!(mesh(node.admin, "60s").status.success());
    assert!(mesh(starting(), "60s").status.success(), "it is asked again");
    let given_up = mesh("127.0.0.1:1".parse().unwrap(), "100ms");
    let said = String::from_utf8(given_up.stderr).unwrap();
    assert_eq!(given_up.status.code(), Some(3));
    assert!(said.contains("not ready within 100ms: no node answers (127.0.0.1:1: "), "{said}");
}

/// The admin port of a node that is not ready when it is first asked.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, in a test")]
fn starting() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for status in ["503 Service Unavailable", "200 OK"] {
            let (mut tcp, _) = listener.accept().unwrap();
            let read = tcp.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            tcp.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
                .unwrap();
        }
    });
    address
}

/// A node that takes its time over a push of `length` bytes and more, and says success.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, in a test")]
fn slow_reader(length: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let (began, mut buffer, mut read) = (Instant::now(), vec![0; 256 << 10], 0);
        while read < length {
            // More than lies in sockets is left when two seconds are over.
            if began.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(50));
            }
            read += tcp.read(&mut buffer).unwrap();
        }
        let answer = b"\x1a\x0bE0000000000\x22\x02OK";
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
        tcp.write_all(&[head.as_bytes(), answer].concat()).unwrap();
        drop(tcp.shutdown(std::net::Shutdown::Write));
        while matches!(tcp.read(&mut buffer), Ok(1..)) {}
    });
    address
}

#[test]
fn a_long_push_says_how_far_it_is_where_somebody_wants_to_know() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, vec![7; 32 << 20]).unwrap();
    for (when, says) in [("always", true), ("auto", false)] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(["push", "t", file.to_str().unwrap(), "--progress", when]);
        let pushed = command.env("MESH_ADDRESS", slow_reader(32 << 20).to_string()).output().unwrap();
        let said = String::from_utf8(pushed.stderr).unwrap();
        assert!(pushed.status.success(), "{said}");
        assert_eq!(said.contains(" of 32 MiB, "), says, "{when}: {said}");
        assert_eq!(String::from_utf8(pushed.stdout).unwrap(), "pushed 33554432 bytes to t\n");
    }
}
