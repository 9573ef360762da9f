//! Every rpc with every kind of token: codes, messages and values as the contract has them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh_pki::{CertificateInfo, check_pair};
use prost::Message as _;
use proto::nc::{
    CheckConnResponse, GetTokenRequest, GetTokenResponse, HealthCheckRequest, HelloWorldRequest,
    lite_kube_nc_bootstrap_service_client::LiteKubeNcBootstrapServiceClient,
};

use super::stage::*;
use crate::{
    ledger::Mint,
    seam::{ConnState, Cut, Denied, Desk, Knock},
};

const UNKNOWN: (&str, &str) = ("400", "fail to find such item");

/// What no token of any kind is.
fn nonsense() -> Vec<String> {
    let mut all: Vec<String> = [
        " ",
        "deac5f329feb472",
        "deac5f329feb47290",
        "DEAC5F329FEB4729",
        "deac5f329feb472z",
        "deac5f329feb4729",
        "deac5f329feb4729@203.0.113.7:6439",
        "12345678.0123456789abcdef0123456789abcdef",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push("a".repeat(32 << 10));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_are_healthy_and_one_greets() {
    let stage = stage(|_| {});
    let mut admin = stage.as_admin().await;
    assert_eq!(admin.health_check(HealthCheckRequest {}).await.unwrap().into_inner().code, "200");
    let greeted = admin.hello_world(HelloWorldRequest { hello_text: "x".into() }).await.unwrap().into_inner();
    assert!(!greeted.thanks_text.is_empty());
    let mut stranger = stage.stranger().await;
    assert_eq!(stranger.health_check(HealthCheckRequest {}).await.unwrap().into_inner().code, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_token_has_16_digits_and_comes_with_the_bootstrap_port() {
    let stage = stage(|_| {});
    let mut admin = stage.as_admin().await;
    for minutes in [-1, 1, 10, i64::MIN] {
        let answer = mint(&mut admin, minutes).await;
        assert_eq!(answer.verdict(), ("200", "ok"), "{minutes}");
        assert_eq!((answer.cloud_ip.as_str(), &answer.port), ("203.0.113.7", &stage.bootstrap.port().to_string()));
        let token = answer.boot_strap_token;
        assert!(token.len() == 16 && token.as_bytes()[12] == b'4', "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_minutes_ask_for_the_endpoint_only_and_too_many_are_refused() {
    let stage = stage(|_| {});
    let mut admin = stage.as_admin().await;
    let answer = mint(&mut admin, 0).await;
    assert_eq!((answer.verdict(), answer.boot_strap_token.as_str()), (("200", "ok"), ""));
    assert_eq!(answer.cloud_ip, "203.0.113.7");
    let answer = mint(&mut admin, i64::MAX).await;
    assert_eq!((answer.code.as_str(), answer.boot_strap_token.as_str()), ("400", ""));
    assert!(answer.message.contains("9999"), "{}", answer.message);
    assert!(stage.control.ledger().tokens().is_empty());
}

fn pem(field: &str) -> String {
    String::from_utf8(STANDARD.decode(field).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_a_token_both_endpoints_and_six_pems_of_one_block_each() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    assert_eq!((joined.network_server_ip.as_str(), joined.network_server_port.as_str()), ("203.0.113.7", "6441"));
    assert_eq!(joined.grpc_server_ip, "10.1.1.1");
    assert_eq!(joined.grpc_server_port, stage.register.port().to_string());
    for (ca, certificate, key, subject) in [
        (
            &joined.grpc_ca_cert,
            &joined.grpc_client_cert,
            &joined.grpc_client_key,
            "O=lknm:register, CN=network-controller-grpc-client",
        ),
        (
            &joined.network_ca_cert,
            &joined.network_client_cert,
            &joined.network_client_key,
            "O=lknm:join, CN=network-controller-client",
        ),
    ] {
        let (ca, certificate, key) = (pem(ca), pem(certificate), pem(key));
        for text in [&ca, &certificate, &key] {
            assert_eq!(text.matches("-----BEGIN ").count(), 1);
        }
        assert!(key.starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
        assert_eq!(check_pair(&certificate, &key).unwrap()[0].subject, subject);
        assert!(CertificateInfo::from_pem(&ca).unwrap().is_ca);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn get_token_is_the_same_on_both_ports_with_a_certificate_and_without() {
    let stage = stage(|_| {});
    let token = stage.minted().await;
    let ask = || GetTokenRequest { boot_strap_token: token.clone() };
    let by_register = stage.as_admin().await.get_token(ask()).await.unwrap().into_inner();
    let channel = stage.channel(stage.bootstrap, Some(&stage.admin())).await.unwrap();
    let with = LiteKubeNcBootstrapServiceClient::new(channel).get_token(ask()).await.unwrap().into_inner();
    let without = get_token(&mut stage.stranger().await, &token).await;
    let tokens: std::collections::HashSet<_> = [by_register, with, without]
        .into_iter()
        .map(|joined| {
            assert_eq!(joined.verdict(), ("200", "ok"));
            joined.token
        })
        .collect();
    assert_eq!(tokens.len(), 3, "each call makes a new node");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_bootstrap_token_joins_nobody_and_the_endpoints_are_told_all_the_same() {
    let stage = stage(|_| {});
    let ledger = stage.control.ledger();
    let past = Mint { expires: Some(1), legacy: true, ..Mint::default() };
    let expired = ledger.mint(past, 0).unwrap().secret.expose().to_owned();
    let revoked = ledger.mint(Mint { legacy: true, ..Mint::default() }, 0).unwrap();
    ledger.revoke(&revoked.id).unwrap();
    let once = ledger.mint(Mint { max_uses: Some(1), ..Mint::default() }, 0).unwrap().secret.expose().to_owned();
    let mut stranger = stage.stranger().await;
    assert_eq!(get_token(&mut stranger, &once).await.verdict(), ("200", "ok"));
    let unknown = nonsense().into_iter().chain([expired, revoked.secret.expose().into(), once]);
    let rows =
        unknown.map(|token| (token, UNKNOWN)).chain([(String::new(), ("400", "bootstrap token can't be empty"))]);
    for (token, verdict) in rows {
        let answer = get_token(&mut stranger, &token).await;
        let expected = GetTokenResponse {
            code: verdict.0.into(),
            message: verdict.1.into(),
            network_server_ip: "203.0.113.7".into(),
            network_server_port: "6441".into(),
            grpc_server_ip: "10.1.1.1".into(),
            grpc_server_port: stage.register.port().to_string(),
            ..GetTokenResponse::default()
        };
        assert_eq!(answer, expected, "{token:.80}");
    }
    assert_eq!(ledger.nodes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_state_goes_through_minus_1_1_and_3_and_its_address_stays() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    let mut admin = stage.as_admin().await;
    let answer = check(&mut admin, &joined.token).await;
    assert_eq!((answer.verdict(), answer.conn_state, answer.bind_ip.as_str()), (("200", "ok"), -1, ""));
    assert_eq!(ip_of(&mut admin, &joined.token).await.ip, "");
    let knock = Knock { token: &joined.token, chain: &[], source: "192.0.2.1".parse().unwrap() };
    let admission = stage.desk.admit(&knock).unwrap();
    assert_eq!(admission.address, None);
    stage.desk.state(admission.peer, ConnState::Init);
    let answer = check(&mut admin, &joined.token).await;
    assert_eq!((answer.conn_state, answer.bind_ip.as_str()), (1, ""));
    stage.desk.address(admission.peer).unwrap();
    stage.desk.state(admission.peer, ConnState::Connected);
    let answer = check(&mut admin, &joined.token).await;
    assert_eq!((answer.conn_state, answer.bind_ip.as_str()), (3, "10.1.1.3"));
    stage.desk.state(admission.peer, ConnState::Idle);
    let answer = check(&mut admin, &joined.token).await;
    assert_eq!((answer.conn_state, answer.bind_ip.as_str()), (-1, "10.1.1.3"));
    assert_eq!(ip_of(&mut admin, &joined.token).await.ip, "10.1.1.3");
    assert_eq!(stage.desk.admit(&knock).unwrap().address, Some("10.1.1.3".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unregistered_node_is_cut_its_token_and_address_are_gone_and_its_certificates_denied() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    let peer = stage.peer(&joined);
    stage.desk.address(peer).unwrap();
    let keys = stage.control.ledger().node(peer).unwrap().row.keys();
    assert_eq!(keys.len(), 2);
    let own = Credentials { certificate: pem(&joined.grpc_client_cert), key: pem(&joined.grpc_client_key) };
    let mut node = stage.register_as(&own).await;
    assert_eq!(check(&mut node, &joined.token).await.code, "200");
    let mut admin = stage.as_admin().await;
    let answer = unregister(&mut admin, &joined.token).await;
    assert_eq!((answer.verdict(), answer.result), (("200", "ok"), true));
    assert_eq!(stage.hub.cuts(), [(peer, Cut::Unregistered)]);
    assert!(keys.iter().all(|key| stage.control.authority().is_denied(key)));
    for _ in 0..2 {
        let again = unregister(&mut admin, &joined.token).await;
        assert_eq!((again.verdict(), again.result), (UNKNOWN, false));
    }
    assert_eq!(stage.hub.cuts().len(), 1);
    let refused = node.health_check(HealthCheckRequest {}).await;
    assert!(refused.is_ok(), "a greeting needs nobody's leave");
    let ask = proto::nc::CheckConnStateRequest { token: joined.token.clone() };
    assert_eq!(node.check_conn_state(ask).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    let knock = Knock { token: &joined.token, chain: &[], source: "192.0.2.1".parse().unwrap() };
    assert_eq!(stage.desk.admit(&knock), Err(Denied::Invalid));
    let next = stage.joined().await;
    assert_eq!(stage.desk.address(stage.peer(&next)), Ok("10.1.1.3".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_none_are_found_by_no_rpc() {
    let stage = stage(|_| {});
    let mut admin = stage.as_admin().await;
    let rows = nonsense().into_iter().map(|token| (token, UNKNOWN));
    for (token, verdict) in rows.chain([(String::new(), ("400", "token can't be empty"))]) {
        let state = check(&mut admin, &token).await;
        assert_eq!((state.verdict(), state.conn_state, state.bind_ip.as_str()), (verdict, -1, ""), "{token:.80}");
        let gone = unregister(&mut admin, &token).await;
        assert_eq!((gone.verdict(), gone.result), (verdict, false), "{token:.80}");
        let ip = ip_of(&mut admin, &token).await;
        assert_eq!((ip.verdict(), ip.ip.as_str()), (verdict, ""), "{token:.80}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_entry_is_shown_stays_and_opens_no_tunnel() {
    let stage = stage(|_| {});
    let mut admin = stage.as_admin().await;
    let state = check(&mut admin, "reserverd").await;
    assert_eq!((state.verdict(), state.conn_state, state.bind_ip.as_str()), (("200", "ok"), 3, "10.1.1.1"));
    assert_eq!(ip_of(&mut admin, "reserverd").await.ip, "10.1.1.1");
    let kept = unregister(&mut admin, "reserverd").await;
    assert_eq!((kept.code.as_str(), kept.result), ("400", false));
    assert_eq!(get_token(&mut stage.stranger().await, "reserverd").await.verdict(), UNKNOWN);
    let knock = Knock { token: "reserverd", chain: &[], source: "192.0.2.1".parse().unwrap() };
    assert_eq!(stage.desk.admit(&knock), Err(Denied::Invalid));
}

#[test]
fn minus_one_takes_ten_bytes_on_the_wire() {
    let answer = CheckConnResponse { conn_state: ConnState::Idle.wire(), ..CheckConnResponse::default() };
    let expected = [&[0x18][..], &[0xff; 9], &[0x01]].concat();
    assert_eq!(answer.encode_to_vec(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_nodes_lose_their_address_with_its_lease_and_ephemeral_ones_all_they_had() {
    let stage = stage(|setup| setup.address_lease = Some(std::time::Duration::from_secs(60)));
    let ledger = stage.control.ledger();
    let legacy = stage.joined().await;
    let lasting = stage.peer(&legacy);
    ledger.address(lasting).unwrap();
    let token = ledger.mint(Mint { ephemeral: Some(60), legacy: true, ..Mint::default() }, 0).unwrap();
    let joined = get_token(&mut stage.stranger().await, token.secret.expose()).await;
    let passing = stage.peer(&joined);
    stage.control.part_with_absent(1000);
    assert_eq!((ledger.nodes().len(), ledger.addresses_taken()), (2, 1));
    stage.control.part_with_absent(1060);
    assert_eq!((ledger.nodes().len(), ledger.addresses_taken()), (1, 0));
    assert_eq!(stage.hub.cuts(), [(passing, Cut::Unregistered)]);
    assert!(ledger.by_token(&legacy.token).is_some());
}
