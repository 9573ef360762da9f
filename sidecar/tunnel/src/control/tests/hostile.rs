//! What strangers try: no certificate, a wrong one, plain text, floods, and a disk that is full.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use crds::{TunnelLimits, TunnelRate};
use futures::FutureExt as _;
use mesh_core::Drain;
use mesh_network::listen::Handshakes;
use proto::nc::{
    GetTokenRequest, HealthCheckRequest, lite_kube_nc_bootstrap_service_client::LiteKubeNcBootstrapServiceClient,
    lite_kube_nc_service_client::LiteKubeNcServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    super::{
        caller::{Role, Shown},
        places::{ALL, OF_ONE},
        serve::{Port, Served},
    },
    stage::*,
};
use crate::{
    ledger::Mint,
    seam::{Denied, Desk as _, Knock},
    testing::AuditLog,
};

/// CI is slow; none of this takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_register_port_lets_nobody_in_without_a_good_certificate_of_its_plane() {
    let stage = stage(|_| {});
    let (register, join) = stage.control.authority().for_legacy_node(SystemTime::now()).unwrap();
    let denied = Credentials::from(&register);
    stage.control.authority().deny(std::slice::from_ref(&register.key_sha256), SystemTime::now()).unwrap();
    let (of_join, expired) = (Credentials::from(&join), stage.expired.clone());
    let rows = [("none", None), ("join", Some(&of_join)), ("expired", Some(&expired)), ("denied", Some(&denied))];
    for (name, shows) in rows {
        let answered = match stage.channel(stage.register, shows).await {
            Ok(channel) => LiteKubeNcServiceClient::new(channel).health_check(HealthCheckRequest {}).await.map(drop),
            Err(refused) => Err(refused),
        };
        assert!(answered.is_err(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bootstrap_port_verifies_a_certificate_if_it_is_given() {
    let stage = stage(|_| {});
    let (good, wrong) = stage.control.authority().for_legacy_node(SystemTime::now()).unwrap();
    for (shows, passes) in [(None, true), (Some(Credentials::from(&good)), true), (Some((&wrong).into()), false)] {
        let answered = match stage.channel(stage.bootstrap, shows.as_ref()).await {
            Ok(channel) => {
                LiteKubeNcBootstrapServiceClient::new(channel).health_check(HealthCheckRequest {}).await.is_ok()
            }
            Err(_) => false,
        };
        assert_eq!(answered, passes);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
async fn plain_text_on_either_port_gets_no_answer_but_the_end() {
    let stage = stage(|_| {});
    for at in [stage.register, stage.bootstrap] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().ok();
        assert!(!answer.windows(4).any(|bytes| bytes == b"HTTP") && answer.len() < 64, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
async fn a_handshake_that_is_never_made_ends_within_its_time_and_holds_nobody_up() {
    let stage = stage(|_| {});
    let mut silent = TcpStream::connect(stage.bootstrap).await.unwrap();
    silent.write_all(&[0x16]).await.unwrap();
    assert!(stage.stranger().await.health_check(HealthCheckRequest {}).await.is_ok());
    let mut answer = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut answer)).await.unwrap().ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_with_a_token_for_one_exactly_one_joins() {
    let stage = stage(|_| {});
    let once = Mint { max_uses: Some(1), legacy: true, ..Mint::default() };
    let token = stage.control.ledger().mint(once, 0).unwrap().secret;
    let calls = (0..16).map(|_| async {
        let mut stranger = stage.stranger().await;
        get_token(&mut stranger, token.expose()).await.code
    });
    let codes = futures::future::join_all(calls).await;
    assert_eq!(codes.iter().filter(|code| *code == "200").count(), 1, "{codes:?}");
    assert_eq!(stage.control.ledger().nodes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_at_once_get_tokens_and_keys_of_their_own() {
    let stage = stage(|_| {});
    let token = stage.minted().await;
    let calls = (0..24).map(|_| async {
        let mut stranger = stage.stranger().await;
        get_token(&mut stranger, &token).await
    });
    let all = futures::future::join_all(calls).await;
    let distinct = |of: fn(&proto::nc::GetTokenResponse) -> &String| {
        all.iter().map(of).collect::<std::collections::HashSet<_>>().len()
    };
    assert_eq!(distinct(|joined| &joined.token), 24);
    assert_eq!(distinct(|joined| &joined.grpc_client_key), 24);
    assert_eq!(distinct(|joined| &joined.network_client_key), 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_too_fast_is_told_to_wait() {
    let stage = stage(|_| {});
    let mut stranger = stage.stranger().await;
    let mut limited = None;
    for _ in 0..1000 {
        let answer = get_token(&mut stranger, "0000000000004000").await;
        if answer.code == "500" {
            limited = Some(answer);
            break;
        }
        assert_eq!(answer.verdict(), ("400", "fail to find such item"));
    }
    let limited = limited.unwrap();
    assert!(limited.message.contains("too many attempts"), "{}", limited.message);
    assert_eq!(limited.network_server_ip, "203.0.113.7");
}

/// A rate so low that no machine is so slow that it has one more.
const ONE_A_SECOND: TunnelRate = TunnelRate { burst: 5000, per_second: 1 };

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_as_they_are_set_and_another_one_counts_at_once() {
    let few = TunnelRate { burst: 2, ..ONE_A_SECOND };
    let stage = stage(|setup| setup.limits.sockets = few);
    let knock = |source: [u8; 4]| {
        stage.desk.admit(&Knock { token: "0000000000004000", chain: &[], source: source.into() }).map(drop)
    };
    let refused = |source| (0..5000).find_map(|_| knock(source).err().filter(|e| *e == Denied::Busy));
    assert_eq!(knock([192, 0, 2, 1]), Err(Denied::Invalid));
    assert_eq!(refused([192, 0, 2, 1]), Some(Denied::Busy), "who asks for the tunnel too often");
    assert_eq!(knock([192, 0, 2, 2]), Err(Denied::Invalid), "another address");
    stage.control.limit(TunnelLimits { joins: few, sockets: ONE_A_SECOND });
    assert_eq!(refused([192, 0, 2, 3]), None);
    let mut stranger = stage.stranger().await;
    let mut tries = 1;
    while get_token(&mut stranger, "0000000000004000").await.code != "500" {
        tries += 1;
        assert!(tries < 5000, "joins are not limited");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_answered_with_500_and_changes_nothing() {
    let stage = stage(|_| {});
    let (token, joined) = (stage.minted().await, stage.joined().await);
    let uses = |stage: &Stage| stage.control.ledger().tokens().iter().map(|(_, row)| row.uses).sum::<u32>();
    let before = uses(&stage);
    stage.disk_is_full.store(true, Ordering::SeqCst);
    let mut admin = stage.as_admin().await;
    let minted = mint(&mut admin, 10).await;
    assert_eq!((minted.code.as_str(), minted.boot_strap_token.as_str()), ("500", ""));
    let refused = admin.get_token(GetTokenRequest { boot_strap_token: token.clone() }).await.unwrap().into_inner();
    assert_eq!((refused.code.as_str(), refused.token.as_str(), refused.grpc_client_key.as_str()), ("500", "", ""));
    let kept = unregister(&mut admin, &joined.token).await;
    assert_eq!((kept.code.as_str(), kept.result), ("500", false));
    let keys = stage.control.ledger().node(stage.peer(&joined)).unwrap().row.keys();
    assert!(keys.len() == 2 && keys.iter().all(|key| !stage.control.authority().is_denied(key)));
    assert_eq!((uses(&stage), stage.hub.cuts().len()), (before, 0));
    stage.disk_is_full.store(false, Ordering::SeqCst);
    assert_eq!(admin.get_token(GetTokenRequest { boot_strap_token: token }).await.unwrap().into_inner().code, "200");
    assert!(unregister(&mut admin, &joined.token).await.result);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_rpc_is_unimplemented_and_one_of_the_other_port_too() {
    let stage = stage(|_| {});
    let channel = stage.channel(stage.bootstrap, None).await.unwrap();
    let wrong = LiteKubeNcServiceClient::new(channel).health_check(HealthCheckRequest {}).await.unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::Unimplemented);
}

/// A node that opens connections without end kept the administrator out.
#[tokio::test(flavor = "multi_thread")]
async fn one_certificate_has_its_share_of_the_register_port_and_keeps_nobody_out() {
    let stage = stage(|_| {});
    let node = Credentials::from(&stage.control.authority().for_legacy_node(SystemTime::now()).unwrap().0);
    let mut held = Vec::new();
    let answered = async || {
        let channel = stage.channel(stage.register, Some(&node)).await.ok()?;
        let mut client = LiteKubeNcServiceClient::new(channel);
        client.health_check(HealthCheckRequest {}).await.ok().map(|_| client)
    };
    while let Some(client) = answered().await {
        held.push(client);
        assert!(held.len() <= OF_ONE, "it has as many as it likes");
    }
    assert_eq!(held.len(), OF_ONE);
    assert_eq!(mint(&mut stage.as_admin().await, 10).await.code, "200");
    drop(held);
    timeout(PATIENCE, async { while answered().await.is_none() {} }).await.expect("there is room again");
}

/// Whoever had a token for many nodes had 64 certificates, and with them all places. Each is one connection's, which ends with it.
#[tokio::test]
async fn nodes_that_hold_all_places_keep_neither_administrators_nor_other_nodes_out() {
    let stage = stage(|_| {});
    let served = Served::new(Arc::clone(&stage.control), Port::Register, Drain::new().handle()).unwrap();
    let handshakes = Arc::<Handshakes>::default();
    let held = |role, key: usize| {
        served.held(
            Some(&Shown { key: key.to_string(), role, authority: None }),
            handshakes.begin([203, 0, 113, 9].into()),
        )
    };
    let mut nodes: Vec<_> = (0..ALL).filter_map(|n| held(Role::Node, n / OF_ONE)).collect();
    assert!(nodes.len() == ALL && held(Role::Node, 0).is_none());
    let administrator = held(Role::Admin, ALL).expect("a place");
    assert!(nodes.iter().all(|node| node.cut().now_or_never().is_none()), "they have places of their own");
    let late = held(Role::Node, ALL).expect("a place");
    nodes.remove(0).cut().now_or_never().expect("the oldest of who has the most gives way");
    assert!(nodes.iter().chain([&late, &administrator]).all(|held| held.cut().now_or_never().is_none()));
}

/// Whoever was cut off, or has to find out who takes all places, reads it there.
#[tokio::test]
async fn a_connection_that_gives_way_is_in_the_audit_log() {
    let stage = stage(|_| {});
    let (log, _listening) = AuditLog::listen();
    let served = Arc::new(Served::new(Arc::clone(&stage.control), Port::Register, Drain::new().handle()).unwrap());
    let issued = stage.control.authority().for_legacy_node(SystemTime::now()).unwrap().0;
    let (near, far) = tokio::io::duplex(64 << 10);
    let connection = tokio::spawn(Arc::clone(&served).connection(far, ([203, 0, 113, 9], 40_000).into(), None));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(stage.tls(Some(&Credentials::from(&issued)))));
    let name = rustls_pki_types::ServerName::from(std::net::IpAddr::from([10, 1, 1, 1]));
    let mut stream = connector.connect(name, near).await.unwrap();
    // What it says first is heard: it has its place.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    stream.read_u8().await.unwrap();
    let handshakes = Arc::<Handshakes>::default();
    let held = |key: String| {
        served
            .held(Some(&Shown { key, role: Role::Node, authority: None }), handshakes.begin([203, 0, 113, 9].into()))
            .expect("a place")
    };
    let _second = held(issued.key_sha256.clone());
    let _others: Vec<_> = (2..ALL).map(|n| held(n.to_string())).collect();
    assert_eq!(log.lines(), [""; 0]);
    let _late = held("late".into());
    timeout(PATIENCE, connection).await.expect("it gives way").unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in ["all connections are taken", "203.0.113.9:40000", "Register", &issued.key_sha256] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
}

/// Slow loris: the clock is the test's.
#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_in_tls_is_given_up_after_ten_seconds_on_both_ports() {
    let stage = stage(|_| {});
    for port in [Port::Register, Port::Bootstrap] {
        let served = Arc::new(Served::new(Arc::clone(&stage.control), port, Drain::new().handle()).unwrap());
        let (mut near, far) = tokio::io::duplex(64);
        let start = tokio::time::Instant::now();
        let connection = tokio::spawn(served.connection(far, ([203, 0, 113, 9], 40_000).into(), None));
        // A record that never comes whole.
        near.write_all(&[0x16, 3, 1, 2]).await.unwrap();
        assert_eq!(near.read(&mut [0; 9]).await.unwrap_or(0), 0);
        connection.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10, "{port:?}");
    }
}
