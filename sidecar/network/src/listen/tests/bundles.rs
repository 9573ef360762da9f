//! What a node takes in a bundle, and from whom: whoever sends nonsense loses its connection, and nobody gets in by it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::Request;
use mesh_pki::Pair;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::fates::{Fate, start};
use crate::{
    bundle::{
        CALLS_OF_A_BUNDLE, LONGEST_BODY,
        frame::{self, Kind},
        head::{self, MOST_HEADERS},
    },
    testing::{A, B, PAGE, Running, institution, tls_client, until},
};

/// A caller that writes frames as it likes.
struct Raw {
    tls: TlsStream<TcpStream>,
    come: Vec<u8>,
}

impl Raw {
    async fn to(node: &Running, pair: Option<&Pair>) -> Self {
        Self::at(node.address, pair).await
    }

    async fn at(address: SocketAddr, pair: Option<&Pair>) -> Self {
        let tls = tls_client(pair, &["interconn/1", "h2"]).connect(address).await;
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"interconn/1"[..]));
        let mut raw = Self { tls, come: Vec::new() };
        assert_eq!(raw.frame().await.unwrap().0, Kind::Hello);
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).await.unwrap();
        self.tls.flush().await.unwrap();
    }

    async fn call(&mut self, number: u32, path: &str, body: &[u8]) {
        let mut bytes = Vec::new();
        put(&mut bytes, number, path, body);
        self.send(&bytes).await;
    }

    /// The next frame; `None`: the node has ended the connection.
    async fn frame(&mut self) -> Option<(Kind, u32, Vec<u8>)> {
        loop {
            if let Some((frame, used)) = frame::first(&self.come).unwrap() {
                let whole = (frame.kind, frame.call, frame.content.to_vec());
                self.come.drain(..used);
                return Some(whole);
            }
            let reading = self.tls.read_buf(&mut self.come);
            if !matches!(timeout(Duration::from_secs(60), reading).await.expect("a frame or the end"), Ok(1..)) {
                return None;
            }
        }
    }

    /// What the node's service says in the next answer.
    async fn answer(&mut self) -> (u32, serde_json::Value) {
        let (kind, number, content) = self.frame().await.unwrap();
        assert_eq!(kind, Kind::Answer);
        (number, serde_json::from_slice(head::answer(&content).unwrap().1).unwrap())
    }
}

fn put(out: &mut Vec<u8>, number: u32, path: &str, body: &[u8]) {
    let request = Request::post(path).body(()).unwrap();
    frame::put(out, Kind::Call, number, |out| {
        head::put_call(out, &request);
        out.extend_from_slice(body);
    });
}

fn node() -> (Running, Pair) {
    let (a, b) = (institution(A), institution(B));
    (Running::start(a.parts(vec![b.route()])), b.leaf())
}

#[tokio::test]
async fn each_call_is_admitted_by_itself_and_strangers_are_nobody() {
    let (node, pair) = node();
    for (pair, who, code) in [(Some(&pair), B, "E0000000000"), (None, "stranger", "E0000000403")] {
        let mut raw = Raw::to(&node, pair).await;
        raw.call(1, "/seen", b"four").await;
        let (_, said) = raw.answer().await;
        assert_eq!((&said["who"], &said["code"], &said["bytes"]), (&who.into(), &code.into(), &4.into()));
    }
}

#[tokio::test]
async fn calls_that_come_in_one_write_or_byte_by_byte_are_all_answered() {
    let (node, pair) = node();
    let mut raw = Raw::to(&node, Some(&pair)).await;
    let mut bytes = Vec::new();
    (1..=50).for_each(|n| put(&mut bytes, n, "/seen", &vec![0; 1000]));
    raw.send(&bytes).await;
    for n in 1..=50 {
        assert_eq!(raw.answer().await.0, n);
    }
    bytes.clear();
    put(&mut bytes, 51, "/seen", b"body");
    for byte in &bytes {
        raw.send(&[*byte]).await;
    }
    assert_eq!(raw.answer().await.1["bytes"], 4);
}

#[tokio::test]
async fn more_calls_than_anybody_may_have_are_refused_and_the_others_go_on() {
    let (node, pair) = node();
    let mut raw = Raw::to(&node, Some(&pair)).await;
    let most = u32::try_from(CALLS_OF_A_BUNDLE).unwrap();
    for n in 1..=most + 1 {
        raw.call(n, "/wait", b"").await;
    }
    assert_eq!(raw.frame().await.unwrap(), (Kind::Refused, most + 1, Vec::new()));
    assert_eq!(node.waiting(), CALLS_OF_A_BUNDLE);
    let mut cancel = Vec::new();
    frame::put_bare(&mut cancel, Kind::Cancel, 1);
    raw.send(&cancel).await;
    until(|| node.waiting() == CALLS_OF_A_BUNDLE - 1).await;
    raw.call(most + 2, "/seen", b"").await;
    assert_eq!(raw.answer().await.0, most + 2);
    drop(raw);
    until(|| node.waiting() == 0).await;
}

#[tokio::test]
async fn what_is_no_bundle_ends_the_connection() {
    let (node, pair) = node();
    let whole = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        fill(&mut bytes);
        bytes
    };
    let table = [
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an unknown kind", vec![99, 0, 0, 0, 0, 0, 0, 0]),
        ("a length that nobody may send", vec![1, 255, 255, 255, 0, 0, 0, 0]),
        ("an answer to nobody", whole(&|out| frame::put_bare(out, Kind::Answer, 1))),
        (
            "a number twice",
            whole(&|out| {
                put(out, 1, "/wait", b"");
                put(out, 1, "/wait", b"");
            }),
        ),
    ];
    for (what, bytes) in table {
        let mut raw = Raw::to(&node, Some(&pair)).await;
        raw.send(&bytes).await;
        assert_eq!(raw.frame().await, None, "{what}");
    }
    until(|| node.waiting() == 0).await;
    let node = Arc::new(node);
    assert_eq!(Raw::to(&node, Some(&pair)).await.come, b"");
}

#[tokio::test]
async fn a_call_that_nobody_can_read_is_refused_and_the_others_go_on() {
    let (node, pair) = node();
    let mut raw = Raw::to(&node, Some(&pair)).await;
    raw.call(1, "/slow", b"").await;
    let mut bytes = Vec::new();
    let mut crowded = Request::post("/seen").body(()).unwrap();
    (0..=MOST_HEADERS).for_each(|_| {
        crowded.headers_mut().append("mesh-mdc", "a".parse().unwrap());
    });
    frame::put(&mut bytes, Kind::Call, 2, |out| head::put_call(out, &crowded));
    frame::put(&mut bytes, Kind::Call, 3, |out| out.extend_from_slice(b"\xff\xff/"));
    put(&mut bytes, 4, "/seen", &[0; LONGEST_BODY + 1]);
    raw.send(&bytes).await;
    for n in 2..=4 {
        let (kind, number, content) = raw.frame().await.unwrap();
        assert_eq!((kind, number), (Kind::Answer, n));
        let (head, text) = head::answer(&content).unwrap();
        assert_eq!(head.status(), 400, "{n}: {}", String::from_utf8_lossy(text));
    }
    let (number, said) = raw.answer().await;
    assert_eq!((number, &said["code"]), (1, &"E0000000000".into()));
}

#[tokio::test]
async fn a_caller_that_takes_no_answers_gets_no_more_made() {
    // What the buffers of both sockets hold, at the most, and what the node may keep beside them.
    const AHEAD: usize = 300;
    let (node, pair) = node();
    let pages = || node.seen.pages.load(Ordering::SeqCst);
    let mut taken = 0;
    // Calls that are answered at once, all in one read; and calls that wait and are answered at the same time.
    for (path, calls) in [("/page", 800), ("/held", 500)] {
        let mut raw = Raw::to(&node, Some(&pair)).await;
        socket2::SockRef::from(raw.tls.get_ref().0).set_recv_buffer_size(64 * 1024).unwrap();
        let mut bytes = Vec::new();
        (1..=calls).for_each(|n| put(&mut bytes, n, path, b""));
        raw.send(&bytes).await;
        if path == "/held" {
            until(|| node.waiting() == 500).await;
            node.seen.hold.cancel();
        }
        let mut answered = Vec::new();
        for _ in 0..calls {
            let (kind, n, content) = raw.frame().await.unwrap();
            assert_eq!((kind, head::answer(&content).unwrap().1.len()), (Kind::Answer, PAGE));
            taken += 1;
            assert!(pages() <= taken + AHEAD, "{path}: {} are made, {taken} are taken", pages());
            answered.push(n);
        }
        answered.sort_unstable();
        assert!(answered.into_iter().eq(1..=calls), "{path}: each has its answer");
    }
}

#[tokio::test]
async fn an_answer_is_received_when_it_was_written_and_lost_where_it_does_not_fit() {
    let (address, mut fates, _drain) = start(true);
    let mut raw = Raw::at(address, None).await;
    for (path, status, fate) in [("/large", 500, Fate::Lost), ("/small", 200, Fate::Received)] {
        raw.call(1, path, b"").await;
        let (_, _, content) = raw.frame().await.unwrap();
        assert_eq!(head::answer(&content).unwrap().0.status(), status, "{path}");
        assert_eq!(fates.recv().await, Some(fate), "{path}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_while_calls_wait() {
    let (node, pair) = node();
    let mut raw = Raw::to(&node, Some(&pair)).await;
    raw.call(1, "/wait", b"").await;
    let mut ping = Vec::new();
    frame::put_bare(&mut ping, Kind::Ping, 77);
    raw.send(&ping).await;
    assert_eq!(raw.frame().await.unwrap(), (Kind::Pong, 77, Vec::new()));
}

#[tokio::test]
async fn a_node_that_ends_says_so_and_answers_what_still_comes() {
    let (node, pair) = node();
    let mut raw = Raw::to(&node, Some(&pair)).await;
    raw.call(1, "/slow", b"").await;
    let ending = node.drain.run(Duration::from_secs(20));
    let talking = async {
        assert_eq!(raw.frame().await.unwrap(), (Kind::Leaving, 0, Vec::new()));
        raw.call(2, "/seen", b"").await;
        let mut numbers = [raw.answer().await.0, raw.answer().await.0];
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
        raw.tls.shutdown().await.unwrap();
    };
    timeout(Duration::from_secs(60), async { tokio::join!(ending, talking) }).await.expect("it ends with its caller");
}
