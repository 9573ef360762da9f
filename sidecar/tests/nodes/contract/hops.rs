//! What a partner sees of a call that is passed on, and what becomes of its answer (PTP sections 4.3, 8.3, 8.4 and 11.5).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;
use proto::ptp::{Inbound, Outbound, PopInbound, PushInbound};
use serde_json::{Value, json};

use super::{
    OK,
    rows::{self, with},
    stage::{MISNAMED, Stage, UNTRUSTED},
    ways::{Form, Want},
    wire::{Ask, Heard, Transport, frame},
};
use crate::harness::{A, B};

/// B's institution, as its route says.
const INSTITUTION: &str = "JG0100002700000000";
const TO_B: (&str, &str) = ("x-ptp-target-node-id", B);

/// A pop at B, which answers at once, as the session id tells it.
fn told(session: &str) -> Ask {
    let ask = rows::json("pop", &json!({"topic": "t", "timeout": 60_000}));
    with(ask, &[TO_B, ("x-ptp-session-id", session)])
}

/// What B saw of a call.
fn seen(heard: &Heard) -> Value {
    shown(&STANDARD.decode(heard.json()["payload"].as_str().unwrap()).unwrap())
}

fn shown(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

/// The body that B saw.
fn body_of(seen: &Value) -> Vec<u8> {
    STANDARD.decode(seen["body"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_says_who_we_are_and_what_the_call_left_open() {
    a_hop_says_who_we_are_and_what_the_call_left_open_at(&Stage::set().await).await;
}

pub(super) async fn a_hop_says_who_we_are_and_what_the_call_left_open_at(stage: &Stage) {
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
    let old = seen_by(told("seen").header("mesh-token", "old").header("mesh-version", "0.9")).await;
    assert_eq!((&old["x-ptp-token"], &old["x-ptp-version"]), (&json!("old"), &json!("0.9")), "under one name");
    let waits: u64 = old["x-ptp-timeout"].as_str().unwrap().parse().unwrap();
    assert!((1..60_000).contains(&waits), "less than the caller waits: {waits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_institution_names_its_node() {
    a_target_institution_names_its_node_at(&Stage::set().await).await;
}

pub(super) async fn a_target_institution_names_its_node_at(stage: &Stage) {
    for name in ["x-ptp-target-inst-id", "mesh-target-inst-id"] {
        let ask = rows::json("pop", &json!({"topic": "t", "timeout": 60_000}));
        let ask = ask.header(name, &INSTITUTION.to_lowercase()).header("x-ptp-session-id", "seen");
        assert_eq!(seen(&stage.ask(ask).await)["path"], "/v1/interconn/chan/invoke", "{name}");
    }
}

/// PTP section 8.4: the inner body in the caller's encoding; a push of Kuscia's, and what comes by gRPC, in protobuf.
#[tokio::test(flavor = "multi_thread")]
async fn a_hop_is_in_the_callers_encoding_and_always_in_the_published_dialect() {
    a_hop_is_in_the_callers_encoding_and_always_in_the_published_dialect_at(&Stage::set().await).await;
}

pub(super) async fn a_hop_is_in_the_callers_encoding_and_always_in_the_published_dialect_at(stage: &Stage) {
    let mut wire = stage.wire(Transport::H2c).await;
    for (form, media) in [
        (Form::Json, "application/json"),
        (Form::Osx, "application/json"),
        (Form::Query, "application/json"),
        (Form::Protobuf, "application/x-protobuf"),
        (Form::Grpc, "application/x-protobuf"),
        (Form::GrpcInvoke, "application/x-protobuf"),
        // Forwarded by their target, too.
        (Form::InvokeJson, "application/json"),
        (Form::InvokeProtobuf, "application/x-protobuf"),
        (Form::GrpcTransport, "application/x-protobuf"),
    ] {
        let ask = form.request(Want::Pop(60_000), "seen", "t", &[TO_B]);
        let got = form.read(&wire.send(stage.node.data, ask).await);
        let seen = shown(&got.payload.unwrap());
        assert_eq!((&seen["headers"]["content-type"], &seen["headers"]["x-ptp-topic"]), (&json!(media), &json!("t")));
        let (topic, timeout) = inner_pop(media, &body_of(&seen));
        assert!(topic == "t" && (1..60_000).contains(&timeout), "{form:?}: {topic} {timeout}");
    }
    let push = with(rows::kuscia_push(), &[TO_B, ("x-ptp-session-id", "seen")]);
    let got = Form::Kuscia.read(&wire.send(stage.node.data, push).await);
    // This partner answers everything with what it saw.
    let seen = shown(&got.payload.unwrap());
    assert_eq!((got.code.as_str(), &seen["headers"]["content-type"]), (OK, &json!("application/x-protobuf")));
    let inner = PushInbound::decode(Inbound::decode(&body_of(&seen)[..]).unwrap().payload).unwrap();
    assert_eq!((inner.topic.as_str(), &inner.payload[..]), ("t1", &b"hello"[..]));
}

/// Topic and timeout of the wrapped pop.
fn inner_pop(media: &str, body: &[u8]) -> (String, i64) {
    if media == "application/json" {
        let wrapped = shown(body);
        let inner = shown(&STANDARD.decode(wrapped["payload"].as_str().unwrap()).unwrap());
        return (inner["topic"].as_str().unwrap().to_owned(), inner["timeout"].as_i64().unwrap());
    }
    let PopInbound { topic, timeout } = PopInbound::decode(Inbound::decode(body).unwrap().payload).unwrap();
    (topic, timeout.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_the_partner_is_passed_on_as_it_came_and_over_grpc_as_a_code() {
    a_status_of_the_partner_is_passed_on_as_it_came_and_over_grpc_as_a_code_at(&Stage::set().await).await;
}

pub(super) async fn a_status_of_the_partner_is_passed_on_as_it_came_and_over_grpc_as_a_code_at(stage: &Stage) {
    let heard = stage.ask(told("502")).await;
    assert_eq!((heard.status, &heard.body[..]), (502, &b"bad gateway"[..]));
    let ask = Form::Grpc.request(Want::Pop(60_000), "502", "t", &[TO_B]);
    let heard = stage.wire(Transport::H2c).await.send(stage.node.data, ask).await;
    assert_eq!(Outbound::decode(heard.message()).unwrap().code, "E0000000520");
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
    let grpc = passed(6, Form::Grpc.request(Want::Pop(60_000), "seen", "t", &[TO_B]));
    let heard = stage.wire(Transport::H2c).await.send(stage.node.data, grpc).await;
    assert_eq!(Outbound::decode(heard.message()).unwrap().code, "E0000000503");
}

/// PTP sections 11.5 and 14: `MESH_NAME`, and bit 512 of `MESH_MODE`.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_goes_by_its_own_name_and_may_be_told_to_let_calls_circulate() {
    let stage = Stage::with(&[("MESH_NAME", "alpha"), ("MESH_MODE", "512")]).await;
    let headers = seen(&stage.ask(told("seen")).await)["headers"].clone();
    let own = headers["mesh-mdc"].as_str().unwrap().to_owned();
    assert!(own.starts_with("alpha-"), "{own}");
    let passed = (0..6).fold(told("seen"), |ask, _| ask.header("mesh-mdc", &own));
    assert_eq!(stage.ask(passed).await.json()["code"], OK);
}

/// PTP sections 12.4 and 14: `PLUGIN_PROXY_INSECURE_SKIP`.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_in_a_partners_certificate_may_be_left_unchecked_and_its_chain_never() {
    for (skip, code) in [("false", "E0000000603"), ("true", OK)] {
        let stage = Stage::with(&[("PLUGIN_PROXY_INSECURE_SKIP", skip)]).await;
        let push = |to| with(rows::push(), &[("x-ptp-target-node-id", to), ("x-ptp-session-id", OK)]);
        assert_eq!(stage.ask(push(MISNAMED)).await.json()["code"], code, "another name, skip {skip}");
        assert_eq!(stage.ask(push(UNTRUSTED)).await.json()["code"], "E0000000603", "another root, skip {skip}");
    }
}

/// PTP sections 8.4 and 12.4.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_generic_hop_too_a_403_is_a_code_and_other_statuses_pass() {
    let stage = Stage::set().await;
    let urn = format!("edge.net.mesh.0001{}.{}.trustbe.cn", "0".repeat(33), B.to_lowercase());
    let http =
        |session: &str| with(Ask::post("/mesh/invoke", "{}"), &[("mesh-urn", &urn), ("x-ptp-session-id", session)]);
    let heard = stage.ask(http("403")).await;
    assert_eq!((heard.status, heard.json()["code"].as_str()), (200, Some("E0000000403")));
    let heard = stage.ask(http("502")).await;
    assert_eq!((heard.status, &heard.body[..]), (502, &b"bad gateway"[..]));
    let mut wire = stage.wire(Transport::H2c).await;
    let mut grpc = async |session: &str| {
        let ask = Ask::post("/mesh-rpc/v1", frame(b"{}")).header("content-type", "application/grpc");
        let ask = ask.header("te", "trailers").header("mesh-urn", &urn).header("x-ptp-session-id", session);
        wire.send(stage.node.data, ask).await
    };
    assert_eq!(shown(&grpc("403").await.message())["code"], "E0000000403");
    assert_eq!(grpc("502").await.status, 502);
}

/// PTP section 8.4: the generic hop, in both carriers.
#[tokio::test(flavor = "multi_thread")]
async fn a_generic_call_for_a_partner_goes_on_as_it_is() {
    a_generic_call_for_a_partner_goes_on_as_it_is_at(&Stage::set().await).await;
}

pub(super) async fn a_generic_call_for_a_partner_goes_on_as_it_is_at(stage: &Stage) {
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
        let more = [
            ("x-ptp-source-node-id", "somebody"),
            ("x-ptp-session-id", "s"),
            ("mesh-span-id", "0"),
            ("mesh-run-mode", "1"),
        ];
        let heard = wire.send(stage.node.data, with(ask, &more)).await;
        let said: Value = if is_grpc { serde_json::from_slice(&heard.message()).unwrap() } else { heard.json() };
        assert_eq!((&said["code"], &said["message"]), (&json!(OK), &json!("there")));
        let (seen, body) = (&said["content"], if is_grpc { frame(arguments) } else { arguments.to_vec() });
        assert_eq!((&seen["path"], &seen["body"]), (&json!(path), &json!(STANDARD.encode(body))));
        assert_eq!(seen["headers"]["x-ptp-source-node-id"], A, "whoever the application says it is");
        for (name, value) in &more[1..] {
            assert_eq!(seen["headers"][name], *value, "{name} stays in the metadata");
        }
        assert!(seen["headers"]["mesh-urn"].as_str().unwrap().contains("edge"));
        assert_eq!(seen["headers"]["x-ptp-trace-id"].as_str().unwrap().len(), 32);
    }
}
