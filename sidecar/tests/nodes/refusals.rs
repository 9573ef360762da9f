//! Who is refused, and with which code (PTP sections 12.4 and 13; design section 4).

use std::net::Ipv4Addr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use prost::Message as _;
use proto::ptp::Outbound;
use serde_json::{Value, json};

use crate::harness::{A, B, Bank, Client, Node, Partner, from, over_tls, post};

const OK: &str = "E0000000000";

/// A push as a partner's node sends it.
fn invoke(source: Option<&str>) -> Request<Full<Bytes>> {
    let inner = json!({"topic": "t", "payload": STANDARD.encode("x")}).to_string();
    let mut headers = vec![("x-ptp-uri", "https://ptp.cn/v1/interconn/chan/push"), ("x-ptp-session-id", "s")];
    headers.extend(source.map(|source| ("x-ptp-source-node-id", source)));
    let body = json!({"metadata": {}, "payload": STANDARD.encode(inner)}).to_string();
    post("/v1/interconn/chan/invoke", &headers, body)
}

async fn node_of(bank: &Bank, partners: &[Partner<'_>]) -> (Node, tempfile::TempDir) {
    let volume = tempfile::tempdir().unwrap();
    bank.publish(volume.path(), partners);
    (Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await, volume)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_gets_the_code_of_its_case() {
    let (own, partner, stranger) = (Bank::new(A), Bank::new(B), Bank::new("LX9"));
    let (disabled, expired) = (Bank::new("LX3"), Bank::new("LX4"));
    let route = |bank, more: Value| Partner { bank, address: None, more };
    let partners = [
        route(&partner, json!({})),
        route(&disabled, json!({"disabled": true})),
        route(&expired, json!({"expiresAt": "2020-01-01T00:00:00Z"})),
    ];
    let (node, _volume) = node_of(&own, &partners).await;
    for (who, client, source, code) in [
        ("a partner", Client::Pair(&partner.leaf), Some(B), OK),
        ("a partner that names no source", Client::Pair(&partner.leaf), None, OK),
        ("a partner that claims to be another", Client::Pair(&partner.leaf), Some("LX9"), "E0000000403"),
        ("a client without a certificate", Client::Nothing, Some(B), "E0000000403"),
        ("a stranger's root", Client::Pair(&stranger.leaf), Some(B), "E0000000403"),
        ("a disabled partner", Client::Pair(&disabled.leaf), None, "E0000000606"),
        ("an expired partner", Client::Pair(&expired.leaf), None, "E0000000605"),
    ] {
        let answer = over_tls(node.data, client, invoke(source)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (200, code), "{who}: {}", answer.text());
        if code == OK || source == Some("LX9") {
            continue;
        }
        // In the forms of the others: a message of gRPC, Kuscia's layout, and gRPC's own status at a registered path.
        let mut grpc = post("/org.ppc.ptp.PrivateTransferProtocol/invoke", &[], &b"\0\0\0\0\0"[..]);
        grpc.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let mut registered = post("/acme.Scoring/Score", &[], &b"\0\0\0\0\0"[..]);
        registered.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let mut kuscia = post("/v1/interconn/chan/invoke?timeout=5", &[("x-ptp-topic", "t")], "hello");
        kuscia.headers_mut().remove("content-type");
        let told = over_tls(node.data, client, grpc).await;
        assert_eq!(Outbound::decode(told.body.slice(5..)).unwrap().code, code, "{who}");
        let told = over_tls(node.data, client, kuscia).await;
        assert_eq!(&told.body[..13], [b"\x12\x0b", code.as_bytes()].concat(), "{who}: {}", told.text());
        let told = over_tls(node.data, client, registered).await;
        assert_eq!(told.headers["grpc-status"], "7");
        assert!(told.headers["grpc-message"].to_str().unwrap().starts_with(code), "{who}: {:?}", told.headers);
        let told = over_tls(node.data, client, post("/acme", &[], "{}")).await;
        assert_eq!((told.status.as_u16(), told.text().as_str()), (403, "对方节点已禁用网络"), "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_may_not_call_what_is_for_applications() {
    let (own, partner) = (Bank::new(A), Bank::new(B));
    let (node, _volume) = node_of(&own, &[Partner { bank: &partner, address: None, more: json!({}) }]).await;
    let call = |path: &str, headers: &[(&str, &str)]| {
        over_tls(node.data, Client::Pair(&partner.leaf), post(path, headers, "{}"))
    };
    for path in [
        "/v1/interconn/node/refresh",
        "/v1/interconn/net/refresh",
        "/v1/interconn/registry/register",
        "/v1/interconn/chan/push",
    ] {
        assert_eq!(call(path, &[]).await.code(), "E0000000614", "{path}");
    }
    assert_eq!(call("/mesh/invoke", &[("mesh-urn", "mesh.net.edges")]).await.code(), "E0000000614");
    assert_eq!(call("/mesh/invoke", &[("mesh-urn", "mesh.net.environ")]).await.code(), "E0000000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_from_another_address_is_refused_but_for_the_stats() {
    let node = Node::start().await;
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let push = post("/v1/interconn/chan/push", &[], r#"{"topic":"t","payload":""}"#);
    let refused = from(elsewhere, node.data, push).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().starts_with("对方节点已禁用网络\n"), "the reference's text: {}", refused.text());
    assert!(refused.text().contains("MESH_PLAINTEXT_FROM"), "the setting is named: {}", refused.text());
    let stats = from(elsewhere, node.data, Request::get("/stats").body(Full::default()).unwrap()).await;
    assert_eq!((stats.status.as_u16(), stats.text().as_str()), (200, "E0000000000"));
    assert_eq!(stats.headers["x-mesh-kind"], "interconn/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_from_a_network_that_is_let_in_is_local() {
    let node = Node::with(&[("MESH_PLAINTEXT_FROM", "127.0.0.2/32")]).await;
    let push = post("/v1/interconn/chan/push", &[], r#"{"topic":"t","payload":""}"#);
    assert_eq!(from(Ipv4Addr::new(127, 0, 0, 2), node.data, push).await.code(), "E0000000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_nobody_knows_is_not_woven() {
    let node = Node::start().await;
    assert_eq!(node.push(Some("LX77"), "t", "x").await, "E0000000618");
}
