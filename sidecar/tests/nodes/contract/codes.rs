//! Every code of PTP section 13.1 that this node raises or passes on: what raises it, on which way it is told.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};

use super::{
    OK,
    stage::{DISABLED, EXPIRED, MAX_BODY, Stage, UNREACHABLE, UNTRUSTED},
    wire::{Ask, Heard, Transport, frame},
};
use crate::harness::{A, B, Client, over_tls, post};

fn push(target: &str) -> Ask {
    let ask = Ask::post("/v1/interconn/chan/push", r#"{"topic":"t","payload":"aGVsbG8="}"#);
    let ask = ask.header("content-type", "application/json").header("x-ptp-timeout", "100");
    if target.is_empty() { ask } else { ask.header("x-ptp-target-node-id", target) }
}

/// A pop at B, which answers as the session id tells it.
fn told(session: &str) -> Ask {
    let ask = Ask::post("/v1/interconn/chan/pop", r#"{"topic":"t","timeout":200}"#);
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
        ("E0000000601", "a partner that does not answer", told("silent"), 200),
        ("E0000000603", "a partner's chain does not hold", push(UNTRUSTED), 200),
        ("E0000000605", "an expired route", push(EXPIRED), 200),
        ("E0000000606", "a disabled route", push(DISABLED), 200),
        ("E0000000607", "no address accepts", push(UNREACHABLE), 200),
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
    let stage = Stage::set().await;
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
    let stage = Stage::set().await;
    assert_eq!(stage.ask(register("127.0.0.1:1")).await.json()["code"], OK);
    let heard = stage.ask(Ask::get("/absent/x")).await;
    assert_eq!((heard.status, heard.json()["code"].as_str()), (503, Some("E0000000602")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_the_partner_is_passed_on_as_it_came() {
    let stage = Stage::set().await;
    let heard = stage.ask(told("502")).await;
    assert_eq!((heard.status, &heard.body[..]), (502, &b"bad gateway"[..]));
}

/// What B saw of a call.
fn seen(heard: &Heard) -> Value {
    serde_json::from_slice(&STANDARD.decode(heard.json()["payload"].as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_says_who_we_are_and_what_the_call_left_open() {
    let stage = Stage::set().await;
    let seen_by = |ask: Ask| async { seen(&stage.ask(ask).await)["headers"].clone() };
    let headers =
        seen_by(told("seen").header("x-ptp-token", "secret").header("x-ptp-source-node-id", "somebody")).await;
    assert_eq!(headers["x-ptp-uri"], "https://ptp.cn/v1/interconn/chan/pop");
    assert_eq!((&headers["x-ptp-source-node-id"], &headers["x-ptp-target-node-id"]), (&json!(A), &json!(B)));
    assert_eq!((&headers["x-ptp-version"], &headers["x-ptp-token"]), (&json!("1.0.0"), &json!("secret")));
    let made = headers["x-ptp-trace-id"].as_str().unwrap();
    assert_eq!(made.len(), 32, "a trace id is made where there is none");
    let again = seen_by(told("seen").header("mesh-trace-id", "mine")).await;
    assert_eq!(again["x-ptp-trace-id"], "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_passed_here_more_than_five_times_is_503() {
    let stage = Stage::set().await;
    let headers = seen(&stage.ask(told("seen")).await)["headers"].clone();
    let own = headers["mesh-mdc"].as_str().unwrap().to_owned();
    let passed = |times: usize, ask: Ask| (0..times).fold(ask, |ask, _| ask.header("mesh-mdc", &own));
    assert_eq!(stage.ask(passed(5, told("seen"))).await.json()["code"], OK);
    let urn = format!("environ.net.mesh.0001{}.{}.trustbe.cn", "0".repeat(33), B.to_lowercase());
    let generic = Ask::post("/mesh/invoke", "{}").header("mesh-urn", &urn);
    for ask in [told("seen"), generic] {
        let heard = stage.ask(passed(6, ask)).await;
        assert_eq!((heard.status, heard.json()["code"].as_str()), (503, Some("E0000000503")));
    }
}

/// PTP section 8.4: the generic hop, in both carriers.
#[tokio::test(flavor = "multi_thread")]
async fn a_generic_call_for_a_partner_goes_on_as_it_is() {
    let stage = Stage::set().await;
    let urn = |label: &str| format!("edge.net.mesh.0001{}.{label}.trustbe.cn", "0".repeat(33));
    let arguments = br#"{"node_id":"LX1","attachments":{"x-ptp-session-id":"s"}}"#;
    let mut wire = stage.wire(Transport::H2c).await;
    let grpc = Ask::post("/mesh-rpc/v1", frame(arguments)).header("content-type", "application/grpc");
    let grpc = grpc.header("te", "trailers").header("grpc-timeout", "10S");
    let http = Ask::post("/mesh/invoke", &arguments[..]);
    let named = json!({"version": "1", "method": "mesh.net.edge", "content": serde_json::from_slice::<Value>(arguments).unwrap()});
    let by_node = |ask: &Ask| ask.clone().header("mesh-urn", &urn(&B.to_lowercase()));
    for (ask, path) in [
        (by_node(&grpc), "/mesh-rpc/v1"),
        (grpc.clone().header("mesh-urn", &urn("jg0100002700000000")), "/mesh-rpc/v1"),
        (grpc.clone().header("host", &urn(&B.to_lowercase())), "/mesh-rpc/v1"),
        (grpc.header("mesh-urn", "mesh.net.edge").header("x-ptp-target-node-id", B), "/mesh-rpc/v1"),
        (by_node(&http), "/mesh/invoke"),
        (Ask::post("/mesh/invoke", named.to_string()).header("x-ptp-target-node-id", B), "/mesh/invoke"),
    ] {
        let is_grpc = path == "/mesh-rpc/v1";
        let heard = wire.send(stage.node.data, ask.header("x-ptp-source-node-id", "somebody")).await;
        let said: Value = if is_grpc { serde_json::from_slice(&heard.message()).unwrap() } else { heard.json() };
        assert_eq!((&said["code"], &said["message"]), (&json!(OK), &json!("there")));
        let (seen, body) = (&said["content"], if is_grpc { frame(arguments) } else { arguments.to_vec() });
        assert_eq!((&seen["path"], &seen["body"]), (&json!(path), &json!(STANDARD.encode(body))));
        assert_eq!(seen["headers"]["x-ptp-source-node-id"], A, "whoever the application says it is");
        assert!(seen["headers"]["mesh-urn"].as_str().unwrap().contains("edge"));
        assert_eq!(seen["headers"]["x-ptp-trace-id"].as_str().unwrap().len(), 32);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_partner_is_told_so_in_its_own_encoding() {
    let stage = Stage::set().await;
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
}
