//! A gateway with sidecars beside it (design section 5): who is a member, what a sidecar passes on, and what becomes of calls while
//! the gateway is away. That the answers are the gateway's own says `contract/sidecar.rs`.

pub(crate) mod load;
mod renewed;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use self::load::Load;
use crate::harness::{A, B, Bank, Client, Node, Partner, Raw, free_port, lacking, over_tls, post, until};

const OK: &str = "E0000000000";
/// A gateway that starts again on a busy machine, and more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with a gateway.
pub(crate) struct Place {
    pub(crate) bank: Bank,
    pub(crate) partner: Bank,
    address: SocketAddr,
    volume: tempfile::TempDir,
}

impl Place {
    fn new(transport: &Value) -> Self {
        Self::with_partner_at(transport, None)
    }

    /// With a partner that is dialled at this address.
    pub(crate) fn with_partner_at(transport: &Value, there: Option<SocketAddr>) -> Self {
        let (bank, partner, volume) = (Bank::new(A), Bank::new(B), tempfile::tempdir().unwrap());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let route = Partner { bank: &partner, address: there, more: json!({}) };
        bank.publish_for_gateway(volume.path(), &[route], &json!({"transport": transport}), address);
        Self { bank, partner, address, volume }
    }

    pub(crate) async fn gateway(&self) -> Node {
        Node::on(self.address.port(), &[("MESH_CONFIG_DIR", self.volume.path().to_str().unwrap())]).await
    }

    pub(crate) async fn sidecar(&self) -> Node {
        Node::sidecar(self.volume.path()).await
    }
}

/// What a service answers that is registered as `/echo`: HTTP to whoever asks, and bytes as they come after a switch.
pub(crate) async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let read = tcp.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).to_ascii_lowercase();
                if head.contains("upgrade: websocket") {
                    let switch =
                        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                    let _ = tcp.write_all(switch.as_bytes()).await;
                    let (mut from, mut to) = tcp.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    return;
                }
                let who = head.lines().find(|line| line.starts_with("x-ptp-source-node-id")).unwrap_or("nobody");
                let body = format!("{} {who}", head.split(' ').nth(1).unwrap_or_default());
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = tcp.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

pub(crate) fn registration(address: &str) -> Value {
    json!({
        "instance_id": address, "name": "echo", "kind": "complex", "address": address, "timestamp": 300_000,
        "content": {"services": [{"urn": "/echo", "kind": "Restful", "proto": "http", "codec": "json"}]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_sidecars_application_registers_is_called_through_another() {
    let place = Place::new(&json!({}));
    let (_gateway, one, two) = (place.gateway().await, place.sidecar().await, place.sidecar().await);
    let echo = service().await.to_string();
    let put = one.post("/v1/interconn/registry/register", &[], &registration(&echo)).await;
    assert_eq!(put.code(), OK, "{}", put.text());
    let call = || Request::get("/echo/it").header("x-ptp-source-node-id", "somebody").body(Full::default()).unwrap();
    let answers = async || two.send(call()).await.status == 200;
    until("the service to be ready", PATIENCE, answers).await;
    assert_eq!(two.send(call()).await.text(), "/echo/it x-ptp-source-node-id: somebody", "as the application says it");
    let listed = two.mpi("mesh.registry.export", &json!({"kind": "complex"})).await;
    assert_eq!(listed[0]["address"], echo);
    let mut socket = Raw::to(&two).await;
    let head =
        format!("GET /echo/ws HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", two.data);
    assert!(socket.write(head).await);
    assert_eq!(socket.answer().await.unwrap().status, 101);
    assert!(socket.write("both ways").await);
    let mut echoed = [0; 9];
    tokio::time::timeout(PATIENCE, socket.tcp.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(&echoed, b"both ways");
    let remove = json!({"registration": registration(&echo)});
    one.mpi("mesh.registry.remove", &remove).await;
    assert_eq!(two.send(call()).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_registers_no_address_but_its_pods_own() {
    let place = Place::new(&json!({}));
    let (_gateway, one) = (place.gateway().await, place.sidecar().await);
    let foreign = registration("10.9.9.9:8000");
    let by_path = one.post("/v1/interconn/registry/register", &[], &foreign).await;
    let by_mpi =
        one.post("/mesh/invoke", &[("mesh-urn", "mesh.registry.put")], &json!({"registration": foreign})).await;
    for answer in [by_path, by_mpi] {
        assert_eq!(answer.code(), "E0000000614", "{}", answer.text());
        assert!(answer.text().contains("10.9.9.9:8000 is not the address 127.0.0.1"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_told_by_their_certificates_and_may_do_what_members_may() {
    let place = Place::new(&json!({}));
    let (gateway, one) = (place.gateway().await, place.sidecar().await);
    let another = Bank::new(A);
    let ask = |to: &Node, pair: &mesh_pki::Pair, path: &str, headers: &[(&str, &str)], body: &str| {
        let (to, pair, request) = (to.data, pair.clone(), post(path, headers, body.to_owned()));
        async move { over_tls(to, Client::Pair(&pair), request).await }
    };
    let push = "/v1/interconn/chan/push";
    let hello = r#"{"topic":"t","payload":"aGVsbG8="}"#;
    for (who, pair, code) in [
        ("a member", &place.bank.member, OK),
        ("a member of another node", &another.member, "E0000000403"),
        ("the node's own leaf", &place.bank.leaf, "E0000000403"),
        ("a partner, to whom plain operations are closed", &place.partner.leaf, "E0000000614"),
    ] {
        assert_eq!(ask(&gateway, pair, push, &[], hello).await.code(), code, "{who}");
    }
    let member = &place.bank.member;
    let refresh = json!({"node_id": "LX9", "inst_id": "JG9", "address": "a:1"}).to_string();
    for path in ["/v1/interconn/net/refresh", "/v1/interconn/net/weave", "/v1/interconn/node/refresh"] {
        assert_eq!(ask(&gateway, member, path, &[], &refresh).await.code(), "E0000000614", "{path}");
    }
    for name in ["mesh.net.disable", "mesh.net.edges", "kms.store.reset"] {
        let answer = ask(&gateway, member, "/mesh/invoke", &[("mesh-urn", name)], "{}").await;
        assert_eq!(answer.code(), "E0000000614", "{name}");
    }
    for (who, pair) in [("a member", member), ("a partner", &place.partner.leaf)] {
        let answer = ask(&one, pair, push, &[], hello).await;
        assert_eq!(answer.code(), "E0000000403", "{who} at a sidecar");
        assert!(answer.text().contains(&place.address.to_string()), "where to go: {}", answer.text());
        let woven = ask(&one, pair, "/v1/interconn/net/weave", &[], &refresh).await;
        assert_eq!(woven.code(), "E0000000403", "{who} at a sidecar");
    }
}

/// Strangers dial the gateway, and whoever answers them calls a sidecar.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_offers_the_gateway_is_told_to_members_without_its_pair_and_to_nobody_else() {
    let place = Place::new(&json!({}));
    let (gateway, stranger) = (place.gateway().await, Bank::new("LX0000010000260"));
    let pem = stranger.root.certificate_pem();
    let pair = crate::harness::leaf(&stranger.root, A);
    let offer = json!({"node_id": "LX0000010000260", "inst_id": "JG3", "address": "c.example:7304", "auth_code": "whale",
        "host_root": pem, "host_crt": pair.chain_pem, "host_key": pair.key.expose()});
    let weave = post("/v1/interconn/net/weave", &[], offer.to_string());
    let woven = over_tls(gateway.data, Client::Pair(&stranger.leaf), weave).await;
    assert_eq!(woven.code(), OK, "{}", woven.text());
    let ask = |client, who: &str| {
        let body = json!({"node_id": who}).to_string();
        over_tls(gateway.data, client, post("/mesh/invoke", &[("mesh-urn", "interconn.net.waiting")], body))
    };
    let told = ask(Client::Pair(&place.bank.member), "lx0000010000260").await;
    let content = &told.json()["content"];
    assert_eq!(
        (told.code(), &content["address"], &content["auth_code"]),
        (OK.into(), &json!("c.example:7304"), &json!("whale"))
    );
    assert_eq!(content["root"].as_str().unwrap().trim(), pem.trim());
    let names = post("/mesh/invoke", &[("mesh-urn", "interconn.net.waiting")], "{}");
    let all = over_tls(gateway.data, Client::Pair(&place.bank.member), names).await;
    assert_eq!(all.json()["content"], json!(["LX0000010000260"]));
    // Whoever answers it at a sidecar has seen it there.
    let one = place.sidecar().await;
    let seen = one.mpi("mesh.net.edge", &json!({"node_id": "LX0000010000260"})).await;
    let print = mesh_pki::CertificateInfo::from_pem(pem).unwrap().sha256;
    assert_eq!((&seen["asked"]["auth_code"], &seen["asked"]["sha256"]), (&json!("whale"), &json!([print])));
    assert!(one.mpi("mesh.net.edges", &json!({})).await.as_array().unwrap().contains(&seen));
    assert!(!told.text().contains(pair.key.expose().lines().nth(1).unwrap()), "the stranger's key is told");
    assert_eq!(ask(Client::Pair(&place.bank.member), "LX9").await.code(), "E0000000618");
    for (who, pair) in [("a partner", &place.partner.leaf), ("a stranger", &stranger.leaf)] {
        let code = ask(Client::Pair(pair), "LX0000010000260").await.code();
        assert!(code == "E0000000614" || code == "E0000000403", "{who}: {code}");
    }
}

/// The sidecar's own applications change nothing either: the resources decide.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_answers_what_its_configuration_says_and_names_who_decides() {
    let place = Place::new(&json!({}));
    // No gateway runs: nothing of this needs it.
    let one = place.sidecar().await;
    assert_eq!(one.mpi("mesh.net.environ", &json!({})).await["node_id"], A);
    assert_eq!(one.mpi("mesh.net.edges", &json!({})).await[0]["node_id"], B);
    let refused = one.trust("LX9", place.address, place.partner.root.certificate_pem()).await;
    assert_eq!(refused, "E0000000614");
    let status = one.private("/status").await.json();
    assert_eq!(
        (&status["role"], &status["gateway"]["address"]),
        (&json!("sidecar"), &json!(place.address.to_string()))
    );
    // What a diagnosis here can say of the partner, and where it is diagnosed.
    let told = crate::services::mesh(&one, &["diagnose", "route", B, "--idle", "100ms", "-o", "json"]);
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    let line = |check: &str| {
        let line = report["lines"].as_array().unwrap().iter().find(|line| line["check"] == check);
        line.unwrap_or_else(|| panic!("{check}: {report:#}")).clone()
    };
    assert_eq!((told.status.code(), &line("sidecar")["state"]), (Some(1), &json!("ok")), "{report:#}");
    assert_eq!(line("partner")["state"], "failed");
    assert!(line("partner")["remedy"].as_str().unwrap().contains("in the gateway's pod"), "{report:#}");
    let page = one.admin("/metrics").await.text();
    let lacking = lacking(&["mesh_config_", "mesh_network_"], &page);
    assert!(lacking.is_empty(), "alerts and dashboard ask for {lacking:?}:\n{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_that_died_has_popped_is_given_to_another_sidecars() {
    let place = Place::new(&json!({}));
    let (gateway, one, two) = (place.gateway().await, place.sidecar().await, place.sidecar().await);
    let body = json!({"topic": "t", "timeout": 60_000}).to_string();
    let mut doomed = Raw::to(&one).await;
    let head = format!(
        "POST /v1/interconn/chan/pop HTTP/1.1\r\nhost: {}\r\nx-ptp-session-id: s\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        one.data,
        body.len()
    );
    assert!(doomed.write(head).await);
    let waits = async || gateway.metric("mesh_transport_waiting_pops").await >= 1.0;
    until("the pop to wait at the gateway", PATIENCE, waits).await;
    assert_eq!(two.push(None, "t", "precious").await, OK);
    let leased = async || gateway.leased().await >= 1.0;
    until("the message to be leased", PATIENCE, leased).await;
    doomed.reset();
    assert_eq!(two.pop("t").await.as_deref(), Some("precious"));
    let settled = async || gateway.leased().await == 0.0;
    until("it to be committed", PATIENCE, settled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_ready_without_its_gateway_and_its_calls_wait_for_it() {
    let place = Place::new(&json!({}));
    let one = place.sidecar().await;
    let waiting = async || one.metric("mesh_network_gateway_waiting").await >= 2.0;
    let work = async {
        let headers = [("x-ptp-session-id", "s"), ("x-ptp-timeout", "60000")];
        let (message, wanted) =
            (json!({"topic": "t", "payload": "aGVsbG8="}), json!({"topic": "t", "timeout": 60_000}));
        let push = one.post("/v1/interconn/chan/push", &headers, &message);
        let pop = one.post("/v1/interconn/chan/pop", &headers, &wanted);
        tokio::join!(push, pop)
    };
    let start = async {
        until("both to wait", PATIENCE, waiting).await;
        let status = one.private("/status").await.json();
        assert_eq!(status["gateway"]["reached"][0]["state"], "failing", "{status}");
        place.gateway().await
    };
    let ((push, pop), gateway) = tokio::join!(work, start);
    assert_eq!((push.code().as_str(), pop.json()["payload"].as_str()), (OK, Some("aGVsbG8=")), "{}", pop.text());
    assert_eq!(one.pop_soon("t").await, None, "once");
    // Whoever has no time left hears why.
    drop(gateway);
    let headers = [("x-ptp-session-id", "s"), ("x-ptp-timeout", "500")];
    let late = one.post("/v1/interconn/chan/push", &headers, &json!({"topic": "t", "payload": ""})).await;
    assert_eq!(late.code(), "E0000000607", "{}", late.text());
    assert!(late.text().contains("gateway"), "{}", late.text());
}

/// A Service that is made anew has another address, and the first configuration of a node may be older than its Service.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_their_gateway_find_it_at_the_address_that_is_said_meanwhile() {
    let place = Place::new(&json!({}));
    let says = |address| place.bank.publish_for_gateway(place.volume.path(), &[], &json!({}), address);
    says(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    let one = place.sidecar().await;
    let work = async {
        let headers = [("x-ptp-session-id", "s"), ("x-ptp-timeout", "60000")];
        let message = json!({"topic": "t", "payload": "aGVsbG8="});
        let wanted = json!({"topic": "t", "timeout": 60_000});
        let push = one.post("/v1/interconn/chan/push", &headers, &message);
        let pop = one.post("/v1/interconn/chan/pop", &headers, &wanted);
        tokio::join!(push, pop)
    };
    let moves = async {
        let waiting = async || one.metric("mesh_network_gateway_waiting").await >= 2.0;
        until("both to wait", PATIENCE, waiting).await;
        says(place.address);
        place.gateway().await
    };
    let ((push, pop), _gateway) = tokio::join!(work, moves);
    assert_eq!((push.code().as_str(), pop.json()["payload"].as_str()), (OK, Some("aGVsbG8=")), "{}", pop.text());
}

/// How the gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Killed,
    /// In order, and what it kept on disk goes with its pod.
    Forgetful,
}

/// Steady load through two sidecars while the gateway ends and comes back.
async fn under_load(end: End) {
    let store = if end == End::Forgetful { "Memory" } else { "Disk" };
    let place = Place::new(&json!({"store": store}));
    let mut gateway = place.gateway().await;
    // No more than is read in time, where what is unread goes.
    let (pushers, pause) = if end == End::Forgetful { (1, Duration::from_millis(50)) } else { (4, Duration::ZERO) };
    let load = Load::of(pushers, pause, place.sidecar().await, place.sidecar().await);
    for _ in 0..2 {
        load.flows(30.0).await;
        match end {
            End::Killed => gateway.kill_and_restart().await,
            End::Orderly | End::Forgetful => {
                gateway.signal("TERM");
                assert!(gateway.ended(PATIENCE).await.success());
                if end == End::Forgetful {
                    std::fs::remove_dir_all(gateway.home()).unwrap();
                    std::fs::create_dir(gateway.home()).unwrap();
                }
                gateway.start_again().await;
            }
        }
    }
    load.flows(30.0).await;
    let again = load.settle().await;
    // What an application had when its gateway was killed, nobody may have written down yet.
    assert!(end == End::Killed || again.is_empty(), "LOST: given out twice: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_volume_that_is_replaced_is_read_empty_before_it_ends() {
    under_load(End::Forgetful).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_replaced_costs_no_call_and_no_message() {
    under_load(End::Orderly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_costs_no_call_and_no_message() {
    under_load(End::Killed).await;
}
