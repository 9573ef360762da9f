//! `mesh diagnose route` against partners that are broken on purpose: each fault has its line, and the line its remedy.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};

use super::{OK, nginx::Nginx};
use crate::{
    exchange::two,
    harness::{A, B, Bank, Node, Partner, free_port, until},
    hostile::clocks::Clock,
};

const C: &str = "LX0000010000260";

/// Runs `mesh diagnose route` for the node, which is started with `wrap` before it.
fn diagnose_by(node: &Node, of: &str, more: &[&str], wrap: &[String]) -> Output {
    let mesh = env!("CARGO_BIN_EXE_mesh").to_owned();
    let line: Vec<String> = wrap.iter().cloned().chain([mesh]).collect();
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).args(["diagnose", "route", of]).args(more).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("MESH_HOME", node.home()).env("MESH_ADMIN_LISTEN", node.admin.to_string()).output().unwrap()
}

fn diagnose(node: &Node, of: &str, idle: &str) -> (Value, Option<i32>) {
    let output = diagnose_by(node, of, &["-o", "json", "--idle", idle], &[]);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code())
}

fn lines(report: &Value) -> Vec<Value> {
    let own = report["lines"].as_array().cloned().unwrap_or_default();
    let addresses = report["addresses"].as_array().cloned().unwrap_or_default();
    own.into_iter().chain(addresses.iter().flat_map(|a| a["lines"].as_array().cloned().unwrap())).collect()
}

/// The lines that failed, each with a remedy.
fn faults(report: &Value) -> Vec<String> {
    let failed: Vec<Value> = lines(report).into_iter().filter(|line| line["state"] == "failed").collect();
    assert!(failed.iter().all(|line| line["remedy"].as_str().is_some_and(|remedy| remedy.len() > 20)), "{failed:?}");
    failed.iter().map(|line| line["check"].as_str().unwrap().to_owned()).collect()
}

fn detail(report: &Value, check: &str) -> String {
    let line = lines(report).into_iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("{report:#}"));
    format!("{} | {}", line["detail"].as_str().unwrap(), line["remedy"].as_str().unwrap_or_default())
}

/// Two banks with certificates that a test knows, where A dials B at `address`.
pub(super) struct Pair {
    pub(super) a: Node,
    pub(super) b: Node,
    pub(super) bank_a: Bank,
    pub(super) bank_b: Bank,
    volume: tempfile::TempDir,
    volume_b: tempfile::TempDir,
}

impl Pair {
    pub(super) async fn set(clock: Option<&Clock>) -> Self {
        let (bank_a, bank_b) = (Bank::new(A), Bank::new(B));
        let (volume, volume_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let route = |bank, address| Partner { bank, address, more: json!({}) };
        bank_b.publish(volume_b.path(), &[route(&bank_a, None)]);
        let variables = clock.map(Clock::variables);
        let mut all = vec![("MESH_CONFIG_DIR", volume_b.path().to_str().unwrap())];
        all.extend(variables.iter().flatten().map(|(name, value)| (*name, value.as_str())));
        let b = Node::with(&all).await;
        bank_a.publish(volume.path(), &[route(&bank_b, Some(b.data))]);
        let a = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
        Self { a, b, bank_a, bank_b, volume, volume_b }
    }

    /// A dials B at this address from now on.
    pub(super) async fn dial(&self, address: SocketAddr) {
        let partners = [Partner { bank: &self.bank_b, address: Some(address), more: json!({}) }];
        self.a_knows(&partners).await;
    }

    async fn a_knows(&self, partners: &[Partner<'_>]) {
        learns(&self.a, &self.bank_a, self.volume.path(), partners).await;
    }

    /// What B's route to A says beside who A is.
    async fn b_says_of_a(&self, more: Value) {
        let partners = [Partner { bank: &self.bank_a, address: None, more }];
        learns(&self.b, &self.bank_b, self.volume_b.path(), &partners).await;
    }
}

/// Returns when the node has this configuration.
async fn learns(node: &Node, bank: &Bank, volume: &Path, partners: &[Partner<'_>]) {
    let generation = async || node.private("/config").await.json()["config"]["generation"].as_u64().unwrap();
    let before = generation().await;
    bank.publish(volume, partners);
    until("the configuration to be in force", Duration::from_secs(90), async || generation().await > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_works_has_no_fault_and_says_how_well_it_works() {
    let (a, _b) = two().await;
    let (report, code) = diagnose(&a, B, "300ms");
    assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report:#}");
    let all = lines(&report);
    assert!(all.iter().all(|line| line["state"] == "ok"), "{report:#}");
    let address = report["addresses"][0]["lines"].as_array().unwrap();
    let checks: Vec<&str> = address.iter().map(|line| line["check"].as_str().unwrap()).collect();
    let expected = [
        "dns",
        "tcp",
        "tls",
        "sni",
        "chain",
        "name",
        "http",
        "clock",
        "authorisation",
        "identity",
        "round trip",
        "buffering",
        "body limit",
        "bandwidth",
        "idle timeout",
    ];
    assert_eq!(checks, expected);
    assert!(detail(&report, "body limit").contains("MiB"), "{report:#}");
    let text = diagnose_by(&a, B, &["--idle", "100ms"], &[]);
    assert_eq!(text.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&text.stdout).contains("ok       idle timeout"));
    let unknown = diagnose_by(&a, "LX9", &[], &[]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("E0000000618"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_ports_and_what_answers_there_are_told_apart() {
    let (a, b) = two().await;
    let dumb = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dumb_address = dumb.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = dumb.accept() {
            let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.6\r\n");
        }
    });
    let closed = free_port();
    for (address, check, says) in [
        ("no-such-host.invalid:7304".to_owned(), "dns", "name servers"),
        (format!("127.0.0.1:{closed}"), "tcp", "nothing listens"),
        (dumb_address.to_string(), "tls", "no TLS"),
        (a.data.to_string(), "tcp", "own"),
        (b.admin.to_string(), "tls", "port"),
    ] {
        let document = json!({"node_id": B, "inst_id": "JG0100002700000000", "address": address});
        assert_eq!(a.post("/v1/interconn/net/refresh", &[], &document).await.code(), OK);
        let (report, code) = diagnose(&a, B, "100ms");
        assert_eq!((faults(&report), code), (vec![check.to_owned()], Some(1)), "{address}: {report:#}");
        assert!(detail(&report, check).contains(says), "{address}: {}", detail(&report, check));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_root_and_another_nodes_leaf_are_told_apart() {
    let pair = Pair::set(None).await;
    let other = Bank::new(B);
    pair.a_knows(&[Partner { bank: &other, address: Some(pair.b.data), more: json!({}) }]).await;
    let (report, _) = diagnose(&pair.a, B, "100ms");
    assert_eq!(faults(&report), ["chain"], "{report:#}");
    assert!(detail(&report, "chain").contains("sha256"), "{report:#}");
    // The right root, and a leaf that names B and not C.
    let partner =
        Partner { bank: &pair.bank_b, address: Some(pair.b.data), more: json!({"name": "c", "peer": {"nodeId": C}}) };
    pair.a_knows(&[partner]).await;
    let (report, _) = diagnose(&pair.a, C, "100ms");
    assert_eq!(faults(&report), ["name"], "{report:#}");
    assert!(detail(&report, "name").contains(B), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_does_not_know_us_or_has_closed_its_route_is_said_to_be_so() {
    let (a, b) = two().await;
    for (change, says) in [
        (json!({"status": 32}), "disabled"),
        (json!({"status": 0, "expire_at": 1000}), "expired"),
        (json!({"status": 64}), "give it our root"),
    ] {
        let mut document = json!({"node_id": A, "inst_id": "JG0100002800000000", "address": a.data.to_string()});
        document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(b.post("/v1/interconn/net/refresh", &[], &document).await.code(), OK);
        let (report, _) = diagnose(&a, B, "100ms");
        assert_eq!(faults(&report), ["authorisation"], "{report:#}");
        assert!(detail(&report, "authorisation").contains(says), "{}", detail(&report, "authorisation"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_whose_clock_is_wrong_is_told_by_how_much() {
    let clock = Clock::new();
    let pair = Pair::set(Some(&clock)).await;
    clock.set(-1800);
    let (report, _) = diagnose(&pair.a, B, "100ms");
    // Ours may be outside of its life by the partner's clock, or not: the clock is named in any case.
    assert_eq!(faults(&report).first().map(String::as_str), Some("clock"), "{report:#}");
    assert!(detail(&report, "clock").contains("behind") && detail(&report, "clock").contains("NTP"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cuts_idle_connections_is_found_with_its_time() {
    let pair = Pair::set(None).await;
    let nginx = Nginx::passing_through(pair.b.data, "5s").await;
    pair.dial(nginx.address).await;
    let (report, code) = diagnose(&pair.a, B, "20s");
    assert_eq!((faults(&report), code), (vec!["idle timeout".to_owned()], Some(1)), "{report:#}");
    let said = detail(&report, "idle timeout");
    assert!((5..10).any(|seconds| said.contains(&format!("cut after {seconds} s"))), "{said}");
    let patient = Nginx::passing_through(pair.b.data, "10m").await;
    pair.dial(patient.address).await;
    assert_eq!(diagnose(&pair.a, B, "1s").1, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_ends_tls_is_found_whether_it_shows_its_own_certificate_or_the_partners() {
    let pair = Pair::set(None).await;
    let proxy = Bank::new("LX7777777777777");
    let nginx = Nginx::ending_tls(pair.b.data, &proxy.leaf, None, "").await;
    pair.dial(nginx.address).await;
    let (report, _) = diagnose(&pair.a, B, "100ms");
    assert_eq!(faults(&report), ["chain"], "{report:#}");
    assert!(detail(&report, "chain").contains("pass TLS through"), "{report:#}");
    let nginx = Nginx::ending_tls(pair.b.data, &pair.bank_b.leaf, None, "").await;
    pair.dial(nginx.address).await;
    let (report, _) = diagnose(&pair.a, B, "100ms");
    assert_eq!(faults(&report), ["authorisation"], "{report:#}");
    assert!(detail(&report, "authorisation").contains("ends TLS"), "{report:#}");
}

/// Who need not show a certificate is let in by whoever ends TLS before it: that works, and is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_asks_for_no_certificate_is_told_and_so_is_a_route_that_wants_none() {
    let pair = Pair::set(None).await;
    let settings = "client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;";
    let nginx = Nginx::ending_tls(pair.b.data, &pair.bank_b.leaf, None, settings).await;
    pair.b_says_of_a(json!({"clientCertificate": "Optional"})).await;
    pair.dial(nginx.address).await;
    let (report, code) = diagnose(&pair.a, B, "100ms");
    assert_eq!((faults(&report), code), (vec![], Some(0)), "{report:#}");
    let warned = |report: &Value| -> Vec<Value> {
        lines(report).into_iter().filter(|line| line["state"] == "warning").map(|line| line["check"].clone()).collect()
    };
    assert_eq!(warned(&report), ["authorisation"], "{report:#}");
    assert!(detail(&report, "authorisation").contains("did not ask for our certificate"), "{report:#}");
    let more = json!({"clientCertificate": "Optional"});
    pair.a_knows(&[Partner { bank: &pair.bank_b, address: Some(pair.b.data), more }]).await;
    let (report, code) = diagnose(&pair.a, B, "100ms");
    assert_eq!((warned(&report), code), (vec![json!("client certificate")], Some(0)), "{report:#}");
    assert!(detail(&report, "client certificate").contains("not proven"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_chooses_by_name_is_found_and_server_name_is_the_remedy() {
    let pair = Pair::set(None).await;
    let other = Node::start().await;
    let name = format!("{B}.trustbe.cn");
    let nginx = Nginx::by_name(&name, pair.b.data, other.data).await;
    pair.dial(nginx.address).await;
    let (report, code) = diagnose(&pair.a, B, "100ms");
    assert_eq!((faults(&report), code), (vec!["sni".to_owned(), "chain".to_owned()], Some(1)), "{report:#}");
    assert!(detail(&report, "sni").contains(&format!("set serverName of the address to {name}")), "{report:#}");
    let address = json!([{"address": nginx.address.to_string(), "serverName": name}]);
    pair.a_knows(&[Partner { bank: &pair.bank_b, address: None, more: json!({ "addresses": address }) }]).await;
    let (report, code) = diagnose(&pair.a, B, "100ms");
    assert_eq!((faults(&report), code), (Vec::<String>::new(), Some(0)), "{report:#}");
    assert!(detail(&report, "sni").contains(&name), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_limit_on_the_way_is_found_with_what_still_passes() {
    let pair = Pair::set(None).await;
    let settings = "client_max_body_size 1m; proxy_request_buffering off;";
    let nginx = Nginx::ending_tls(pair.b.data, &pair.bank_b.leaf, Some(&pair.bank_a.leaf), settings).await;
    pair.dial(nginx.address).await;
    let (report, _) = diagnose(&pair.a, B, "100ms");
    assert_eq!(faults(&report), ["body limit"], "{report:#}");
    let said = detail(&report, "body limit");
    assert!(said.contains("413") && said.contains("1 MiB does") && said.contains("client_max_body_size"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_keeps_bodies_until_they_are_whole_is_found() {
    let pair = Pair::set(None).await;
    let settings = "client_max_body_size 0;";
    let nginx = Nginx::ending_tls(pair.b.data, &pair.bank_b.leaf, Some(&pair.bank_a.leaf), settings).await;
    pair.dial(nginx.address).await;
    let (report, _) = diagnose(&pair.a, B, "100ms");
    assert_eq!(faults(&report), ["buffering"], "{report:#}");
    assert!(detail(&report, "buffering").contains("proxy_request_buffering off"), "{report:#}");
}

/// A network namespace of this test's own, with a firewall in it. Gone when dropped.
struct Walled(String);

impl Walled {
    fn new(port: u16) -> Self {
        let name = format!("mesh-{}", std::process::id());
        let run = |line: &[&str]| {
            let done = Command::new(line[0]).args(&line[1..]).status().unwrap();
            assert!(done.success(), "{line:?}: this test needs root, iproute2 and iptables");
        };
        run(&["ip", "netns", "add", &name]);
        let walled = Self(name);
        let inside = |line: &[&str]| run(&[&["nsenter", &walled.net()][..], line].concat());
        inside(&["ip", "link", "set", "lo", "up"]);
        inside(&["iptables", "-A", "INPUT", "-p", "tcp", "--dport", &port.to_string(), "-j", "DROP"]);
        walled
    }

    fn net(&self) -> String {
        format!("--net=/run/netns/{}", self.0)
    }
}

impl Drop for Walled {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_drops_is_told_from_a_port_where_nobody_listens() {
    let (dropped, closed) = (free_port(), free_port());
    let walled = Walled::new(dropped);
    let (own, partner) = (Bank::new(A), Bank::new(B));
    for (port, says) in [(dropped, "swallows the packets"), (closed, "nothing listens")] {
        let volume = tempfile::tempdir().unwrap();
        let address = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        own.publish(volume.path(), &[Partner { bank: &partner, address, more: json!({}) }]);
        // In there nobody reaches its ports from here: the report comes from within too.
        let home = tempfile::tempdir().unwrap();
        let (data, admin) = (free_port(), free_port());
        let mesh = env!("CARGO_BIN_EXE_mesh");
        let inside = |arguments: &[&str]| {
            let mut command = Command::new("nsenter");
            command.arg(walled.net()).arg(mesh).args(arguments).env_clear();
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            command.env("MESH_HOME", home.path()).env("MESH_CONFIG_DIR", volume.path());
            command.env("PLUGIN_PROXY_TRANSPORT_Y", format!("127.0.0.1:{data}"));
            command.env("MESH_ADMIN_LISTEN", format!("127.0.0.1:{admin}"));
            command
        };
        let mut node = inside(&["start", "--server"]).stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut said = None;
        for _ in 0..200 {
            let output = inside(&["diagnose", "route", B, "-o", "json", "--idle", "100ms"]).output().unwrap();
            if let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) {
                said = Some(report);
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let _ = node.kill();
        let _ = node.wait();
        let report = said.expect("the node answers");
        assert_eq!(faults(&report), ["tcp"], "{report:#}");
        assert!(detail(&report, "tcp").contains(says), "{}", detail(&report, "tcp"));
    }
}
