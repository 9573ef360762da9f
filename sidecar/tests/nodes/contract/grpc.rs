//! Exact messages over gRPC (PTP sections 6 and 7), and the services that every gRPC server has.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use mesh_core::Code;
use prost::Message as _;
use proto::{
    health::{HealthCheckRequest, HealthCheckResponse, HealthListResponse, health_check_response::ServingStatus},
    ptp::{Inbound, Outbound, PopInbound, PushInbound},
};
use serde_json::{Value, json};

use super::{
    OK,
    stage::{MAX_BODY, Stage},
    wire::{Ask, Heard, Transport, frame},
};
use crate::harness::{
    A, Node,
    h2::{self, H2},
};

const TRANSPORT: &str = "/org.ppc.ptp.PrivateTransferTransport";
const PROTOCOL: &str = "/org.ppc.ptp.PrivateTransferProtocol";
const CHECK: &str = "/grpc.health.v1.Health/Check";

fn call(path: impl Into<String>, body: impl Into<bytes::Bytes>) -> Ask {
    Ask::post(path, body).header("content-type", "application/grpc").header("te", "trailers")
}

fn op(op: &str, message: &[u8]) -> Ask {
    call(format!("{TRANSPORT}/{op}"), frame(message))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

fn compressed(packed: &[u8]) -> Vec<u8> {
    let mut framed = frame(packed);
    framed[0] = 1;
    framed
}

fn code(heard: &Heard) -> String {
    Outbound::decode(heard.message()).unwrap().code
}

/// grpc-status of an answer without a message.
fn status(heard: &Heard) -> &str {
    assert_eq!((heard.status, heard.body.len()), (200, 0), "{heard:?}");
    heard.header("grpc-status")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_real_clients_are_read_and_answered_byte_by_byte() {
    the_samples_of_real_clients_are_read_and_answered_byte_by_byte_at(&Stage::set().await).await;
}

pub(super) async fn the_samples_of_real_clients_are_read_and_answered_byte_by_byte_at(stage: &Stage) {
    let mut wire = stage.wire(Transport::H2c).await;
    // The SDK announces gzip, and sends small messages plain.
    let mut send = async |ask: Ask| {
        wire.send(stage.node.data, ask.header("x-ptp-session-id", "samples").header("grpc-encoding", "gzip")).await
    };
    let text = hex("请求成功".as_bytes());
    let empty = format!("1a0b453030303030303030303022{:02x}{text}", text.len() / 2);
    // PTP section 6.2: a push with metadata, a pop of 700 ms, a release.
    let push = "0a13746f706963412d6d6573682d73706c69742d301201311a060a016b120176";
    assert_eq!(hex(&send(op("push", &bytes(push))).await.message()), empty);
    let popped =
        send(op("pop", &PopInbound { topic: "topicA-mesh-split-0".into(), timeout: 700 }.encode_to_vec())).await;
    assert_eq!(hex(&popped.message()), format!("0a060a016b120176120131{empty}"));
    assert_eq!(hex(&send(op("pop", &bytes("0a06746f7069634210bc05"))).await.message()), empty);
    assert_eq!(hex(&send(op("release", &bytes("0a06746f70696341"))).await.message()), empty);
    // PTP section 3.3: a pop of 50 ms with a field that nobody knows.
    assert_eq!(hex(&send(op("pop", &bytes("0a06746f7069634210327a0178"))).await.message()), empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_answered_in_the_code_or_in_grpcs_own_status() {
    what_is_no_message_is_answered_in_the_code_or_in_grpcs_own_status_at(&Stage::set().await).await;
}

pub(super) async fn what_is_no_message_is_answered_in_the_code_or_in_grpcs_own_status_at(stage: &Stage) {
    let mut wire = stage.wire(Transport::H2c).await;
    let mut send = async |ask| wire.send(stage.node.data, ask).await;
    let bomb = PushInbound { payload: vec![0; 10 * MAX_BODY].into(), ..Default::default() }.encode_to_vec();
    let announced = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    for (name, ask, expected) in [
        (
            "a bomb",
            call(format!("{TRANSPORT}/push"), compressed(&gzip(&bomb))).header("grpc-encoding", "gzip"),
            "E0000000413",
        ),
        ("announced too large", call(format!("{TRANSPORT}/push"), announced), "E0000000413"),
        (
            "no gzip",
            call(format!("{TRANSPORT}/push"), compressed(b"xyz")).header("grpc-encoding", "gzip"),
            "E0000000616",
        ),
        ("cut short", call(format!("{TRANSPORT}/push"), vec![0, 0, 0, 0, 9, 1]), "E0000000400"),
        ("no protobuf", op("pop", &[0xff]), "E0000000400"),
        ("no inbound", call(format!("{PROTOCOL}/invoke"), frame(&[0xff])), "E0000000400"),
        ("no uri", call(format!("{PROTOCOL}/invoke"), frame(&[])), "E0000000404"),
    ] {
        assert_eq!(code(&send(ask).await), expected, "{name}");
    }
    for (name, ask, expected) in [
        ("no such method", call(format!("{TRANSPORT}/browse"), frame(&[])), "12"),
        ("no such service", call("/org.ppc.ptp.Nothing/push", frame(&[])), "12"),
        ("a wrapper among the plain", call(format!("{TRANSPORT}/invoke"), frame(&[])), "12"),
        ("nobody's path", call("/acme.Service/Method", frame(&[])), "12"),
        ("no message", call(format!("{TRANSPORT}/push"), ""), "13"),
        ("unannounced", call(format!("{TRANSPORT}/push"), compressed(&gzip(b""))), "13"),
        ("deflate", op("push", &[]).header("grpc-encoding", "deflate"), "12"),
        ("generic deflate", call("/mesh-rpc/v1", frame(b"{}")).header("grpc-encoding", "deflate"), "12"),
        ("generic without a message", call("/mesh-rpc/v1", ""), "13"),
    ] {
        assert_eq!(status(&send(ask).await), expected, "{name}");
    }
    let packed = |path: &str, packed: &[u8]| call(path, compressed(packed)).header("grpc-encoding", "gzip");
    let invoke = packed(&format!("{PROTOCOL}/invoke"), &gzip(&bomb));
    assert_eq!(code(&send(invoke).await), "E0000000413", "a bomb within an invoke");
    let stream = packed(&format!("{PROTOCOL}/transport"), b"xyz");
    assert_eq!(outbounds(&send(stream).await), [("E0000000616".to_owned(), String::new())], "no gzip in a stream");
    for (name, packed, expected) in [
        ("no gzip", packed("/mesh-rpc/v1", b"xyz"), "E0000000616"),
        ("a bomb", packed("/mesh-rpc/v1", &gzip(&bomb)), "E0000000413"),
    ] {
        let said = send(packed.header("mesh-urn", "mesh.chan.push")).await.message();
        assert_eq!(serde_json::from_slice::<Value>(&said).unwrap()["code"], expected, "generic, {name}");
    }
    let plain = Ask::post(format!("{TRANSPORT}/push"), "{}").header("content-type", "application/json");
    assert_eq!(send(plain).await.status, 400, "gRPC's paths are for gRPC");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_deadline_counts_in_every_unit() {
    the_callers_deadline_counts_in_every_unit_at(&Stage::set().await).await;
}

pub(super) async fn the_callers_deadline_counts_in_every_unit_at(stage: &Stage) {
    let mut wire = stage.wire(Transport::H2c).await;
    for (deadline, timeout) in
        [("1S", 60_000), ("200m", 60_000), ("200000u", 0), ("99999999n", -1), ("1H", 60), ("2M", 60)]
    {
        let ask = op("pop", &PopInbound { topic: "t".into(), timeout }.encode_to_vec());
        let heard = wire.send(stage.node.data, ask.header("grpc-timeout", deadline));
        let heard = tokio::time::timeout(std::time::Duration::from_secs(30), heard).await.expect(deadline);
        assert_eq!(code(&heard), OK, "{deadline}");
    }
    // The deadline of a stream is that of its pops too (PTP sections 6.1 and 9.3).
    let inner = PopInbound { topic: "t".into(), timeout: 3_000_000 }.encode_to_vec();
    let message = frame(&Inbound { payload: inner.into(), ..Inbound::default() }.encode_to_vec());
    let stream = call(format!("{PROTOCOL}/transport"), message).header("x-ptp-uri", &format!("{TRANSPORT}/pop"));
    let heard = wire.send(stage.node.data, stream.header("grpc-timeout", "500m")).await;
    assert_eq!(outbounds(&heard), [(OK.to_owned(), String::new())]);
    for malformed in ["soon", "5", "-1S", "999999999S", ""] {
        let ask = op("pop", &PopInbound { topic: "t".into(), timeout: 60 }.encode_to_vec());
        let heard = wire.send(stage.node.data, ask.header("grpc-timeout", malformed)).await;
        assert_eq!(code(&heard), OK, "one that cannot be read counts as absent: {malformed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_in_order_each_message_by_its_own_metadata() {
    a_stream_is_answered_in_order_each_message_by_its_own_metadata_at(&Stage::set().await).await;
}

pub(super) async fn a_stream_is_answered_in_order_each_message_by_its_own_metadata_at(stage: &Stage) {
    let uri = |op: &str| ("x-ptp-uri".to_owned(), format!("grpcs://ptp.cn{TRANSPORT}/{op}"));
    let inbound = |op: &str, session: &str, inner: Vec<u8>| {
        let metadata = [uri(op), ("x-ptp-session-id".to_owned(), session.to_owned())].into();
        frame(&Inbound { metadata, payload: inner.into() }.encode_to_vec())
    };
    let push = |text: &'static str| {
        PushInbound { topic: "t".into(), payload: text.as_bytes().into(), ..Default::default() }.encode_to_vec()
    };
    let pop = || PopInbound { topic: "t".into(), timeout: 60 }.encode_to_vec();
    for transport in [Transport::H2c, Transport::TlsH2] {
        let (one, two) = (format!("{transport:?} 1"), format!("{transport:?} 2"));
        let frames = [
            inbound("push", &one, push("first")),
            inbound("push", &two, push("second")),
            inbound("pop", &two, pop()),
            inbound("pop", &two, pop()),
            inbound("browse", &one, vec![]),
            inbound("pop", &one, pop()),
        ];
        let ask = call(format!("{PROTOCOL}/transport"), frames.concat()).header("x-ptp-session-id", "the call's");
        for session in [&one, &two] {
            stage.use_first(session).await;
        }
        let heard = stage.wire(transport).await.send(stage.node.data, ask).await;
        assert_eq!(heard.trailers["grpc-status"], "0");
        let expected = [(OK, ""), (OK, ""), (OK, "second"), (OK, ""), ("E0000000404", ""), (OK, "first")];
        assert_eq!(outbounds(&heard), expected.map(|(code, payload)| (code.to_owned(), payload.to_owned())));
    }
}

/// PTP section 6.1: each message is answered when it comes, not when the client half-closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_while_it_is_open() {
    let node = Node::start().await;
    let mut h2 = H2::to(&node, 1 << 16).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("x-ptp-session-id", "open")];
    h2.write(&h2::request(1, &format!("{PROTOCOL}/transport"), &headers)).await;
    let push = PushInbound { topic: "t".into(), payload: "open".into(), ..Default::default() }.encode_to_vec();
    let pop = PopInbound { topic: "t".into(), timeout: 60_000 }.encode_to_vec();
    for (op, inner, payload) in [("push", push, ""), ("pop", pop, "open")] {
        let metadata = [("x-ptp-uri".to_owned(), format!("{TRANSPORT}/{op}"))].into();
        let message = frame(&Inbound { metadata, payload: inner.into() }.encode_to_vec());
        h2.write(&h2::frame(h2::DATA, 0, 1, &message)).await;
        let answer = h2.wait_for(h2::DATA, 1).await.unwrap().payload;
        let answer = Outbound::decode(&answer[5..]).unwrap();
        assert_eq!((answer.code.as_str(), &answer.payload[..]), (OK, payload.as_bytes()), "{op}");
    }
    h2.write(&h2::frame(h2::DATA, h2::END_STREAM, 1, b"")).await;
    assert!(h2.wait_for(h2::HEADERS, 1).await.is_some(), "the trailers");
}

/// PTP sections 1 and 15: a client with no metadata at all has the empty session.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_metadata_is_served() {
    a_client_without_metadata_is_served_at(&Stage::set().await).await;
}

pub(super) async fn a_client_without_metadata_is_served_at(stage: &Stage) {
    let mut wire = stage.wire(Transport::H2c).await;
    let mut ask = async |name: &str, message: Vec<u8>| {
        let said = wire.send(stage.node.data, op(name, &message)).await.message();
        let Outbound { code, payload, .. } = Outbound::decode(said).unwrap();
        (code, payload)
    };
    let push = PushInbound { topic: "t".into(), payload: "bare".into(), ..Default::default() };
    let pop = || PopInbound { topic: "t".into(), timeout: 60 }.encode_to_vec();
    assert_eq!(ask("push", push.encode_to_vec()).await, (OK.into(), "".into()));
    assert_eq!(ask("pop", pop()).await, (OK.into(), "bare".into()));
    assert_eq!(ask("release", Vec::new()).await, (OK.into(), "".into()));
    assert_eq!(ask("pop", pop()).await, (OK.into(), "".into()), "it is never over");
}

fn outbounds(heard: &Heard) -> Vec<(String, String)> {
    let mut rest = &heard.body[..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let outbound = Outbound::decode(&rest[5..5 + length]).unwrap();
        all.push((outbound.code, String::from_utf8(outbound.payload.to_vec()).unwrap()));
        rest = &rest[5 + length..];
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generic_service_speaks_json_and_is_named_by_the_urn() {
    the_generic_service_speaks_json_and_is_named_by_the_urn_at(&Stage::set().await).await;
}

pub(super) async fn the_generic_service_speaks_json_and_is_named_by_the_urn_at(stage: &Stage) {
    let mut wire = stage.wire(Transport::H2c).await;
    let flag = format!("0001{}", "0".repeat(33));
    let urn = |name: &str| format!("{name}.{flag}.lx0000000000000.trustbe.cn");
    let mut send = async |ask: Ask| {
        let heard = wire.send(stage.node.data, ask).await;
        serde_json::from_slice::<Value>(&heard.message()).unwrap()
    };
    let generic = |body: Value| call("/mesh-rpc/v1", frame(body.to_string().as_bytes()));
    let environ = send(generic(json!({"attachments": {}})).header("mesh-urn", &urn("environ.net.mesh"))).await;
    assert_eq!((&environ["code"], &environ["content"]["node_id"]), (&json!(OK), &json!(A)));
    assert!(environ["content"].get("root_key").is_none() && environ.get("cause").is_none());
    // Go clients put the urn where the host belongs; the session stands among the attachments.
    stage.use_first("go").await;
    let push = generic(json!({"topic": "t", "payload": "aGVsbG8=", "attachments": {"mesh-session-id": "go"}}));
    let pushed = send(push.header("host", &urn("push.chan.mesh"))).await;
    assert_eq!(pushed, json!({"code": OK, "message": "请求成功"}));
    let pop = generic(json!({"topic": "t", "timeout": 60})).header("x-ptp-session-id", "go");
    let popped = send(pop.clone().header("mesh-urn", &urn("pop.chan.mesh"))).await;
    assert_eq!(popped, json!({"code": OK, "message": "请求成功", "content": "aGVsbG8="}));
    assert_eq!(send(pop.header("mesh-urn", &urn("pop.chan.mesh"))).await, json!({"code": OK, "message": "请求成功"}));
    for (name, ask, expected) in [
        ("unknown", generic(json!({})).header("mesh-urn", &urn("such.no.mesh")), Code::NOT_FOUND),
        ("unnamed", generic(json!({})), Code::NOT_FOUND),
        ("no JSON", call("/mesh-rpc/v1", frame(b"[]")).header("mesh-urn", &urn("environ.net.mesh")), Code::BAD_REQUEST),
        ("no payload", generic(json!({"topic": "t"})).header("mesh-urn", &urn("push.chan.mesh")), Code::BAD_REQUEST),
        (
            "nobody's urn",
            generic(json!({})).header("mesh-urn", &format!("environ.net.mesh.{flag}.lx9.trustbe.cn")),
            Code::NOT_WOVEN,
        ),
    ] {
        assert_eq!(send(ask).await["code"], expected.to_string(), "{name}");
    }
    let packed = gzip(json!({"topic": "t", "payload": "aGVsbG8="}).to_string().as_bytes());
    let gzipped = call("/mesh-rpc/v1", compressed(&packed)).header("grpc-encoding", "gzip");
    assert_eq!(send(gzipped.header("mesh-urn", &urn("push.chan.mesh"))).await["code"], OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_calls_of_the_generic_service_what_is_open_to_it() {
    let stage = Stage::set().await;
    let mut wire = stage.wire(Transport::TlsH2).await;
    for (name, expected) in [
        ("mesh.net.environ", OK),
        ("mesh.net.edges", "E0000000614"),
        ("mesh.registry.put", "E0000000614"),
        ("mesh.no.such", "E0000000404"),
        ("acme.no.such", "E0000000617"),
    ] {
        let ask = call("/mesh-rpc/v1", frame(b"{}")).header("mesh-urn", name);
        let said: Value = serde_json::from_slice(&wire.send(stage.node.data, ask).await.message()).unwrap();
        assert_eq!(said["code"], expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer_this_nodes_own() {
    health_and_reflection_answer_this_nodes_own_at(&Stage::set().await).await;
}

pub(super) async fn health_and_reflection_answer_this_nodes_own_at(stage: &Stage) {
    let mut own = stage.wire(Transport::H2c).await;
    let check = |service: &str| call(CHECK, frame(&HealthCheckRequest { service: service.to_owned() }.encode_to_vec()));
    for service in ["", "org.ppc.ptp.PrivateTransferTransport", "mesh-rpc"] {
        let said = own.send(stage.node.data, check(service)).await.message();
        assert_eq!(HealthCheckResponse::decode(said).unwrap().status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(status(&own.send(stage.node.data, check("nobody")).await), "5");
    let listed = own.send(stage.node.data, call("/grpc.health.v1.Health/List", frame(&[]))).await.message();
    assert_eq!(HealthListResponse::decode(listed).unwrap().statuses.len(), 4);
    for version in ["v1", "v1alpha"] {
        // Member 7: list the services.
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let listed = own.send(stage.node.data, call(path, frame(&[0x3a, 0]))).await.message();
        let listed = String::from_utf8_lossy(&listed);
        for service in
            ["org.ppc.ptp.PrivateTransferTransport", "org.ppc.ptp.PrivateTransferProtocol", "grpc.health.v1.Health"]
        {
            assert!(listed.contains(service), "{version}: {listed}");
        }
    }
    let partner = stage.wire(Transport::TlsH2).await.send(stage.node.data, check("")).await;
    assert_eq!(status(&partner), "7", "partners have /stats");
}
