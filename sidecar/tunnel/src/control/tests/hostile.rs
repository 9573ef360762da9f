//! What strangers try: no certificate, a wrong one, plain text, floods, and a disk that is full.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use proto::nc::{
    GetTokenRequest, HealthCheckRequest, lite_kube_nc_bootstrap_service_client::LiteKubeNcBootstrapServiceClient,
    lite_kube_nc_service_client::LiteKubeNcServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::stage::*;
use crate::ledger::Mint;

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
