//! Who does not come in, and how that is said.
#![allow(clippy::disallowed_methods, reason = "loopback, in tests")]

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::world::{LONG, World, request};
use crate::seam::{Denied, PeerId, Sessions as _};

#[tokio::test]
async fn a_bad_token_is_told_so_after_the_101() {
    let world = World::new().await;
    world.office.issue(1);
    let long = "f".repeat(300);
    let table = [
        ("Node-Token: ffffffffffff4fff\r\n", "invalid token ffffffffffff4fff"),
        ("Node-Token: \r\n", "invalid token "),
        ("", "invalid token "),
        ("Node-Token: 1\r\nNode-Token: 1\r\n", "invalid token "),
        ("Node-Token: reserverd\r\n", "invalid token reserverd"),
        ("Node-Token: 长\r\n", "invalid token 长"),
    ];
    for (headers, reason) in table {
        let (answer, mut node) = world.request(&request(headers)).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{headers}: {answer}");
        assert_eq!(node.farewell().await, (1000, reason.to_owned()), "{headers}");
    }
    let (_, mut node) = world.ask(&long).await;
    assert_eq!(node.farewell().await.1, format!("invalid token {long}")[..123]);
    assert!(world.office.told().is_empty());
}

#[tokio::test]
async fn other_requests_get_their_status() {
    let world = World::new().await;
    let good = request("Node-Token: 1\r\n");
    let table = [
        (good.replace("/ws", "/"), 404),
        (good.replace("/ws", "/ws/"), 404),
        (good.replace("GET", "POST"), 405),
        (good.replace("Node-Token: 1\r\n", "Origin: https://evil.example\r\nNode-Token: 1\r\n"), 403),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 404),
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 426),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (head, status) in table {
        let (answer, _) = world.request(&head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
}

#[tokio::test]
async fn whoever_shall_come_again_later_is_told_503_before_the_upgrade() {
    let world = World::new().await;
    let token = world.office.issue(1);
    for denied in [Denied::NoAddress, Denied::Busy] {
        *world.office.denies.lock() = Some(denied);
        let (answer, _) = world.ask(&token).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{denied}: {answer}");
    }
    *world.office.denies.lock() = None;
    world.join(&token).await;
}

#[tokio::test]
async fn clients_without_alpn_and_with_http_1_1_come_in_and_h2_alone_does_not() {
    let world = World::new().await;
    for alpn in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
        world.dial(alpn).await.unwrap();
    }
    assert!(world.dial(&["h2"]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_given_up_after_ten_seconds() {
    let world = World::new().await;
    // In TLS, in the head, and in the handshake.
    let start = Instant::now();
    let mut tcp = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(timeout(LONG, tcp.read(&mut [0; 9])).await.unwrap().unwrap_or(0), 0);
    assert!(start.elapsed() < Duration::from_secs(12), "TLS: {:?}", start.elapsed());

    let mut tls = world.dial(&[]).await.unwrap();
    let start = Instant::now();
    tls.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    assert_eq!(timeout(LONG, tls.read(&mut [0; 9])).await.unwrap().unwrap_or(0), 0);
    assert!(start.elapsed() < Duration::from_secs(12), "head: {:?}", start.elapsed());

    let (_, mut node) = world.ask(&world.office.issue(1)).await;
    let start = Instant::now();
    assert!(node.next().await.is_none());
    assert!(start.elapsed() < Duration::from_secs(12), "handshake: {:?}", start.elapsed());
    super::joins::until(|| world.hub.count() == 0).await;
}

/// Whoever forgets an authority cuts the sessions that are there, and this one is none yet when it does.
#[tokio::test]
async fn a_node_whose_authority_is_forgotten_while_it_comes_is_refused_for_good() {
    let world = World::new().await;
    *world.office.authority.lock() = Some("5f".into());
    world.newcomer(1).await;
    world.office.forgot.lock().push("5f".into());
    let token = world.office.issue(2);
    let (answer, mut node) = world.ask(&token).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(node.farewell().await, (1000, format!("invalid token {token}")));
    super::joins::until(|| world.hub.figures().iter().all(|live| live.peer == PeerId(1))).await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_refused() {
    let world = World::new().await;
    let (answer, _) = world.request(&format!("GET /ws HTTP/1.1\r\nHost: x\r\nCookie: {}", "c".repeat(20_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn plain_text_gets_no_tunnel() {
    let world = World::new().await;
    let mut tcp = TcpStream::connect(world.address).await.unwrap();
    tcp.write_all(request("Node-Token: 1\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(LONG, tcp.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/"), "{}", answer.escape_ascii());
}
