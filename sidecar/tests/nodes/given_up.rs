//! Pops over HTTP/2 whose clients give them up, in plain text and over TLS, over HTTP and gRPC, at every stage of the
//! answer: the message comes back exactly once, or is gone, as `docs/delivery.md` says.

mod named;

use std::{net::Ipv4Addr, time::Duration};

use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::harness::{
    A, B, Bank, Client, Node, Partner, base64, connect,
    h2::{self, DATA, END_STREAM, GOAWAY, H2, HEADERS, RST_STREAM},
    over_tls, post, tls, until,
};

const OK: &str = "E0000000000";
/// What the three messages of a round are.
const ROW: [&str; 3] = ["one", "two", "three"];
/// Room for any answer.
const WIDE: u32 = 1 << 30;
/// As a client says that it only stops sending.
const NO_ERROR: [u8; 4] = [0; 4];

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How a client calls.
#[derive(Clone, Copy, Debug)]
enum Way {
    Http,
    Grpc,
    /// As a partner's node: wrapped, over TLS.
    TlsHttp,
    TlsGrpc,
}

const WAYS: [Way; 4] = [Way::Http, Way::Grpc, Way::TlsHttp, Way::TlsGrpc];

/// A node, and a partner that takes part in the session `s`.
struct Stage {
    node: Node,
    partner: Bank,
    _volume: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let (own, partner) = (Bank::new(A), Bank::new(B));
        let volume = tempfile::tempdir().unwrap();
        own.publish(volume.path(), &[Partner { bank: &partner, address: None, more: json!({}) }]);
        let node = Node::with(&[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
        let headers = [("x-ptp-uri", "https://ptp.cn/v1/interconn/chan/push"), ("x-ptp-session-id", "s")];
        let hello = json!({"topic": "hello", "payload": ""}).to_string();
        let body = json!({"metadata": {}, "payload": base64(&hello)}).to_string();
        let request = post("/v1/interconn/chan/invoke", &headers, body);
        let pushed = over_tls(node.data, Client::Pair(&partner.leaf), request).await;
        assert_eq!(pushed.code(), OK);
        Self { node, partner, _volume: volume }
    }

    /// Connects; dropped, the connection ends by a reset where it is to die.
    async fn client(&self, way: Way, window: u32, dies: bool) -> H2<Box<dyn Io>> {
        let linger = dies.then_some(Duration::ZERO);
        let io: Box<dyn Io> = match way {
            Way::Http | Way::Grpc => {
                let tcp = connect(Ipv4Addr::LOCALHOST, self.node.data).await;
                SockRef::from(&tcp).set_linger(linger).unwrap();
                Box::new(tcp)
            }
            Way::TlsHttp | Way::TlsGrpc => {
                let stream = tls(self.node.data, Client::Pair(&self.partner.leaf), &["h2"]).await;
                SockRef::from(stream.get_ref().0).set_linger(linger).unwrap();
                Box::new(stream)
            }
        };
        H2::over(io, window).await
    }

    async fn push_row(&self, topic: &str) {
        for text in ROW {
            assert_eq!(self.node.push(None, topic, text).await, OK);
        }
    }

    /// Once nothing is leased any more: these come in their order, the first of them marked where it came back; then nothing.
    async fn are_there(&self, topic: &str, row: &[&str], is_redelivered: bool, when: &str) {
        until(when, Duration::from_secs(10), async || self.node.leased().await == 0.0).await;
        for (n, text) in row.iter().enumerate() {
            let body = json!({"topic": topic, "timeout": 1});
            let popped = self.node.post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], &body).await;
            assert_eq!(popped.json()["payload"], base64(text), "{when}: number {n}");
            assert_eq!(
                popped.headers.contains_key("x-ptp-redelivered"),
                n == 0 && is_redelivered,
                "{when}: number {n}"
            );
        }
        assert_eq!(self.node.pop_now(topic).await, None, "{when}: once is enough");
    }
}

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat()
}

/// A field of bytes in protobuf.
fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

async fn ask(client: &mut H2<Box<dyn Io>>, way: Way, stream: u32, topic: &str) {
    ask_with(client, way, stream, topic, &[]).await;
}

async fn ask_with(client: &mut H2<Box<dyn Io>>, way: Way, stream: u32, topic: &str, more: &[(&str, &str)]) {
    let session = ("x-ptp-session-id", "s");
    let plain = [&[session], more].concat();
    let grpc = [&[("content-type", "application/grpc"), ("te", "trailers")], &plain[..]].concat();
    let inner = bytes_field(1, topic.as_bytes());
    let asked = match way {
        Way::Http => client.ask(stream, &format!("/v1/interconn/chan/pop?topic={topic}"), &plain, b"").await,
        Way::Grpc => client.ask(stream, "/org.ppc.ptp.PrivateTransferTransport/pop", &grpc, &framed(&inner)).await,
        Way::TlsHttp => {
            let json = [("content-type", "application/json"), ("x-ptp-uri", "https://ptp.cn/v1/interconn/chan/pop")];
            let headers = [&json, &plain[..]].concat();
            let inner = json!({ "topic": topic }).to_string();
            let body = json!({"metadata": {}, "payload": base64(&inner)}).to_string();
            client.ask(stream, "/v1/interconn/chan/invoke", &headers, body.as_bytes()).await
        }
        Way::TlsGrpc => {
            let uri = ("x-ptp-uri", "/org.ppc.ptp.PrivateTransferTransport/pop");
            let headers = [&grpc[..], &[uri]].concat();
            let body = framed(&bytes_field(2, &inner));
            client.ask(stream, "/org.ppc.ptp.PrivateTransferProtocol/invoke", &headers, &body).await
        }
    };
    assert!(asked);
}

/// Reads to the end of a stream.
async fn end_of(client: &mut H2<Box<dyn Io>>, stream: u32) {
    while let Some(frame) = client.next().await {
        if frame.stream == stream && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            return;
        }
    }
    panic!("the connection ended before the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pop_that_is_given_up_before_it_is_answered_takes_nothing() {
    let stage = Stage::set().await;
    let waiting = async |pops: f64| {
        let so_many = async || stage.node.metric("mesh_transport_waiting_pops").await == pops;
        until("so many pops to wait", Duration::from_secs(10), so_many).await;
    };
    for way in WAYS {
        let mut client = stage.client(way, WIDE, false).await;
        ask(&mut client, way, 1, "t").await;
        waiting(1.0).await;
        client.cancel(1).await;
        waiting(0.0).await;
        stage.push_row("t").await;
        stage.are_there("t", &ROW, false, &format!("{way:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_given_up_before_it_was_read_or_within_a_second_gives_the_message_back() {
    let stage = Stage::set().await;
    for way in WAYS {
        for (window, dies) in [(0, false), (5, false), (WIDE, false), (0, true), (5, true), (WIDE, true)] {
            let topic = format!("{way:?}-{window}-{dies}");
            let when = format!("{way:?} in a window of {window}, the connection dies: {dies}");
            stage.push_row(&topic).await;
            let mut client = stage.client(way, window, dies).await;
            ask(&mut client, way, 1, &topic).await;
            match window {
                0 => drop(client.wait_for(HEADERS, 1).await.unwrap()),
                5 => drop(client.wait_for(DATA, 1).await.unwrap()),
                _ => end_of(&mut client, 1).await,
            }
            if !dies {
                client.cancel(1).await;
                stage.are_there(&topic, &ROW, true, &when).await;
            } else {
                drop(client);
                stage.are_there(&topic, &ROW, true, &when).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_for_its_reader_is_given_back_however_long_it_waited() {
    let stage = Stage::set().await;
    stage.push_row("t").await;
    let mut client = stage.client(Way::Grpc, 5, false).await;
    ask(&mut client, Way::Grpc, 1, "t").await;
    client.wait_for(DATA, 1).await.unwrap();
    // Longer than an answer's time of peace.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.node.leased().await, 1.0);
    client.cancel(1).await;
    stage.are_there("t", &ROW, true, "after two seconds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_of_pops_gave_out_is_given_back_as_long_as_it_was_not_read() {
    let stage = Stage::set().await;
    stage.push_row("t").await;
    let mut client = stage.client(Way::Grpc, 5, false).await;
    let uri = ("x-ptp-uri", "/org.ppc.ptp.PrivateTransferTransport/pop");
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("x-ptp-session-id", "s"), uri];
    let head = h2::request(1, "/org.ppc.ptp.PrivateTransferProtocol/transport", &headers);
    let pop = framed(&bytes_field(2, &bytes_field(1, b"t")));
    client.write(&[head, h2::frame(DATA, 0, 1, &pop)].concat()).await;
    client.wait_for(DATA, 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.node.leased().await, 1.0);
    client.cancel(1).await;
    stage.are_there("t", &ROW, true, "after two seconds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_read_is_committed_after_a_second_or_by_an_orderly_end() {
    let stage = Stage::set().await;
    for (n, way) in WAYS.into_iter().enumerate() {
        for end in ["is given up later", "only stops sending", "goes with a word", "goes without a word"] {
            let (topic, when) = (format!("{n}-{}", end.replace(' ', "-")), format!("{way:?}: the client {end}"));
            let before = stage.node.metric("mesh_transport_lease_commits_total").await;
            let committed = async || {
                let commits = async || stage.node.metric("mesh_transport_lease_commits_total").await > before;
                until(&when, Duration::from_secs(10), commits).await;
            };
            stage.push_row(&topic).await;
            let mut client = stage.client(way, WIDE, false).await;
            ask(&mut client, way, 1, &topic).await;
            end_of(&mut client, 1).await;
            match end {
                "is given up later" => {
                    committed().await;
                    client.cancel(1).await;
                }
                "only stops sending" => {
                    client.write(&h2::frame(RST_STREAM, 0, 1, &NO_ERROR)).await;
                    committed().await;
                }
                "goes with a word" => {
                    client.write(&h2::frame(GOAWAY, 0, 0, &[0; 8])).await;
                    client.tcp.shutdown().await.unwrap();
                    committed().await;
                }
                _ => {
                    drop(client);
                    committed().await;
                }
            }
            stage.are_there(&topic, &ROW[1..], false, &when).await;
        }
    }
}

/// Far more than it takes to meet the moment between an answer and its writing.
const RACES: u32 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn pops_that_are_given_up_at_any_moment_lose_nothing_and_repeat_nothing() {
    let stage = Stage::set().await;
    for n in 0..RACES {
        assert_eq!(stage.node.push(None, "t", &format!("x{n}")).await, OK);
    }
    let mut client = stage.client(Way::Grpc, WIDE, false).await;
    for n in 0..RACES {
        let stream = 2 * n + 1;
        ask(&mut client, Way::Grpc, stream, "t").await;
        if n % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(u64::from(n) * 7)).await;
        }
        client.cancel(stream).await;
    }
    // Once a later call is answered, the node has heard of all of them.
    let last = 2 * RACES + 1;
    assert!(client.ask(last, "/stats", &[], b"").await);
    end_of(&mut client, last).await;
    until("all are settled", Duration::from_secs(10), async || stage.node.leased().await == 0.0).await;
    let mut found = Vec::new();
    while let Some(text) = stage.node.pop_now("t").await {
        found.push(text);
    }
    let pushed: Vec<_> = (0..RACES).map(|n| format!("x{n}")).collect();
    assert_eq!(found, pushed, "each was given up within its second, so each is back in its place");
}

/// How the connection of a client that pops over TLS and HTTP/1.1 ends.
#[derive(Clone, Copy, Debug)]
enum End {
    UnreadClosed,
    UnreadReset,
    ReadReset,
    ReadClosed,
    ReadNotified,
    ReadAskedOn,
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_and_http_1_1_the_end_of_the_connection_says_what_becomes_of_the_message() {
    let stage = Stage::set().await;
    for (end, next) in [
        (End::UnreadClosed, "one"),
        (End::UnreadReset, "one"),
        (End::ReadReset, "one"),
        (End::ReadClosed, "two"),
        (End::ReadNotified, "two"),
        (End::ReadAskedOn, "two"),
    ] {
        let topic = format!("{end:?}");
        stage.push_row(&topic).await;
        let mut client = tls(stage.node.data, Client::Pair(&stage.partner.leaf), &["http/1.1"]).await;
        client.write_all(wrapped_pop(&topic).as_bytes()).await.unwrap();
        until("the message to be given out", Duration::from_secs(10), async || stage.node.leased().await == 1.0).await;
        match end {
            // The answer comes to the client's kernel, where it stays.
            End::UnreadClosed | End::UnreadReset => tokio::time::sleep(Duration::from_millis(300)).await,
            _ => whole_answer(&mut client).await,
        }
        match end {
            End::UnreadReset | End::ReadReset => {
                SockRef::from(client.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
            }
            End::ReadNotified => client.shutdown().await.unwrap(),
            End::ReadAskedOn => {
                client.write_all(b"GET /stats HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                until("the message to be gone", Duration::from_secs(4), async || stage.node.leased().await == 0.0)
                    .await;
            }
            End::UnreadClosed | End::ReadClosed => {}
        }
        drop(client);
        until("the lease to end", Duration::from_secs(4), async || stage.node.leased().await == 0.0).await;
        assert_eq!(stage.node.pop_now(&topic).await.as_deref(), Some(next), "{end:?}");
    }
}

fn wrapped_pop(topic: &str) -> String {
    let inner = json!({ "topic": topic }).to_string();
    let body = json!({"metadata": {}, "payload": base64(&inner)}).to_string();
    format!(
        "POST /v1/interconn/chan/invoke HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         x-ptp-uri: https://ptp.cn/v1/interconn/chan/pop\r\nx-ptp-session-id: s\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads an answer to the end of its JSON.
async fn whole_answer(client: &mut (impl AsyncRead + Unpin)) {
    let mut read = Vec::new();
    while !read.ends_with(b"\"}") {
        assert!(client.read_buf(&mut read).await.unwrap() > 0, "it ended: {}", String::from_utf8_lossy(&read));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_given_up_while_it_waits_for_room_never_enters() {
    let node = Node::with_transport("maxBodyBytes: 64Ki, sessionBytes: 64Ki", &[]).await;
    let waiting = async |pushes: f64| {
        let so_many = async || node.metric("mesh_transport_waiting_pushes").await == pushes;
        until("so many pushes to wait", Duration::from_secs(10), so_many).await;
    };
    let (large, session) = ("x".repeat(40_000), ("x-ptp-session-id", "s"));
    assert_eq!(node.push(None, "t", &large).await, OK);
    let body = json!({"topic": "t", "payload": base64(&large), "timeout": 60_000}).to_string();

    let mut one = connect(Ipv4Addr::LOCALHOST, node.data).await;
    let head = format!(
        "POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-ptp-session-id: s\r\n\
         x-ptp-timeout: 60000\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    one.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    waiting(1.0).await;
    drop(one);
    waiting(0.0).await;

    let mut two = H2::to(&node, WIDE).await;
    let headers = [session, ("content-type", "application/json"), ("x-ptp-timeout", "60000")];
    two.write(&h2::request(1, "/v1/interconn/chan/push", &headers)).await;
    let pieces: Vec<_> = body.as_bytes().chunks(16_384).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let flags = if n + 1 == pieces.len() { END_STREAM } else { 0 };
        two.write(&h2::frame(DATA, flags, 1, piece)).await;
    }
    waiting(1.0).await;
    two.cancel(1).await;
    waiting(0.0).await;

    assert_eq!(node.pop("t").await.as_deref(), Some(large.as_str()));
    assert_eq!(node.pop_soon("t").await, None, "neither of them entered when there was room");
}
