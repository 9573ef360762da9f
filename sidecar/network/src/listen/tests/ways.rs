//! Whatever bytes a client sends, it gets the same by the short way as from hyper.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::testing::{A, Plain, Running, institution};

/// Ends every conversation whose last request was whole.
const BYE: &str = "GET /seen HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// The same node twice.
struct Both {
    short: Running,
    hyper: Running,
}

impl Both {
    fn start() -> Self {
        let both = Self {
            short: Running::start(institution(A).parts(Vec::new())),
            hyper: Running::start(institution(A).parts(Vec::new())),
        };
        both.hyper.seen.all_by_hyper.store(true, Ordering::SeqCst);
        both
    }

    /// What both say to these writes; it must be the same.
    async fn said(&self, writes: &[&[u8]]) -> String {
        let (short, hyper) = tokio::join!(conversation(&self.short, writes), conversation(&self.hyper, writes));
        let sent: Vec<_> = writes.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        assert_eq!(short, hyper, "the short way says the first, hyper the second, to {sent:?}");
        short
    }
}

/// Everything that the node says until it ends the connection, dates left out.
async fn conversation(node: &Running, writes: &[&[u8]]) -> String {
    let mut plain = Plain::to(node.address).await;
    for bytes in writes {
        // The node may have ended it by now.
        if plain.tcp.write_all(bytes).await.is_err() {
            break;
        }
        if writes.len() > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    without_dates(&plain.read_to_end().await)
}

fn without_dates(said: &str) -> String {
    said.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /echo?a=b HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}")
}

fn get(headers: &str) -> String {
    format!("GET /echo HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

/// Requests that go the short way.
fn plain() -> Vec<String> {
    let large = "x".repeat(100_000);
    vec![
        get(""),
        get("accept: a\r\nACCEPT: b\r\nX_Ptp_Topic:\t t \r\n"),
        get("connection: Keep-Alive\r\ncontent-length: 0\r\n"),
        post("content-length: 3\r\n", "abc"),
        post("", ""),
        post("content-length: 003\r\n", "abc"),
        post("content-length: 100000\r\n", &large),
        post("content-length: 20000\r\n", &large[..20_000]),
        get("").repeat(3),
        post("content-length: 3\r\n", "abc").repeat(2) + &get(""),
        "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /close HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /seen HTTP/1.1\r\n\r\n".into(),
        "GET /seen HTTP/1.1\r\nhost: evil.example\r\n\r\n".into(),
        "GET /seen HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n\r\n".into(),
        "GET /seen HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 1.2.3.4\r\n\r\n".into(),
    ]
}

/// Requests that hyper serves. The second half could be cut in two ways by two readers, which is how requests are smuggled.
fn odd() -> Vec<String> {
    let header = "y".repeat(20_000);
    vec![
        "PUT /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc".into(),
        "HEAD /seen HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET http://localhost/echo HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /echo HTTP/1.0\r\nhost: localhost\r\nconnection: keep-alive\r\n\r\n".into(),
        "\r\nGET /echo HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /echo HTTP/1.1\nhost: localhost\n\n".into(),
        "GET /echo HTTP/1.1\r\nhost: localhost\r\nx: a\n\r\n".into(),
        "GET /e\tcho HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /echo#x HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        "GET /\u{e9} HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        get("x: a\r\n b\r\n"),
        get("x : a\r\n"),
        get("x: \x01\r\n"),
        get(": a\r\n"),
        get("x\r\n"),
        get(&format!("x: {header}\r\n")),
        get(&"x: y\r\n".repeat(50)),
        get("host: localhost\r\n"),
        get("content-length: 3\r\n") + "abc",
        get("expect: 100-continue\r\n"),
        get("upgrade: websocket\r\nconnection: upgrade\r\n"),
        get("te: trailers\r\n"),
        post("content-length: 3\r\ncontent-length: 3\r\n", "abc"),
        post("content-length: 3\r\ncontent-length: 4\r\n", "abcd"),
        post("content-length: 3, 3\r\n", "abc"),
        post("content-length: +3\r\n", "abc"),
        post("content-length: -3\r\n", "abc"),
        post("content-length: 0x3\r\n", "abc"),
        post("content-length: 3 3\r\n", "abc"),
        post("content-length:\r\n", ""),
        post("content-length: 99999999999999999999\r\n", "abc"),
        post("transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n"),
        post("transfer-encoding: chunked\r\ncontent-length: 3\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("content-length: 3\r\ntransfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("transfer-encoding: identity\r\ncontent-length: 3\r\n", "abc"),
        post("transfer-encoding: xchunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("transfer-encoding:\tchunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("transfer_encoding: chunked\r\ncontent-length: 3\r\n", "abc"),
        post("transfer-encoding: chunked\n", "3\r\nabc\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "3\nabc\n0\n\n"),
        post("content-length: 3\n", "abc"),
        "garbage\r\n\r\n".into(),
        "GET\r\n\r\n".into(),
    ]
}

#[tokio::test]
async fn the_same_bytes_get_the_same_answer_either_way() {
    let both = Both::start();
    for request in plain().into_iter().chain(odd()) {
        let with_end = request.clone() + BYE;
        let said = both.said(&[with_end.as_bytes()]).await;
        // And behind a plain request, together with one, and in two parts.
        both.said(&[get("").as_bytes(), with_end.as_bytes()]).await;
        both.said(&[(get("") + &with_end).as_bytes()]).await;
        let (first, rest) = with_end.split_at(with_end.char_indices().nth(30).unwrap().0);
        assert_eq!(both.said(&[first.as_bytes(), rest.as_bytes()]).await, said, "{request:?}");
    }
}

#[tokio::test]
async fn what_leaves_a_doubt_goes_to_hyper_and_what_does_not_goes_the_short_way() {
    let node = Running::start(institution(A).parts(Vec::new()));
    let by_hyper = || node.gate.metrics.odd.get();
    for request in plain() {
        let mut plain = Plain::to(node.address).await;
        plain.write(&request).await;
        plain.answer().await;
        assert_eq!(by_hyper(), 0, "{request:?}");
    }
    for (n, request) in odd().into_iter().enumerate() {
        conversation(&node, &[(request.clone() + BYE).as_bytes()]).await;
        assert_eq!(by_hyper(), n as u64 + 1, "{request:?}");
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_anywhere_gets_the_same_end_either_way() {
    let both = Both::start();
    let request = post("content-length: 3\r\nx-ptp-topic: t\r\n", "abc").replace("/echo", "/seen");
    for cut in 0..request.len() {
        let mut ends = Vec::new();
        for node in [&both.short, &both.hyper] {
            let mut plain = Plain::to(node.address).await;
            plain.write(&request[..cut]).await;
            plain.tcp.shutdown().await.unwrap();
            let mut said = Vec::new();
            timeout(Duration::from_secs(60), plain.tcp.read_to_end(&mut said)).await.unwrap().unwrap();
            // hyper does not say that it closes, where the client has.
            ends.push(without_dates(&String::from_utf8_lossy(&said)).replace("connection: close\r\n", ""));
        }
        assert_eq!(ends[0], ends[1], "cut after {cut} bytes");
    }
}

#[tokio::test]
async fn a_large_body_that_nobody_reads_ends_the_connection_either_way() {
    let both = Both::start();
    for node in [&both.short, &both.hyper] {
        let mut plain = Plain::to(node.address).await;
        plain.write("POST /unread HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50000000\r\n\r\n").await;
        plain.write(vec![0; 100_000]).await;
        assert!(plain.read_to_end().await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}
