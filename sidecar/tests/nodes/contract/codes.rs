//! Every code of PTP section 13.1 that this node raises or passes on: what raises it, on which way it is told.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};

use super::{
    OK,
    stage::{DISABLED, EXPIRED, MAX_BODY, Stage, UNREACHABLE, UNTRUSTED},
    ways::{Form, Want},
    wire::{Ask, Transport, Wire, frame},
};
use crate::harness::{A, B, Bank, Client, fill_disk, on_a_small_disk, over_tls, post};

fn push(target: &str) -> Ask {
    let ask = Ask::post("/v1/interconn/chan/push", r#"{"topic":"t","payload":"aGVsbG8="}"#);
    let ask = ask.header("content-type", "application/json");
    if target.is_empty() { ask } else { ask.header("x-ptp-target-node-id", target) }
}

/// A pop at B, which answers at once, as the session id tells it.
fn told(session: &str) -> Ask {
    let ask = Ask::post("/v1/interconn/chan/pop", r#"{"topic":"t","timeout":60000}"#);
    ask.header("x-ptp-target-node-id", B).header("x-ptp-session-id", session)
}

fn register(address: &str) -> Ask {
    let document = json!({
        "instance_id": "one", "name": "absent", "kind": "complex", "address": address, "timestamp": 300_000,
        "content": {"services": [{"urn": "/absent", "kind": "Restful", "proto": "http", "codec": "json"}]},
    });
    Ask::post("/v1/interconn/registry/register", document.to_string())
}

/// Code, what raises it, the request, the HTTP status.
fn raised() -> Vec<(&'static str, &'static str, Ask, u16)> {
    let invoke = |uri: &str, inner: &str| {
        let body = json!({ "payload": STANDARD.encode(inner) }).to_string();
        Ask::post("/v1/interconn/chan/invoke", body).header("x-ptp-uri", uri)
    };
    let environ = |document: &str| Ask::post("/v1/interconn/node/refresh", document.to_owned());
    vec![
        (OK, "a push", push(""), 200),
        ("E0000000400", "a member is missing", Ask::post("/v1/interconn/chan/push", r#"{"topic":"t"}"#), 200),
        ("E0000000400", "base64 is malformed", Ask::post("/v1/interconn/chan/push", r#"{"payload":"x"}"#), 200),
        ("E0000000400", "JSON is malformed", environ("{"), 200),
        (
            "E0000000400",
            "aliases contradict",
            environ(r#"{"node_id":"LX1","inst_id":"JG1","name":"a","inst_name":"b"}"#),
            200,
        ),
        ("E0000000404", "an inner operation that is none", invoke("/v1/interconn/chan/browse", "{}"), 200),
        ("E0000000404", "a path of nobody", Ask::get("/nothing"), 404),
        ("E0000000413", "a body above the limit", Ask::post("/v1/interconn/chan/push", vec![b' '; MAX_BODY + 1]), 200),
        ("E0000000520", "an answer without a code", told(""), 200),
        ("E0000000520", "an answer with another kind of code", told("136"), 200),
        ("E0000000600", "an inner body that is none", invoke("/v1/interconn/chan/pop", "{"), 200),
        ("E0000000600", "an answer that is no JSON", told("html"), 200),
        ("E0000000601", "a partner that does not answer", told("silent").header("x-ptp-timeout", "300"), 200),
        ("E0000000603", "a partner's chain does not hold", push(UNTRUSTED), 200),
        ("E0000000605", "an expired route", push(EXPIRED), 200),
        ("E0000000606", "a disabled route", push(DISABLED), 200),
        ("E0000000607", "no address accepts", push(UNREACHABLE).header("x-ptp-timeout", "1000"), 200),
        (
            "E0000000614",
            "another node than the configuration's",
            environ(r#"{"node_id":"LX1","inst_id":"JG1","name":"a"}"#),
            200,
        ),
        ("E0000000616", "a body in a coding", push("").header("content-encoding", "br"), 200),
        ("E0000000618", "a target of nobody", push("LX9"), 200),
        ("E0000000619", "an address that is none", register("IP:PORT"), 200),
        ("E0000000403", "the partner refuses us", told("403"), 200),
        // What a partner says is passed on, whether this node would ever say it.
        (OK, "FATE's bare 0", told("0"), 200),
        ("E0000000604", "a partner's code", told("E0000000604"), 200),
        ("E0000000609", "a partner's code", told("E0000000609"), 200),
        ("E0000000615", "a partner's code", told("E0000000615"), 200),
        ("E0000000623", "a partner's code", told("E0000000623"), 200),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_code_is_raised_where_it_applies() {
    each_code_is_raised_where_it_applies_at(&Stage::set().await).await;
}

pub(super) async fn each_code_is_raised_where_it_applies_at(stage: &Stage) {
    for transport in [Transport::Http1, Transport::H2c] {
        let mut wire = stage.wire(transport).await;
        for (code, why, ask, status) in raised() {
            let heard = wire.send(stage.node.data, ask).await;
            assert_eq!((heard.status, heard.json()["code"].as_str()), (status, Some(code)), "{transport:?}: {why}");
            let message = heard.json()["message"].as_str().unwrap().to_owned();
            assert!(!message.contains(['"', '\\']) && !message.chars().any(char::is_control), "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_ready_instance_is_503() {
    a_service_without_a_ready_instance_is_503_at(&Stage::set().await).await;
}

pub(super) async fn a_service_without_a_ready_instance_is_503_at(stage: &Stage) {
    assert_eq!(stage.ask(register("127.0.0.1:1")).await.json()["code"], OK);
    let heard = stage.ask(Ask::get("/absent/x")).await;
    assert_eq!((heard.status, heard.json()["code"].as_str()), (503, Some("E0000000602")));
}

/// The store has pages in reserve, so a few changes may still fit.
const CHANGES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_code_of_its_own_is_500_on_every_way() {
    let node = on_a_small_disk("3m", "transport: {}\n").await;
    let root = node.become_node(A).await;
    fill_disk(&node);
    let route = |n: usize| json!({"node_id": format!("LX{n}"), "inst_id": "JG1", "address": node.data.to_string(), "guest_root": root});
    let pair = Bank::new(B).leaf;
    for transport in [Transport::Http1, Transport::H2c] {
        let mut wire = Wire::open(transport, node.data, &pair).await;
        let mut codes = Vec::new();
        for n in 0..CHANGES {
            let heard = wire.send(node.data, Ask::post("/v1/interconn/net/refresh", route(n).to_string())).await;
            assert_eq!(heard.status, 200);
            codes.push(heard.json()["code"].as_str().unwrap().to_owned());
            if codes.last().is_some_and(|code| code != OK) {
                break;
            }
        }
        assert_eq!(codes.last().map(String::as_str), Some("E0000000500"), "{transport:?}");
    }
    let arguments = json!({"routes": [route(CHANGES)]}).to_string();
    let http = Ask::post("/mesh/invoke", arguments.clone()).header("mesh-urn", "mesh.net.refresh");
    let grpc = Ask::post("/mesh-rpc/v1", frame(arguments.as_bytes())).header("mesh-urn", "mesh.net.refresh");
    let mut wire = Wire::open(Transport::H2c, node.data, &pair).await;
    assert_eq!(wire.send(node.data, http).await.json()["code"], "E0000000500");
    let said = wire.send(node.data, grpc.header("content-type", "application/grpc")).await.message();
    assert_eq!(serde_json::from_slice::<Value>(&said).unwrap()["code"], "E0000000500");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_partner_is_told_so_in_its_own_encoding() {
    who_is_no_partner_is_told_so_in_its_own_encoding_at(&Stage::set().await).await;
}

pub(super) async fn who_is_no_partner_is_told_so_in_its_own_encoding_at(stage: &Stage) {
    let no_certificate = async |request| over_tls(stage.node.data, Client::Nothing, request).await;
    let json = no_certificate(post("/v1/interconn/chan/push", &[], "{}")).await;
    assert_eq!((json.status.as_u16(), json.code().as_str()), (200, "E0000000403"));
    let mut kuscia = post("/v1/interconn/chan/pop", &[], "");
    kuscia.headers_mut().insert("content-type", "application/proto".parse().unwrap());
    assert_eq!(&no_certificate(kuscia).await.body[..13], b"\x12\x0bE0000000403");
    let registered = no_certificate(post("/absent", &[], "{}")).await;
    assert_eq!((registered.status.as_u16(), registered.text().as_str()), (403, "对方节点已禁用网络"));
    // A partner that speaks for somebody else.
    let foreign = push("").header("x-ptp-source-node-id", "LX9").method(Method::POST);
    let heard = stage.wire(Transport::TlsH2).await.send(stage.node.data, foreign).await;
    assert_eq!(heard.json()["code"], "E0000000403");
    // Or for another institution, by any of its names.
    for name in ["x-ptp-source-inst-id", "x-ptp-from-inst-id", "mesh-from-inst-id", "mesh-source-inst-id"] {
        let mut wire = stage.wire(Transport::TlsH2).await;
        for (inst, code) in [("JG9", "E0000000403"), ("jg0100002700000000", OK)] {
            let peek = Form::InvokeJson.request(Want::Peek, "s", "t", &[(name, inst)]);
            assert_eq!(wire.send(stage.node.data, peek).await.json()["code"], code, "{name}: {inst}");
        }
    }
}
