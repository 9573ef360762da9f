//! Exchanges over HTTP/2: what they mean is what they mean over HTTP/1.1, and what only HTTP/2 has is kept within bounds.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::{Body, Drain, Live};
use prometheus_client::registry::Registry;
use std::convert::Infallible;

use crate::{
    NameCheck,
    listen::{Connection, Gate, Limits, Serve, serve},
    testing::{
        A, Plain, Running,
        http2::{CANCEL, DATA, END_STREAM, Frames, GOAWAY, HEADERS, NO_ERROR, PING, RST_STREAM},
        institution, listener, until,
    },
};

/// Room for any answer.
const WIDE: u32 = 1 << 30;

fn node() -> Running {
    Running::start(institution(A).parts(Vec::new()))
}

async fn over_http_2(node: &Running, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let tcp = Plain::to(node.address).await.tcp;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

async fn over_http_1(node: &Running, mut request: Request<Full<Bytes>>) -> Response<Incoming> {
    let tcp = Plain::to(node.address).await.tcp;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    *request.uri_mut() = request.uri().path().parse().unwrap();
    request.headers_mut().insert("host", HeaderValue::from_static("localhost"));
    sender.send_request(request).await.unwrap()
}

/// Status, headers and body, without what differs between any two answers or belongs to one protocol.
async fn seen(answer: Response<Incoming>) -> (u16, Vec<String>, String) {
    let (mut head, body) = answer.into_parts();
    head.headers.remove("date").unwrap();
    head.headers.remove("connection");
    let mut headers: Vec<_> = head.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    let body = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
    (head.status.as_u16(), headers, body.replace("HTTP/2.0", "HTTP/1.1"))
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_over_http_1_and_2() {
    let (node, large) = (node(), vec![b'x'; 1 << 20]);
    let requests: [(Method, &str, &[u8]); 12] = [
        (Method::GET, "/seen", b""),
        (Method::POST, "/seen", b""),
        (Method::POST, "/seen", b"abc"),
        (Method::POST, "/seen", &large[..16 * 1024]),
        (Method::POST, "/seen", &large[..16 * 1024 + 1]),
        (Method::POST, "/seen", &large),
        (Method::PUT, "/seen", b"abc"),
        (Method::HEAD, "/seen", b""),
        (Method::GET, "/nothing", b""),
        (Method::GET, "/close", b""),
        (Method::GET, "/panic", b""),
        (Method::GET, "/large", b""),
    ];
    for (method, path, body) in requests {
        let request = || {
            let body = Full::new(Bytes::copy_from_slice(body));
            Request::builder().method(method.clone()).uri(format!("http://localhost{path}")).body(body).unwrap()
        };
        let (first, second) =
            (seen(over_http_1(&node, request()).await).await, seen(over_http_2(&node, request()).await).await);
        assert_eq!(first, second, "{method} {path} with {} bytes", body.len());
        let panicked = path == "/panic";
        assert_eq!(panicked, (second.0, second.2.as_str()) == (500, "internal error"), "{method} {path}: {}", second.2);
    }
}

/// Answers with the body and the trailers of the request, while they come.
struct Mirror;

impl Serve for Mirror {
    async fn serve(&self, request: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        Response::new(request.into_body())
    }
}

/// More than any window, by both directions.
const PIECES: usize = 40;
const PIECE: usize = 1 << 20;

#[tokio::test]
async fn bodies_and_trailers_pass_in_both_directions_at_the_same_time() {
    let live = Arc::new(Live::new(institution(A).snapshot(Vec::new())));
    let gate = Gate::new(live, Limits::default(), mesh_core::Workers::here(), &mut Registry::default()).unwrap();
    let (listener, drain) = (listener("127.0.0.1:0".parse().unwrap()), Drain::new());
    let tcp = Plain::to(listener.local_addr().unwrap()).await.tcp;
    tokio::spawn(serve(listener, Arc::new(Mirror), gate, drain.handle()));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);

    let (mut pieces, body) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let request = Request::post("http://localhost/").body(StreamBody::new(body)).unwrap();
    let asked = tokio::spawn(sender.send_request(request));
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
    let said = trailers.clone();
    tokio::spawn(async move {
        for n in 0..PIECES {
            let piece = vec![u8::try_from(n).unwrap(); PIECE];
            pieces.send(Ok(Frame::data(piece.into()))).await.unwrap();
        }
        pieces.send(Ok(Frame::trailers(said))).await.unwrap();
    });
    let mirrored = asked.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(mirrored.trailers(), Some(&trailers));
    let bytes = mirrored.to_bytes();
    assert_eq!(bytes.len(), PIECES * PIECE);
    assert!(bytes.chunks(PIECE).enumerate().all(|(n, piece)| piece.iter().all(|byte| usize::from(*byte) == n)));
}

#[tokio::test]
async fn what_has_come_of_a_slow_body_is_given_out() {
    let node = node();
    let pieces = || node.seen.pieces.load(std::sync::atomic::Ordering::SeqCst);
    let tcp = Plain::to(node.address).await.tcp;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let (mut frames, body) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let request = Request::post("http://localhost/pieces").body(StreamBody::new(body)).unwrap();
    let asked = tokio::spawn(sender.send_request(request));
    frames.send(Ok(Frame::data(Bytes::from_static(b"abc")))).await.unwrap();
    until(|| pieces() == 1).await;
    frames.send(Ok(Frame::data(Bytes::from_static(b"def")))).await.unwrap();
    drop(frames);
    let said = asked.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&said).unwrap()["bytes"], 6);
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_wait_and_the_connection_goes_on() {
    let node = node();
    let mut client = Frames::to(node.address, WIDE).await;
    client.get(1, "/wait").await;
    client.get(3, "/wait").await;
    until(|| node.waiting() == 2).await;
    client.reset(1, CANCEL).await;
    until(|| node.waiting() == 1).await;
    client.get(5, "/seen").await;
    client.until(|frame| frame.stream == 5 && frame.ends()).await;
    drop(client);
    until(|| node.waiting() == 0).await;
}

#[tokio::test]
async fn what_comes_behind_an_early_answer_is_taken_so_that_nobody_throws_the_answer_away() {
    let node = node();
    let mut client = Frames::to(node.address, WIDE).await;
    client.head(1, 0, "/unread").await;
    client.until(|frame| frame.stream == 1 && frame.ends()).await;
    for _ in 0..3 {
        client.write(DATA, 0, 1, &[0; 16_384]).await;
    }
    client.write(DATA, END_STREAM, 1, b"the end").await;
    client.get(3, "/seen").await;
    let next = client.until(|frame| frame.kind == RST_STREAM || frame.stream == 3 && frame.ends()).await;
    assert_eq!((next.stream, next.kind == RST_STREAM), (3, false), "the first was not reset");
}

#[tokio::test]
async fn a_request_that_does_not_end_behind_its_early_answer_is_refused_in_the_end() {
    let node = node();
    let mut client = Frames::to(node.address, WIDE).await;
    client.head(1, 0, "/unread").await;
    client.until(|frame| frame.stream == 1 && frame.kind == HEADERS).await;
    client.until(|frame| frame.stream == 1 && frame.ends()).await;
    let reset = client.until(|frame| frame.kind == RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (1, NO_ERROR.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn a_body_that_is_given_up_is_broken_whatever_the_reason() {
    let node = node();
    for reason in [NO_ERROR, CANCEL] {
        let mut client = Frames::to(node.address, WIDE).await;
        client.head(1, 0, "/pieces").await;
        client.write(0, 0, 1, b"abc").await;
        let before = node.seen.pieces.load(std::sync::atomic::Ordering::SeqCst);
        client.reset(1, reason).await;
        // Nothing of it is answered; the next call is.
        client.get(3, "/seen").await;
        let next = client.until(|frame| frame.kind == HEADERS).await;
        assert_eq!(next.stream, 3, "{reason}");
        assert!(before <= 2);
    }
}

#[tokio::test]
async fn streams_beyond_the_bound_are_refused_and_the_others_are_served() {
    let limits = Limits { streams: 3, ..Limits::default() };
    let node = Running::start_with(institution(A).parts(Vec::new()), limits, NameCheck::Required);
    let mut client = Frames::to(node.address, WIDE).await;
    for stream in [1, 3, 5] {
        client.get(stream, "/wait").await;
    }
    until(|| node.waiting() == 3).await;
    client.get(7, "/seen").await;
    let refused = client.until(|frame| frame.kind == RST_STREAM).await;
    // REFUSED_STREAM: it may be sent again.
    assert_eq!((refused.stream, refused.payload), (7, 7u32.to_be_bytes().to_vec()));
    client.reset(1, CANCEL).await;
    until(|| node.waiting() == 2).await;
    client.get(9, "/seen").await;
    client.until(|frame| frame.stream == 9 && frame.ends()).await;
}

#[tokio::test]
async fn who_answers_no_ping_is_gone_and_who_answers_stays() {
    let limits = Limits { ping: Duration::from_millis(200), ..Limits::default() };
    let node = Running::start_with(institution(A).parts(Vec::new()), limits, NameCheck::Required);
    let mut silent = Frames::to(node.address, WIDE).await;
    silent.get(1, "/wait").await;
    until(|| node.waiting() == 1).await;
    // Read without an answer to anything.
    until(|| node.waiting() == 0).await;
    let mut present = Frames::to(node.address, WIDE).await;
    present.get(1, "/wait").await;
    for _ in 0..5 {
        present.until(|frame| frame.kind == PING).await;
    }
    assert_eq!(node.waiting(), 1);
}

#[tokio::test]
async fn a_drain_says_go_away_and_lets_streams_end() {
    let node = node();
    let mut client = Frames::to(node.address, WIDE).await;
    client.get(1, "/slow").await;
    client.get(3, "/seen").await;
    client.until(|frame| frame.stream == 3 && frame.ends()).await;
    let drain = node.drain.clone();
    let draining = tokio::spawn(async move { drain.run(Duration::from_secs(20)).await });
    client.until(|frame| frame.kind == GOAWAY).await;
    client.until(|frame| frame.stream == 1 && frame.ends()).await;
    while client.next().await.is_some() {}
    drop(client);
    assert_eq!(draining.await.unwrap(), 0, "nobody was still busy");
}

#[tokio::test]
async fn many_streams_at_the_same_time_each_get_their_own_answer() {
    let node = node();
    let tcp = Plain::to(node.address).await.tcp;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let calls = (0..1000).map(|n| {
        let mut sender = sender.clone();
        async move {
            let request = Request::get("http://localhost/headers").header("x-told", n.to_string());
            let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            let said = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&said).unwrap()["told"], n.to_string());
        }
    });
    futures::stream::iter(calls).buffer_unordered(200).collect::<Vec<()>>().await;
}
