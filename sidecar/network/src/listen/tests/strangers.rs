//! Who is whom on real connections.

use std::{net::IpAddr, time::Duration};

use crds::snapshot::RouteConfig;
use tokio::io::AsyncReadExt as _;

use crate::testing::{A, B, C, Plain, Running, in_seconds, institution, plain_from, tls_client, until};

const H1: &[&str] = &["http/1.1"];

#[tokio::test]
async fn plain_text_counts_as_local_from_here_only() {
    let node = Running::start(institution(A).parts(Vec::new()));
    assert_eq!(Plain::to(node.address).await.get("host: localhost\r\n").await["who"], "local");
    let six = format!("[::1]:{}", node.address.port()).parse().unwrap();
    assert_eq!(Plain::to(six).await.get("host: localhost\r\n").await["who"], "local");

    let other: IpAddr = [127, 0, 0, 2].into();
    for (from, to) in [(other, node.address), (other, node.elsewhere()), ([127, 0, 0, 1].into(), node.elsewhere())] {
        let said = plain_from(from, to).await.get("host: localhost\r\n").await;
        assert_eq!((&said["who"], &said["code"]), (&"stranger".into(), &"E0000000403".into()), "{from} to {to}");
        assert!(said["denied"].as_str().unwrap().contains("MESH_PLAINTEXT_FROM"), "{said}");
    }
}

#[tokio::test]
async fn plain_text_from_elsewhere_is_local_where_the_setting_says_so() {
    let mut parts = institution(A).parts(Vec::new());
    parts.node.transport.plaintext_from = vec!["127.0.0.2/32".into()];
    let node = Running::start(parts);
    let said = plain_from([127, 0, 0, 2].into(), node.address).await.get("host: any.example\r\n").await;
    assert_eq!(said["who"], "local");
}

#[tokio::test]
async fn tls_is_never_local_and_never_broken_off_over_a_certificate() {
    let (a, b) = (institution(A), institution(B));
    let node = Running::start(a.parts(vec![b.route()]));
    let nothing = tls_client(None, H1).get(node.address, "").await;
    assert_eq!((&nothing["who"], &nothing["code"]), (&"stranger".into(), &"E0000000403".into()));
    let stranger = tls_client(Some(&institution(C).leaf()), H1).get(node.address, "").await;
    assert_eq!((&stranger["who"], &stranger["code"]), (&"stranger".into(), &"E0000000403".into()));
    let namesake = tls_client(Some(&institution(B).leaf()), H1).get(node.address, "").await;
    assert_eq!(namesake["who"], "stranger", "the partner's names under another root");
    let partner = tls_client(Some(&b.leaf()), H1).get(node.address, "").await;
    assert_eq!(partner["who"], B);
}

#[tokio::test]
async fn closed_routes_are_told_so() {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let expired = RouteConfig { expires_at: Some(in_seconds(-1)), ..b.route() };
    let node = Running::start(a.parts(vec![expired, RouteConfig { disabled: true, ..c.route() }]));
    assert_eq!(tls_client(Some(&b.leaf()), H1).get(node.address, "").await["code"], "E0000000605");
    assert_eq!(tls_client(Some(&c.leaf()), H1).get(node.address, "").await["code"], "E0000000606");
}

#[tokio::test]
async fn a_partner_that_cannot_show_a_certificate_says_who_it_is_where_its_route_permits() {
    let (a, b) = (institution(A), institution(B));
    let optional = RouteConfig { client_certificate: crds::ClientCertificate::Optional, ..b.route() };
    let node = Running::start(a.parts(vec![optional]));
    let client = tls_client(None, H1);
    assert_eq!(client.get(node.address, &format!("x-ptp-source-node-id: {B}\r\n")).await["who"], B);
    assert_eq!(client.get(node.address, "").await["who"], "stranger");
    let plain = plain_from([127, 0, 0, 2].into(), node.address).await;
    let said = { plain }.get(&format!("host: n\r\nx-ptp-source-node-id: {B}\r\n")).await;
    assert_eq!(said["who"], "stranger", "plain text proves nothing");
}

#[tokio::test]
async fn a_resumed_session_keeps_the_chain_and_is_judged_anew() {
    let (a, b) = (institution(A), institution(B));
    let node = Running::start(a.parts(vec![b.route()]));
    let client = tls_client(Some(&b.leaf()), H1);
    assert_eq!(client.get(node.address, "").await["who"], B);
    let mut second = client.connect(node.address).await;
    assert_eq!(second.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    assert_eq!(crate::testing::TlsClient::get_on(&mut second, "").await["who"], B);
    node.swap(a.parts(vec![RouteConfig { disabled: true, ..b.route() }]));
    let mut third = client.connect(node.address).await;
    assert_eq!(third.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    assert_eq!(crate::testing::TlsClient::get_on(&mut third, "").await["code"], "E0000000606");
}

#[tokio::test]
async fn the_decision_follows_the_snapshot_on_one_connection() {
    let (a, b) = (institution(A), institution(B));
    let node = Running::start(a.parts(Vec::new()));
    let mut stream = tls_client(Some(&b.leaf()), H1).connect(node.address).await;
    assert_eq!(crate::testing::TlsClient::get_on(&mut stream, "").await["who"], "stranger");
    node.swap(a.parts(vec![b.route()]));
    assert_eq!(crate::testing::TlsClient::get_on(&mut stream, "").await["who"], B);
}

#[tokio::test]
async fn disabling_a_route_ends_its_connections_and_waits_within_a_second() {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let node = Running::start(a.parts(vec![b.route(), c.route()]));
    let mut waits = tls_client(Some(&b.leaf()), H1).connect(node.address).await;
    let mut other = tls_client(Some(&c.leaf()), H1).connect(node.address).await;
    assert_eq!(crate::testing::TlsClient::get_on(&mut other, "").await["who"], C);
    tokio::io::AsyncWriteExt::write_all(&mut waits, b"GET /wait HTTP/1.1\r\nhost: n\r\n\r\n").await.unwrap();
    until(|| node.waiting() == 1).await;
    node.swap(a.parts(vec![RouteConfig { disabled: true, ..b.route() }, c.route()]));
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), waits.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
    until(|| node.waiting() == 0).await;
    assert_eq!(crate::testing::TlsClient::get_on(&mut other, "").await["who"], C, "the other partner's goes on");
}

#[tokio::test]
async fn when_a_partner_called_last_is_known_also_when_its_connection_has_gone() {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let node = Running::start(a.parts(vec![b.route(), c.route()]));
    let last = |of: &str| node.gate.last_call(&mesh_core::NodeId::new(of));
    assert_eq!(last(B), None);
    let before = std::time::SystemTime::now();
    let mut stream = tls_client(Some(&b.leaf()), H1).connect(node.address).await;
    assert_eq!(crate::testing::TlsClient::get_on(&mut stream, "").await["who"], B);
    // It is kept in milliseconds.
    let first = last(B).unwrap();
    assert!(first + Duration::from_millis(1) > before && last(C).is_none());
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(crate::testing::TlsClient::get_on(&mut stream, "").await["who"], B);
    let second = last(B).unwrap();
    assert!(second > first);
    drop(stream);
    until(|| last(B) == Some(second)).await;
    // Whoever is no partner any more is forgotten.
    node.swap(a.parts(vec![c.route()]));
    until(|| last(B).is_none()).await;
}

#[tokio::test]
async fn expiry_ends_connections_by_time_alone() {
    let (a, b) = (institution(A), institution(B));
    let node = Running::start(a.parts(vec![RouteConfig { expires_at: Some(in_seconds(2)), ..b.route() }]));
    let mut stream = tls_client(Some(&b.leaf()), H1).connect(node.address).await;
    assert_eq!(crate::testing::TlsClient::get_on(&mut stream, "").await["who"], B);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection outlives its route");
}
