//! Time limits and connection bounds.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;

use crate::{
    NameCheck,
    listen::Limits,
    testing::{A, B, Plain, Running, TlsClient, institution, json_of, plain_from, tls_client, until},
};

fn node(limits: Limits) -> Running {
    Running::start_with(institution(A).parts(Vec::new()), limits, NameCheck::Required)
}

const SOON: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_after_the_limit() {
    let node = node(Limits { handshake: SOON, ..Limits::default() });
    for first in ["", "P", "PR", "\x16", "\x16\x03\x01"] {
        let start = Instant::now();
        let mut plain = Plain::to(node.address).await;
        plain.write(first).await;
        assert_eq!(plain.read_to_end().await, "", "{first:?}");
        assert!((SOON..Duration::from_secs(9)).contains(&start.elapsed()), "{first:?} after {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn slow_headers_are_cut_and_idle_connections_are_not() {
    let node = node(Limits { headers: SOON, ..Limits::default() });
    let mut slow = Plain::to(node.address).await;
    slow.write("GET /seen HTTP/1.1\r\nhost: loc").await;
    let start = Instant::now();
    slow.read_to_end().await;
    assert!(start.elapsed() < Duration::from_secs(9));

    let mut idle = Plain::to(node.address).await;
    idle.get("host: localhost\r\n").await;
    tokio::time::sleep(3 * SOON).await;
    assert_eq!(idle.get("host: localhost\r\n").await["requests"], 2, "the same connection, long after");
    // A body before must not start the clock of the next headers.
    idle.write("POST /seen HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\n").await;
    idle.write("abc").await;
    assert_eq!(json_of(&idle.answer().await)["bytes"], 3);
    tokio::time::sleep(3 * SOON).await;
    assert_eq!(idle.get("host: localhost\r\n").await["requests"], 4);
    // And slow headers on a used connection are cut too.
    idle.write("GET /seen HTTP/1.1\r\nhost: loc").await;
    let start = Instant::now();
    idle.read_to_end().await;
    assert!(start.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn a_stranger_does_not_hold_its_place_for_long() {
    let (a, b) = (institution(A), institution(B));
    let limits = Limits { strangers: SOON, ..Limits::default() };
    let node = Running::start_with(a.parts(vec![b.route()]), limits, NameCheck::Required);
    let mut stranger = tls_client(None, &["http/1.1"]).connect(node.address).await;
    let mut partner = tls_client(Some(&b.leaf()), &["http/1.1"]).connect(node.address).await;
    let mut local = Plain::to(node.address).await;
    assert_eq!(TlsClient::get_on(&mut stranger, "").await["who"], "stranger");
    assert_eq!(TlsClient::get_on(&mut partner, "").await["who"], B);
    local.get("host: localhost\r\n").await;
    let start = Instant::now();
    stranger.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(9));
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(TlsClient::get_on(&mut partner, "").await["requests"], 2);
    assert_eq!(local.get("host: localhost\r\n").await["requests"], 2);
}

/// One with a token is nobody's partner, and no stranger: its watch ended after a minute.
#[tokio::test]
async fn whom_the_front_knows_keeps_its_place() {
    let node = node(Limits { strangers: SOON, ..Limits::default() });
    let mut stranger = tls_client(None, &["http/1.1"]).connect(node.address).await;
    let mut known = tls_client(None, &["http/1.1"]).connect(node.address).await;
    assert_eq!(TlsClient::get_on(&mut known, "x-known: yes\r\n").await["who"], "stranger");
    assert_eq!(TlsClient::get_on(&mut stranger, "").await["who"], "stranger");
    stranger.read_to_end(&mut Vec::new()).await.unwrap();
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(TlsClient::get_on(&mut known, "").await["requests"], 2, "the same connection, long after");
}

#[tokio::test]
async fn a_stranger_that_takes_no_answer_does_not_hold_its_place_either() {
    let node = node(Limits { strangers: SOON, ..Limits::default() });
    let mut stranger = plain_from([127, 0, 0, 2].into(), node.address).await;
    stranger.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // SETTINGS: an initial window of 0. HEADERS: GET http /seen, the end of the stream.
    stranger.write([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]).await;
    stranger.write([0, 0, 9, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x04, 5, b'/', b's', b'e', b'e', b'n']).await;
    let mut said = Vec::new();
    let ended = stranger.tcp.read_to_end(&mut said);
    // Whether it ends in order or by a reset does not matter.
    assert!(tokio::time::timeout(Duration::from_secs(30), ended).await.is_ok());
}

#[tokio::test]
async fn beyond_the_bound_connections_are_turned_away_and_come_again_later() {
    let node = node(Limits { local_connections: 2, ..Limits::default() });
    // One after the other: whoever was not admitted yet gives way.
    let mut first = Plain::to(node.address).await;
    first.get("host: localhost\r\n").await;
    let mut second = Plain::to(node.address).await;
    second.get("host: localhost\r\n").await;
    let mut third = Plain::to(node.address).await;
    assert_eq!(third.read_to_end().await, "");
    drop(second);
    // The place is free once the node has seen the end.
    for attempt in 0.. {
        let mut again = Plain::to(node.address).await;
        again.write("GET /seen HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        if !again.answer().await.is_empty() {
            break;
        }
        assert!(attempt < 100, "the place never became free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn whoever_is_not_admitted_gives_way_to_others_and_whoever_is_stays() {
    let (a, b) = (institution(A), institution(B));
    let limits = Limits { local_connections: 4, ..Limits::default() };
    let node = Running::start_with(a.parts(vec![b.route()]), limits, NameCheck::Required);
    let mut partner = tls_client(Some(&b.leaf()), &["http/1.1"]).connect(node.address).await;
    assert_eq!(TlsClient::get_on(&mut partner, "").await["who"], B);
    // Two strangers are half of the room: one that was answered, and one within its handshake.
    let mut answered = tls_client(None, &["http/1.1"]).connect(node.address).await;
    assert_eq!(TlsClient::get_on(&mut answered, "").await["who"], "stranger");
    let mut silent = Plain::to(node.address).await;
    silent.write("\x16").await;
    let mut local = Plain::to(node.address).await;
    assert_eq!(local.get("host: localhost\r\n").await["who"], "local");
    let ended = tokio::time::timeout(Duration::from_secs(60), answered.read(&mut [0; 1])).await;
    assert!(!matches!(ended.expect("the oldest stranger gives way"), Ok(1..)));
    let mut another = Plain::to(node.address).await;
    assert_eq!(another.get("host: localhost\r\n").await["who"], "local");
    assert_eq!(Plain::to(node.address).await.get("host: localhost\r\n").await["who"], "local", "for the silent one");
    assert_eq!(silent.read_to_end().await, "");
    assert_eq!(TlsClient::get_on(&mut partner, "").await["requests"], 2);
    assert_eq!(local.get("host: localhost\r\n").await["requests"], 2);
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_reads_the_answer() {
    let node = node(Limits::default());
    let mut plain = plain_from([127, 0, 0, 1].into(), node.address).await;
    plain.write("POST /unread HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50000000\r\n\r\n").await;
    // The node answers without reading; the client sends on for a while, as clients do.
    let chunk = vec![0; 64 * 1024];
    for _ in 0..64 {
        if tokio::io::AsyncWriteExt::write_all(&mut plain.tcp, &chunk).await.is_err() {
            break;
        }
    }
    assert!(plain.answer().await.starts_with("HTTP/1.1 200"), "the answer was destroyed by a reset");
}

#[tokio::test]
async fn a_small_body_that_comes_after_its_answer_does_not_end_the_connection() {
    let node = node(Limits::default());
    node.seen.all_by_hyper.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut plain = Plain::to(node.address).await;
    for (how, body) in [("content-length: 3", "abc"), ("transfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")] {
        plain.write(&format!("POST /unread HTTP/1.1\r\nhost: localhost\r\n{how}\r\n\r\n")).await;
        assert_eq!(json_of(&plain.answer().await)["path"], "/unread");
        plain.write(body).await;
        assert_eq!(plain.get("host: localhost\r\n").await["path"], "/seen", "{how}");
    }
    // Who waits for a 100 that does not come has nothing to send, and nobody waits for it.
    plain.write("POST /unread HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n").await;
    let rest = plain.read_to_end().await;
    assert!(rest.starts_with("HTTP/1.1 200") && !rest.contains("100 Continue"), "{rest}");
}

#[tokio::test]
async fn what_has_come_of_a_slow_body_is_given_out() {
    let node = node(Limits::default());
    let pieces = || node.seen.pieces.load(std::sync::atomic::Ordering::SeqCst);
    let mut plain = Plain::to(node.address).await;
    plain.write("POST /pieces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 6\r\n\r\nabc").await;
    until(|| pieces() == 1).await;
    plain.write("def").await;
    assert_eq!(json_of(&plain.answer().await)["bytes"], 6);
    assert_eq!(pieces(), 2);
}

#[tokio::test]
async fn a_large_body_comes_in_pieces_and_the_connection_goes_on() {
    let node = node(Limits::default());
    let mut plain = Plain::to(node.address).await;
    plain.write("POST /pieces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3000000\r\n\r\n").await;
    plain.write(vec![0; 3_000_000]).await;
    assert_eq!(json_of(&plain.answer().await)["bytes"], 3_000_000);
    assert!(node.seen.pieces.load(std::sync::atomic::Ordering::SeqCst) >= 3);
    assert_eq!(plain.get("host: localhost\r\n").await["requests"], 2);
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_the_connection_goes_on() {
    let node = node(Limits::default());
    let mut plain = Plain::to(node.address).await;
    plain.write("GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let answer = plain.answer().await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.ends_with("\r\n\r\ninternal error"), "{answer}");
    assert_eq!(plain.get("host: localhost\r\n").await["requests"], 2);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_wait() {
    let node = node(Limits::default());
    let mut plain = Plain::to(node.address).await;
    plain.write("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    until(|| node.waiting() == 1).await;
    tokio::task::yield_now().await;
    socket2::SockRef::from(&plain.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    drop(plain);
    until(|| node.waiting() == 0).await;
}
