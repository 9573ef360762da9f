//! Nodes of our own kind, `mesh tunnel join`: they join, reach each other through forwards, and come back.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use mesh_pki::{Pair, PrivateKeyPem};
use proto::nc::{UnRegisterRequest, lite_kube_nc_service_client::LiteKubeNcServiceClient};

use serde_json::Value;

use super::{Stage, channel, pem};
use crate::harness::{Client, connect, free_port, tls, until};

/// A busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A process of `mesh tunnel join`; ended when dropped.
struct Edge {
    child: Child,
    folder: tempfile::TempDir,
}

impl Edge {
    fn join(token: &str, ways: &[&str]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), &[&[token], ways].concat())
    }

    fn within(folder: tempfile::TempDir, args: &[&str]) -> Self {
        let child = spawn(folder.path(), args);
        Self { child, folder }
    }

    /// A second process of the same node beside the first, by what its folder holds. Answers the first.
    fn again(&mut self, ways: &[&str]) -> Child {
        std::mem::replace(&mut self.child, spawn(self.folder.path(), ways))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn joins(&self) {
        self.joins_times(1).await;
    }

    /// How often its tunnel was opened in all.
    async fn joins_times(&self, times: usize) {
        until("the node to join", LONG, async || {
            let log = self.log();
            assert!(!log.contains("mesh: "), "it ended: {log}");
            log.matches("joined the tunnel").count() >= times
        })
        .await;
    }
}

fn spawn(folder: &Path, args: &[&str]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
    command.args(["tunnel", "join"]).args(args).arg("--folder").arg(folder.join("edge"));
    command.env("MESH_HOME", folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers each connection with what it says.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn says(tcp: &mut TcpStream, bytes: &[u8]) {
    let (mut read, mut write) = tcp.split();
    let mut heard = vec![0; bytes.len()];
    let both = async { tokio::join!(write.write_all(bytes), read.read_exact(&mut heard)) };
    let (written, read) = timeout(LONG, both).await.expect("the echo comes in time");
    written.unwrap();
    read.unwrap();
    assert!(heard == bytes, "the echo is another");
}

async fn dial(port: u16) -> TcpStream {
    connect([127, 0, 0, 1].into(), SocketAddr::from(([127, 0, 0, 1], port))).await
}

/// A server between whose nodes packets pass, and a token for any number of them.
async fn stage() -> (Stage, String) {
    let stage = Stage::with("interconnection: true").await;
    let token = stage.mesh(&["tunnel", "token", "create", "--max-uses", "0"]);
    (stage, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_ours_reach_each_other_through_forwards() {
    let (stage, token) = stage().await;
    let target = echo().await;
    let serving = Edge::join(&token, &["--expose", &format!("80:{target}")]);
    serving.joins().await;
    let local = free_port();
    let calling = Edge::join(&token, &["--forward", &format!("{local}:10.1.1.3:80")]);
    calling.joins().await;
    let mut tcp = dial(local).await;
    says(&mut tcp, b"hello").await;
    let many: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    says(&mut tcp, &many).await;
    let nodes = stage.json(&["tunnel", "ls"]);
    let addresses: Vec<&str> =
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, ["10.1.1.3", "10.1.1.5"]);
    let kept = serving.folder.path().join("edge/node.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    for secret in [token.split('#').next().unwrap(), "PRIVATE KEY"] {
        assert!(!serving.log().contains(secret) && !stage.node.log().contains(secret), "a log tells a secret");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_through_the_tunnel_survives_a_server_that_is_started_again() {
    let (mut stage, token) = stage().await;
    let target = echo().await;
    let serving = Edge::join(&token, &["--expose", &format!("80:{target}")]);
    serving.joins().await;
    let local = free_port();
    let calling = Edge::join(&token, &["--forward", &format!("{local}:10.1.1.3:80")]);
    calling.joins().await;
    let mut tcp = dial(local).await;
    says(&mut tcp, b"before").await;
    stage.node.kill_and_restart().await;
    serving.joins_times(2).await;
    calling.joins_times(2).await;
    // A new one for certain; the old one where the server was back within the minute that TCP waits.
    says(&mut dial(local).await, b"after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_by_its_folder_with_its_address_and_takes_over_from_a_dead_one() {
    let (stage, token) = stage().await;
    let target = echo().await;
    let expose = format!("80:{target}");
    let mut edge = Edge::join(&token, &["--expose", &expose]);
    edge.joins().await;
    // Stopped and not ended: its socket is there and answers nothing.
    let stopped = Command::new("kill").args(["-STOP", &edge.child.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let mut first = edge.again(&["--expose", &expose]);
    edge.joins_times(2).await;
    first.kill().unwrap();
    first.wait().unwrap();
    let nodes = stage.json(&["tunnel", "ls"]);
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "it did not join anew: {nodes}");
    assert_eq!((&nodes["nodes"][0]["address"], &nodes["nodes"][0]["state"]), (&"10.1.1.3".into(), &3.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_unregistered_ends_and_says_so() {
    let (stage, token) = stage().await;
    let mut edge = Edge::join(&token, &[]);
    edge.joins().await;
    stage.mesh(&["tunnel", "kick", "n1", "--unregister"]);
    until("the node to end", LONG, async || edge.child.try_wait().unwrap().is_some()).await;
    assert_eq!(edge.child.wait().unwrap().code(), Some(1));
    assert!(edge.log().contains("does not know this node any more"), "{}", edge.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_unregisters_itself_through_its_own_tunnel_hears_the_answer_and_ends() {
    let (stage, token) = stage().await;
    let local = free_port();
    let mut edge = Edge::join(&token, &["--forward", &format!("{local}:10.1.1.1:{}", stage.register.port())]);
    edge.joins().await;
    let kept = fs::read_to_string(edge.folder.path().join("edge/node.json")).unwrap();
    let member: Value = serde_json::from_str(&kept).unwrap();
    let own = &member["registered"];
    let pair = Pair { chain_pem: text(&own["certificate"]).into(), key: PrivateKeyPem::new(text(&own["key"]).into()) };
    let stream = tls(([127, 0, 0, 1], local).into(), Client::Pair(&pair), &["h2"]).await;
    // The connection stays open, as that of LiteKube's nodes does: the server does not wait for its end.
    let mut plane = LiteKubeNcServiceClient::new(channel(stream).await);
    let ask = UnRegisterRequest { token: text(&member["token"]).into() };
    let done = plane.un_register(ask).await.unwrap().into_inner();
    assert_eq!((done.code.as_str(), done.message.as_str(), done.result), ("200", "ok", true));
    until("the node to end", LONG, async || edge.child.try_wait().unwrap().is_some()).await;
    assert_eq!(edge.child.wait().unwrap().code(), Some(1), "{}", edge.log());
    assert!(edge.log().contains("does not know this node any more"), "{}", edge.log());
    assert_eq!(stage.json(&["tunnel", "ls"])["nodes"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_behind_a_node_is_in_force_once_it_is_approved_and_after_a_restart() {
    let (mut stage, token) = stage().await;
    let edge = Edge::join(&token, &["--routes", "192.168.7.0/24,10.1.0.0/16"]);
    edge.joins().await;
    let rows = |stage: &Stage| {
        let shown = stage.json(&["tunnel", "route", "ls"]);
        let row = |row: &Value| format!("{} {} {}", text(&row["id"]), text(&row["network"]), text(&row["state"]));
        shown["routes"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(rows(&stage), ["n1 10.1.0.0/16 refused", "n1 192.168.7.0/24 waits"]);
    assert!(edge.log().contains("waits for an administrator") && edge.log().contains("the server refuses it"));
    for (node, network, why) in [
        ("n1", "10.1.0.0/16", "it overlaps the tunnel's own network"),
        ("n2", "192.168.7.0/24", "no node is called that"),
    ] {
        let refused = stage.command(&["tunnel", "route", "approve", node, network]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
    stage.mesh(&["tunnel", "route", "approve", "n1", "192.168.7.0/24"]);
    assert_eq!(rows(&stage)[1], "n1 192.168.7.0/24 in-force");
    assert_eq!(stage.json(&["tunnel", "ls"])["nodes"][0]["networks"][0], "192.168.7.0/24");
    let log = stage.node.log();
    assert!(
        log.contains("a node announces a network that is not in force") && log.contains("approve a route"),
        "{log}"
    );
    stage.node.kill_and_restart().await;
    edge.joins_times(2).await;
    let again = async || rows(&stage).last().is_some_and(|row| row == "n1 192.168.7.0/24 in-force");
    until("what was approved to be in force again", LONG, again).await;
    stage.mesh(&["tunnel", "route", "revoke", "n1", "192.168.7.0/24"]);
    assert_eq!(rows(&stage)[1], "n1 192.168.7.0/24 waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_for_an_administrator_joins_once_it_is_approved() {
    let stage = Stage::with("interconnection: true").await;
    let token = stage.mesh(&["tunnel", "token", "create", "--approval"]);
    let edge = Edge::join(&token, &[]);
    until("the node to be told", LONG, async || edge.log().contains("waits for an administrator")).await;
    assert!(stage.mesh(&["tunnel", "ls"]).contains("waits"));
    stage.mesh(&["tunnel", "approve", "n1"]);
    edge.joins().await;
    assert_eq!(stage.command(&["tunnel", "approve", "n9"]).status.code(), Some(1));
    assert!(stage.node.log().contains("approve"));
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_token_is_told_to_nobody_but_the_server_of_that_authority() {
    let (stage, token) = stage().await;
    let (secret, at) = token.split_once('#').unwrap();
    let place = at.split_once('@').unwrap().1;
    let other = format!("{secret}#{}@{place}", "0".repeat(64));
    let mut edge = Edge::join(&other, &[]);
    until("the node to end", LONG, async || edge.child.try_wait().unwrap().is_some()).await;
    assert_eq!(edge.child.wait().unwrap().code(), Some(3), "{}", edge.log());
    assert_eq!(stage.json(&["tunnel", "token", "ls"])["tokens"][0]["uses"], 0);
    assert!(!edge.folder.path().join("edge/node.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_token_joins_a_node_of_ours_too() {
    let (stage, _) = stage().await;
    let token = stage.mesh(&["tunnel", "token", "create", "--legacy"]);
    let edge = Edge::join(&token, &[]);
    edge.joins().await;
    assert_eq!(stage.json(&["tunnel", "ls"])["nodes"][0]["state"], 3);
}

/// With strict servers its certificate is what counts, so it is the one that LiteKube's node had.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_litekube_goes_on_as_one_of_ours_with_its_token_its_certificate_and_its_address() {
    let stage = Stage::with("clientCertificate: Required, roleSplit: true").await;
    let token = stage.mesh(&["tunnel", "token", "create", "--legacy"]);
    let joined = stage.joins(token.split_once('@').unwrap().0).await;
    let folder = tempfile::tempdir().unwrap();
    let (yaml, certs) = (folder.path().join("nc.yaml"), folder.path().join("certs"));
    let settings = format!(
        "mode: client\nclient:\n  serverAddr: 127.0.0.1\n  port: {}\n  token: \"{}\"\n  networkCertDir: certs\n  \
         redirectGateway: true\n  mtu: 1400\n",
        stage.tunnel.port(),
        joined.token
    );
    fs::write(&yaml, settings).unwrap();
    let yaml = yaml.to_str().unwrap();

    // Without its certificate it is none, and nothing is kept.
    let refused = stage.command(&["tunnel", "join", "--legacy", yaml]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("client.pem"), "{refused:?}");
    assert!(!stage.node.home().join("edge/node.json").exists());

    fs::create_dir(&certs).unwrap();
    fs::write(certs.join("ca.pem"), pem(&joined.network_ca_cert)).unwrap();
    fs::write(certs.join("client.pem"), pem(&joined.network_client_cert)).unwrap();
    fs::write(certs.join("client-key.pem"), pem(&joined.network_client_key)).unwrap();
    let mut edge = Edge::within(folder, &["--legacy", yaml]);
    edge.joins().await;
    let log = edge.log();
    assert!(log.contains("passed over: redirectGateway") && log.contains("passed over: mtu"), "{log}");
    assert!(!log.contains(&joined.token), "a log tells a secret");
    // Another start needs the folder alone.
    edge.child.kill().unwrap();
    edge.child.wait().unwrap();
    fs::remove_dir_all(&certs).unwrap();
    edge.again(&["--legacy", yaml]).wait().unwrap();
    edge.joins_times(2).await;
    let nodes = stage.json(&["tunnel", "ls"]);
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(1), "{nodes}");
    assert_eq!((&nodes["nodes"][0]["address"], &nodes["nodes"][0]["state"]), (&"10.1.1.3".into(), &3.into()));
}
