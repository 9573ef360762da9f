//! Weaving between two nodes: one offers itself, the other says yes, and nothing flows before (PTP section 11.3).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use prost::Message as _;
use proto::ptp::{Inbound, Outbound};
use serde_json::{Value, json};

use super::OK;
use crate::{
    harness::{A, B, Bank, Client, Node, leaf, over_tls, post},
    services::mesh,
};

const C: &str = "LX0000010000260";

/// A knows B, and B knows nobody. The roots of both.
async fn strangers() -> (Node, Node, String, String) {
    let (a, b) = (Node::start().await, Node::start().await);
    let (root_a, root_b) = (a.become_node(A).await, b.become_node(B).await);
    // Where partners dial A.
    let document = json!({"node_id": A, "inst_id": "JG0100002800000000", "name": "A", "address": a.data.to_string()});
    assert_eq!(a.post("/v1/interconn/node/refresh", &[], &document).await.code(), OK);
    assert_eq!(a.trust(B, b.data, &root_b).await, OK);
    (a, b, root_a, root_b)
}

pub(super) async fn edge(node: &Node, of: &str) -> Value {
    node.mpi("mesh.net.edge", &json!({"node_id": of})).await
}

pub(super) async fn net(node: &Node, call: &str, document: &Value) -> (String, String) {
    let answer = node.post(&format!("/v1/interconn/net/{call}"), &[], document).await;
    if answer.code() == OK {
        // PTP section 3.4: without data.
        assert_eq!(answer.json(), json!({"code": OK, "message": "请求成功"}), "{call}");
    }
    (answer.code(), answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weave_waits_for_an_ack_and_then_calls_go_both_ways_also_after_kill_9() {
    let (mut a, mut b, root_a, root_b) = strangers().await;
    let offer = json!({"node_id": B, "inst_id": "JG0100002700000000", "auth_code": "blue whale"});
    assert_eq!(net(&a, "weave", &offer).await, (OK.to_owned(), "请求成功".to_owned()));
    let offered = edge(&a, B).await;
    assert_eq!((&offered["status"], &offered["auth_code"]), (&json!(16 | 128), &json!("blue whale")));
    b.kill_and_restart().await;
    let waiting = edge(&b, A).await;
    assert_eq!((&waiting["status"], &waiting["auth_code"]), (&json!(128), &json!("blue whale")));
    assert_eq!(waiting["address"], a.data.to_string());
    assert_eq!(waiting["guest_root"].as_str().unwrap().trim(), root_a.trim());
    assert!(waiting["guest_crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    assert_eq!(a.push(Some(B), "t", "too early").await, "E0000000403", "nobody said yes yet");
    assert_eq!(b.push(Some(A), "t", "too early").await, "E0000000618", "a party that waits is no route");

    // The manual's own document, with its comma.
    let ack =
        post("/v1/interconn/net/ack", &[], format!("{{\"node_id\": \"{A}\", \"inst_id\": \"JG0100002800000000\",}}"));
    assert_eq!(b.send(ack).await.code(), OK);
    for (node, partner, other) in [(&a, B, "b"), (&b, A, "a")] {
        let woven = edge(node, partner).await;
        assert_eq!(woven["status"].as_i64().unwrap() & (2 | 128), 2, "{woven}");
        assert!(woven["guest_crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"), "the pair that {other} issued");
    }
    a.kill_and_restart().await;
    b.kill_and_restart().await;
    assert_eq!(a.push(Some(B), "t", "to b").await, OK);
    assert_eq!(b.pop("t").await.as_deref(), Some("to b"));
    assert_eq!(b.push(Some(A), "t", "to a").await, OK);
    assert_eq!(a.pop("t").await.as_deref(), Some("to a"));
    for node in [&a, &b] {
        let shown = node.mpi("mesh.net.edges", &json!({})).await.to_string();
        assert!(!shown.contains("PRIVATE KEY") && !shown.contains("_key"), "{shown}");
    }
    assert_ne!(root_a, root_b);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_can_be_turned_down_and_offered_again() {
    let (a, b, ..) = strangers().await;
    let offer = json!({"node_id": B});
    assert_eq!(net(&a, "weave", &offer).await.0, OK);
    let code = edge(&a, B).await["auth_code"].as_str().unwrap().to_owned();
    assert_eq!(code.len(), 8, "a code is made where none is given");
    assert_eq!(edge(&b, A).await["auth_code"], code);
    b.mpi("mesh.net.disband", &json!({"node_ids": [A]})).await;
    assert_eq!(b.mpi("mesh.net.edges", &json!({})).await, json!([]));
    assert_eq!(net(&b, "ack", &json!({"node_id": A})).await.0, "E0000000618");
    assert_eq!(net(&a, "weave", &offer).await.0, OK);
    assert_eq!(edge(&b, A).await["auth_code"], code, "the same code as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_names_the_root_is_a_consent_and_one_that_names_none_is_not() {
    let (a, b, root_a, _) = strangers().await;
    assert_eq!(net(&a, "weave", &json!({"node_id": B})).await.0, OK);
    let document = json!({"node_id": A, "inst_id": "JG0100002800000000", "address": a.data.to_string()});
    assert_eq!(net(&b, "refresh", &document).await.0, OK);
    let shown = edge(&b, A).await;
    assert_eq!((&shown["status"].as_i64().unwrap() & 128, &shown["guest_root"]), (128, &json!("")));
    assert_eq!(shown["asked"]["host_root"].as_str().unwrap().trim(), root_a.trim());
    assert_eq!(a.push(Some(B), "t", "too early").await, "E0000000403");
    assert_eq!(b.trust(A, a.data, &root_a).await, OK);
    let shown = edge(&b, A).await;
    assert_eq!(shown["status"].as_i64().unwrap() & 128, 0);
    assert!(shown["guest_crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"), "its pair came with it");
    assert_eq!(a.push(Some(B), "t", "now").await, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_weave_and_ack_has_its_code() {
    let (a, b, _, root_b) = strangers().await;
    let table = [
        ("weave", json!({}), "E0000000400"),
        ("weave", json!({"node_id": A}), "E0000000400"),
        ("weave", json!({"node_id": "no such/id"}), "E0000000618"),
        ("weave", json!({"node_id": C}), "E0000000618"),
        ("weave", json!({"node_id": C, "inst_id": "JG1", "address": "b"}), "E0000000619"),
        (
            "weave",
            json!({"node_id": C, "inst_id": "JG1", "address": "127.0.0.1:1", "guest_root": root_b}),
            "E0000000607",
        ),
        // Nobody could prove to be it: the key does not leave.
        ("weave", json!({"node_id": C, "inst_id": "JG1", "address": b.data.to_string()}), "E0000000603"),
        ("refresh", json!({"node_id": C, "inst_id": "JG1", "address": "127.0.0.1:1?k=1"}), "E0000000614"),
        ("refresh", json!({"node_id": C, "inst_id": "JG1", "address": "127.0.0.1:1?p=x"}), "E0000000619"),
        ("refresh", json!({"node_id": C, "inst_id": "JG1", "address": "127.0.0.1:1", "proxy": "x"}), "E0000000619"),
        ("refresh", json!({"node_id": C, "inst_id": "JG1", "address": "127.0.0.1:1", "static_ip": "x"}), "E0000000619"),
        ("refresh", json!({"node_id": C, "inst_id": "JG1", "address": "127.0.0.1:1", "status": 4096}), "E0000000400"),
        (
            "refresh",
            json!({"node_id": C, "inst_id": "JG1", "address": "1:1,2:1,3:1,4:1,5:1,6:1,7:1,8:1,9:1"}),
            "E0000000619",
        ),
        ("ack", json!({}), "E0000000400"),
        ("ack", json!({"node_id": A}), "E0000000400"),
        ("ack", json!({"node_id": "LX9"}), "E0000000618"),
    ];
    for (call, document, code) in table {
        let (found, message) = net(&a, call, &document).await;
        assert_eq!(found, code, "{call} {document}: {message}");
    }
}

/// The weave of a party that nobody knows, as it sends it.
fn offer(bank: &Bank) -> Value {
    let pair = leaf(&bank.root, B);
    json!({
        "node_id": bank.node_id, "inst_id": "JG1", "name": "C", "address": "127.0.0.1:1", "auth_code": "green heron",
        "host_root": bank.root.certificate_pem(), "host_crt": pair.chain_pem, "host_key": pair.key.expose(),
    })
}

pub(super) fn with(mut document: Value, member: &str, value: Value) -> Value {
    document[member] = value;
    document
}

fn by_mpi(route: &Value) -> Request<Full<Bytes>> {
    let urn = format!("weave.net.mesh.0001{}.{}.trustbe.cn", "0".repeat(33), B.to_lowercase());
    let arguments = json!({"route": route, "attachments": {"mesh.net.weave": "guest"}});
    post("/mesh/invoke", &[("mesh-urn", &urn)], arguments.to_string())
}

fn wrapped(route: &Value) -> Request<Full<Bytes>> {
    let body = json!({"metadata": {}, "payload": STANDARD.encode(route.to_string())});
    let uri = ("x-ptp-uri", "https://ptp.cn/v1/interconn/net/weave");
    post("/v1/interconn/chan/invoke", &[uri], body.to_string())
}

fn wrapped_protobuf(route: &Value) -> Request<Full<Bytes>> {
    let inbound = Inbound { payload: route.to_string().into(), ..Inbound::default() };
    let mut request =
        post("/v1/interconn/chan/invoke", &[("x-ptp-uri", "/v1/interconn/net/weave")], inbound.encode_to_vec());
    request.headers_mut().insert("content-type", "application/x-protobuf".parse().unwrap());
    request
}

fn by_grpc(route: &Value) -> Request<Full<Bytes>> {
    let arguments = json!({ "route": route }).to_string();
    let length = u32::try_from(arguments.len()).unwrap().to_be_bytes();
    let mut request =
        post("/mesh-rpc/v1", &[("mesh-urn", "mesh.net.weave")], [&[0][..], &length, arguments.as_bytes()].concat());
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request
}

fn by_path(route: &Value) -> Request<Full<Bytes>> {
    post("/v1/interconn/net/weave", &[], route.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_weave_waits_whichever_way_it_comes_and_opens_nothing_else() {
    let b = Node::start().await;
    b.become_node(B).await;
    let c = Bank::new(C);
    type Ask = fn(&Value) -> Request<Full<Bytes>>;
    let ways: [(&str, Ask); 5] =
        [("path", by_path), ("MPI", by_mpi), ("invoke", wrapped), ("protobuf", wrapped_protobuf), ("gRPC", by_grpc)];
    for client in [Client::Nothing, Client::Pair(&c.leaf)] {
        for (way, request) in ways {
            let answer = over_tls(b.data, client, request(&offer(&c))).await;
            let code = match way {
                "protobuf" => Outbound::decode(answer.body.clone()).unwrap().code,
                "gRPC" => serde_json::from_slice::<Value>(&answer.body[5..]).unwrap()["code"].as_str().unwrap().into(),
                _ => answer.code(),
            };
            assert_eq!(code, OK, "{way}: {}", answer.text());
            assert_eq!(edge(&b, C).await["status"], 128, "{way}");
            b.mpi("mesh.net.disband", &json!({"node_ids": [C]})).await;
        }
        // Nothing else is open to it.
        for (path, headers) in [
            ("/v1/interconn/net/ack", vec![]),
            ("/v1/interconn/net/refresh", vec![]),
            ("/v1/interconn/node/refresh", vec![]),
            ("/v1/interconn/chan/push", vec![]),
            ("/v1/interconn/chan/invoke", vec![("x-ptp-uri", "/v1/interconn/net/ack")]),
            ("/v1/interconn/chan/invoke", vec![("x-ptp-uri", "/v1/interconn/chan/push")]),
            ("/mesh/invoke", vec![("mesh-urn", "mesh.net.environ")]),
            ("/mesh/invoke", vec![("mesh-urn", "mesh.net.ack")]),
            ("/mesh/invoke", vec![]),
        ] {
            let answer = over_tls(b.data, client, post(path, &headers, offer(&c).to_string())).await;
            assert_eq!(answer.code(), "E0000000403", "{path} {headers:?}");
        }
    }
    assert_eq!(b.mpi("mesh.net.edges", &json!({})).await, json!([]));
}

/// PTP section 14 and decision D13: `MESH_MDC` is what the other side is to dial, in that order.
#[tokio::test(flavor = "multi_thread")]
async fn a_weave_names_the_addresses_of_all_data_centres() {
    let a = Node::with(&[("MESH_MDC", "m1.example,m2.example:7304")]).await;
    let b = Node::start().await;
    a.become_node(A).await;
    let root_b = b.become_node(B).await;
    assert_eq!(a.trust(B, b.data, &root_b).await, OK);
    assert_eq!(net(&a, "weave", &json!({"node_id": B})).await.0, OK);
    assert_eq!(edge(&b, A).await["address"], "m1.example:7304,m2.example:7304");
}

/// PTP sections 8.3 and 13.1: a target counts for these as for every other call, and an `Inbound` that is none is a bad request.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_weave_or_ack_ends_where_its_target_says_or_nowhere() {
    let (b, a, c) = (Node::start().await, Bank::new(A), Bank::new(C));
    b.become_node(B).await;
    for bank in [&a, &c] {
        let closed = "127.0.0.1:1".parse().unwrap();
        assert_eq!(b.trust(bank.node_id, closed, bank.root.certificate_pem()).await, OK);
    }
    for call in ["weave", "ack"] {
        let uri = format!("/v1/interconn/net/{call}");
        let body = json!({"payload": STANDARD.encode(json!({"node_id": A}).to_string())}).to_string();
        for (target, code) in [(C, "E0000000614"), ("LX9", "E0000000618")] {
            let headers = [("x-ptp-uri", uri.as_str()), ("x-ptp-target-node-id", target)];
            let request = || post("/v1/interconn/chan/invoke", &headers, body.clone());
            assert_eq!(over_tls(b.data, Client::Pair(&a.leaf), request()).await.code(), code, "{call}, a partner");
            assert_eq!(b.send(request()).await.code(), code, "{call}, an application");
            let nobody = over_tls(b.data, Client::Nothing, request()).await.code();
            assert_eq!(nobody, "E0000000403", "{call}, a stranger");
        }
        for (media, broken) in [
            ("application/json", "{"),
            ("application/json", "{\"payload\":\"?\"}"),
            ("Application/X-Protobuf", "\u{7f}x"),
        ] {
            let mut request = post("/v1/interconn/chan/invoke", &[("x-ptp-uri", &uri)], broken);
            request.headers_mut().insert("content-type", media.parse().unwrap());
            let heard = over_tls(b.data, Client::Pair(&a.leaf), request).await;
            assert!(heard.text().contains("E0000000400"), "{call} {broken}: {}", heard.text());
            let is_protobuf = media.ends_with("Protobuf");
            assert_eq!(heard.headers["content-type"] == "application/x-protobuf", is_protobuf, "{call} {broken}");
        }
    }
    // Its own id is a target like none; then, and as protobuf, the call is served.
    let own = [("x-ptp-uri", "/v1/interconn/net/ack"), ("x-ptp-target-node-id", B)];
    let document = json!({"node_id": A}).to_string();
    let request = post("/v1/interconn/chan/invoke", &own, json!({"payload": STANDARD.encode(&document)}).to_string());
    let heard = over_tls(b.data, Client::Pair(&a.leaf), request).await;
    assert_eq!(heard.json(), json!({"code": OK, "message": "请求成功"}));
    assert_eq!(edge(&b, A).await["status"].as_i64().unwrap() & 2, 2);
    let inbound = Inbound { payload: document.into(), ..Inbound::default() }.encode_to_vec();
    let mut request = post("/v1/interconn/chan/transport", &own, inbound);
    request.headers_mut().insert("content-type", "application/x-protobuf".parse().unwrap());
    let heard = over_tls(b.data, Client::Pair(&a.leaf), request).await;
    assert_eq!(heard.headers["content-type"], "application/x-protobuf");
    assert_eq!(Outbound::decode(heard.body).unwrap().code, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_offer_of_a_stranger_has_its_code_and_leaves_nothing_behind() {
    let (b, root_a) = (Node::start().await, Bank::new(A));
    b.become_node(B).await;
    assert_eq!(b.trust(A, "127.0.0.1:1".parse().unwrap(), root_a.root.certificate_pem()).await, OK);
    let (c, other) = (Bank::new(C), Bank::new(C));
    let good = offer(&c);
    let for_another = leaf(&c.root, "LX7777777777777");
    let table = [
        ("no code", with(good.clone(), "auth_code", json!("")), "E0000000400"),
        ("no id", with(good.clone(), "node_id", json!("")), "E0000000400"),
        ("the SDKs' placeholder", with(good.clone(), "node_id", json!("LX0000000000000")), "E0000000400"),
        ("an id that is no label", with(good.clone(), "node_id", json!("../etc")), "E0000000400"),
        ("our own id", with(good.clone(), "node_id", json!(B)), "E0000000403"),
        ("an id with a route of its own", with(good.clone(), "node_id", json!(A)), "E0000000403"),
        ("an address that is none", with(good.clone(), "address", json!("http://b:1")), "E0000000619"),
        ("a root that is no PEM", with(good.clone(), "host_root", json!("x")), "E0000000400"),
        ("half a pair", with(good.clone(), "host_key", json!("")), "E0000000603"),
        ("somebody else's key", with(good.clone(), "host_key", json!(other.leaf.key.expose())), "E0000000603"),
        ("a pair of another root", with(good.clone(), "host_root", json!(other.root.certificate_pem())), "E0000000603"),
        (
            "a pair for somebody else",
            with(
                with(good.clone(), "host_crt", json!(for_another.chain_pem)),
                "host_key",
                json!(for_another.key.expose()),
            ),
            "E0000000603",
        ),
        ("a name without end", with(good.clone(), "name", json!("x".repeat(1000))), "E0000000400"),
        ("more than fits", with(good.clone(), "host_root", json!("x".repeat(200_000))), "E0000000413"),
        ("a list", json!([]), "E0000000400"),
    ];
    for (why, document, code) in table {
        let answer = over_tls(b.data, Client::Nothing, by_path(&document)).await;
        assert_eq!(answer.code(), code, "{why}: {}", answer.text());
        assert!(!answer.text().contains("MII"), "{why}: nothing is echoed");
    }
    assert_eq!(b.mpi("mesh.net.edges", &json!({})).await.as_array().unwrap().len(), 1);
    // Who came first is not pushed aside.
    assert_eq!(over_tls(b.data, Client::Nothing, by_path(&good)).await.code(), OK);
    let second = over_tls(b.data, Client::Nothing, by_path(&offer(&other))).await;
    assert_eq!(second.code(), "E0000000614", "{}", second.text());
    assert_eq!(edge(&b, C).await["guest_root"].as_str().unwrap().trim(), c.root.certificate_pem().trim());
}

/// A party weaves in the name of a route without roots: whoever says yes has seen whom that trusts, or turns it down alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_weave_beside_a_route_is_shown_with_its_root_and_turned_down_alone() {
    let (b, c) = (Node::start().await, Bank::new(C));
    b.become_node(B).await;
    let known = json!({"node_id": C, "inst_id": "JG1", "address": "127.0.0.1:1", "auth_code": "ours"});
    assert_eq!(net(&b, "refresh", &known).await.0, OK);
    let before = edge(&b, C).await;
    let second = Bank::new(C);
    let both = [c.root.certificate_pem(), second.root.certificate_pem()].concat();
    let asks = with(with(offer(&c), "host_root", json!(both)), "address", json!("c.example:7304"));
    assert_eq!(over_tls(b.data, Client::Nothing, by_path(&asks)).await.code(), OK);
    let prints =
        [&c, &second].map(|bank| mesh_pki::CertificateInfo::from_pem(bank.root.certificate_pem()).unwrap().sha256);
    let shown = edge(&b, C).await;
    assert_eq!(b.mpi("mesh.net.edges", &json!({})).await, json!([shown]));
    assert_eq!((&shown["status"], &shown["auth_code"]), (&json!(128), &json!("ours")));
    let mut asked = shown["asked"].clone();
    assert!(asked["at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{asked}");
    asked["at"] = json!(0);
    let said = json!({"inst_id": "JG1", "name": "C", "address": "c.example:7304", "auth_code": "green heron",
        "host_root": both.trim(), "sha256": prints, "at": 0});
    assert_eq!(asked, said);
    let text = String::from_utf8(mesh(&b, &["route", "ls"]).stdout).unwrap();
    let line = format!("code green heron, address c.example:7304, root sha256 {}, {}\n", prints[0], prints[1]);
    assert!(text.contains(&line), "{text}");
    // To read it and to give it back says nothing about whoever waits.
    assert_eq!(net(&b, "refresh", &shown).await.0, OK);
    assert_eq!(edge(&b, C).await["asked"]["auth_code"], "green heron");
    assert!(mesh(&b, &["route", "rm", C, "--weave"]).status.success());
    assert_eq!(edge(&b, C).await, before, "the route is as it was");
    let again = b.post("/mesh/invoke", &[("mesh-urn", "interconn.net.decline")], &json!({"node_id": C})).await;
    assert_eq!(again.code(), "E0000000618", "{}", again.text());
}

/// Whoever comes first under a name is not let in, and gives nothing, by a yes to the route of the real one.
#[tokio::test(flavor = "multi_thread")]
async fn an_ack_of_a_route_with_roots_takes_nothing_from_a_party_of_another_root() {
    let (b, real, foreign) = (Node::start().await, Bank::new(C), Bank::new(C));
    b.become_node(B).await;
    let (mine, theirs) = (real.root.certificate_pem(), foreign.root.certificate_pem());
    // Its root alone, and behind the real one.
    for root in [theirs.to_owned(), [mine, theirs].concat()] {
        let asks = with(offer(&foreign), "host_root", json!(root));
        assert_eq!(over_tls(b.data, Client::Nothing, by_path(&asks)).await.code(), OK);
        assert_eq!(b.trust(C, "127.0.0.1:1".parse().unwrap(), mine).await, OK);
        let before = edge(&b, C).await;
        assert_eq!((&before["guest_crt"], &before["asked"]["host_root"]), (&json!(""), &json!(root.trim())));
        let (code, message) = net(&b, "ack", &json!({"node_id": C})).await;
        assert_eq!(code, "E0000000614", "{message}");
        assert!(message.contains("--weave"), "{message}");
        assert_eq!(edge(&b, C).await, before);
        b.mpi("mesh.net.disband", &json!({"node_ids": [C]})).await;
    }
    // One that names no root: its pair is taken where the route's roots vouch for it.
    for (bank, is_taken) in [(&foreign, false), (&real, true)] {
        assert_eq!(
            over_tls(b.data, Client::Nothing, by_path(&with(offer(bank), "host_root", json!("")))).await.code(),
            OK
        );
        assert_eq!(b.trust(C, "127.0.0.1:1".parse().unwrap(), mine).await, OK);
        assert_eq!(net(&b, "ack", &json!({"node_id": C})).await.0, "E0000000607", "nobody is there to be told");
        let woven = edge(&b, C).await;
        assert_eq!(woven["guest_crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"), is_taken);
        assert_eq!((woven["status"].as_i64().unwrap() & (2 | 128), woven.get("asked")), (2, None));
        b.mpi("mesh.net.disband", &json!({"node_ids": [C]})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_weaves_is_bounded_and_holds_up_nobody() {
    let b = Node::start().await;
    b.become_node(B).await;
    let (mut taken, mut refused) = (0, 0);
    for batch in 0..2 {
        let offers = (0..100).map(|n| {
            let document = json!({"node_id": format!("N{batch}X{n}"), "auth_code": "x"});
            async move { over_tls(b.data, Client::Nothing, by_path(&document)).await.code() }
        });
        for code in futures::future::join_all(offers).await {
            match code.as_str() {
                OK => taken += 1,
                "E0000000700" => refused += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!(b.push(None, "t", "served").await, OK);
    }
    assert!(taken < 200 && refused > 0, "{taken} taken, {refused} refused");
    assert_eq!(b.mpi("mesh.net.edges", &json!({})).await.as_array().unwrap().len(), taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_weaves_without_end_is_bounded_and_another_is_not() {
    let (b, first, second) = (Node::start().await, Bank::new(A), Bank::new(C));
    b.become_node(B).await;
    for (bank, id) in [(&first, A), (&second, C)] {
        assert_eq!(b.trust(id, "127.0.0.1:1".parse().unwrap(), bank.root.certificate_pem()).await, OK);
    }
    let says = async |bank: &Bank, id: &str| {
        let document = json!({"node_id": id, "auth_code": "x"});
        over_tls(b.data, Client::Pair(&bank.leaf), by_path(&document)).await.code()
    };
    let mut codes = Vec::new();
    for _ in 0..100 {
        codes.push(says(&first, A).await);
    }
    assert!(codes[..10].iter().all(|code| code == OK), "{codes:?}");
    assert!(codes.iter().any(|code| code == "E0000000700"), "{codes:?}");
    assert_eq!(says(&second, C).await, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_weaves_for_itself_only_and_its_roots_stay() {
    let (a, b) = crate::exchange::two().await;
    let before = edge(&b, A).await;
    assert_eq!(net(&a, "weave", &json!({"node_id": B, "auth_code": "x"})).await.0, OK);
    let after = edge(&b, A).await;
    assert!(after["guest_crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"), "{after}");
    assert_eq!((&after["guest_root"], &after["address"]), (&before["guest_root"], &before["address"]));
    assert_eq!(net(&b, "ack", &json!({"node_id": A})).await.0, OK);
    assert_eq!(edge(&a, B).await["status"].as_i64().unwrap() & 2, 2);
    assert_eq!(a.push(Some(B), "t", "by the pair that b issued").await, OK);
    assert_eq!(b.push(Some(A), "t", "by the pair that a issued").await, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_certificate_with_a_foreign_node_id_is_refused() {
    let (b, bank) = (Node::start().await, Bank::new(A));
    b.become_node(B).await;
    assert_eq!(b.trust(A, "127.0.0.1:1".parse().unwrap(), bank.root.certificate_pem()).await, OK);
    for call in ["weave", "ack"] {
        let document = with(offer(&Bank::new(C)), "node_id", json!(C)).to_string();
        let request = post(&format!("/v1/interconn/net/{call}"), &[], document);
        let answer = over_tls(b.data, Client::Pair(&bank.leaf), request).await;
        assert_eq!(answer.code(), "E0000000403", "{call}: {}", answer.text());
        let request = post(&format!("/v1/interconn/net/{call}"), &[("x-ptp-source-node-id", C)], "{}");
        assert_eq!(over_tls(b.data, Client::Pair(&bank.leaf), request).await.code(), "E0000000403");
    }
}
