//! `expect: 100-continue` for every pair of protocols: the caller that waits is told to send its body when the service wants it, and
//! hears an early answer all the same (RFC 9110 section 10.1.1).

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    conformance::{Behind, CALLERS, SERVICES, Spoken, node_before},
    house::{Institution, bank_a, bank_b, connect},
    two_nodes::open,
};

const LIMIT: Duration = Duration::from_secs(60);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn stream(port: SocketAddr, spoken: Spoken, own: &Institution, partner: &Institution) -> Box<dyn Io> {
    let tcp = connect(port).await;
    let alpn: &[u8] = match spoken {
        Spoken::Http1 | Spoken::H2c => return Box::new(tcp),
        Spoken::TlsHttp1 => b"http/1.1",
        Spoken::TlsH2 => b"h2",
    };
    let name = ServerName::try_from(mesh_pki::node_dns_name(own.node)).unwrap();
    Box::new(partner.connector(own, alpn).connect(name, tcp).await.unwrap())
}

/// What a caller that waits hears.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    told_to_go_on: bool,
    status: u16,
    text: String,
}

/// Asks, sends the body when told to, and reads the answer.
async fn asks(stream: Box<dyn Io>, spoken: Spoken, path: &str) -> Heard {
    match spoken {
        Spoken::Http1 | Spoken::TlsHttp1 => by_http1(stream, path).await,
        Spoken::H2c | Spoken::TlsH2 => by_http2(stream, path).await,
    }
}

async fn by_http1(mut stream: Box<dyn Io>, path: &str) -> Heard {
    let ask = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = head_of(&mut stream).await;
    let told_to_go_on = head.starts_with("HTTP/1.1 100 ");
    if told_to_go_on {
        // Whoever has answered by now reads no more.
        let _ = stream.write_all(b"hello").await;
        head = head_of(&mut stream).await;
    }
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Heard { told_to_go_on, status, text: String::from_utf8(text).unwrap() }
}

async fn head_of(stream: &mut Box<dyn Io>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn by_http2(stream: Box<dyn Io>, path: &str) -> Heard {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let request = Request::post(format!("http://127.0.0.1{path}")).header("expect", "100-continue");
    let (mut answer, mut body) =
        sender.send_request(request.header("content-length", "5").body(()).unwrap(), false).unwrap();
    let told = poll_fn(|cx| answer.poll_informational(cx)).await;
    let told_to_go_on = told.is_some_and(|told| told.unwrap().status() == StatusCode::CONTINUE);
    if told_to_go_on {
        let _ = body.send_data(Bytes::from_static(b"hello"), true);
    }
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let (mut down, mut text) = (answer.into_body(), Vec::new());
    while let Some(Ok(piece)) = down.data().await {
        text.extend_from_slice(&piece);
        down.flow_control().release_capacity(piece.len()).unwrap();
    }
    Heard { told_to_go_on, status, text: String::from_utf8(text).unwrap() }
}

async fn for_each_pair(path: &str, check: impl Fn(Spoken, Behind, Heard)) {
    let (own, partner) = (bank_a(), bank_b());
    for behind in SERVICES {
        let node = node_before(behind, &own, &partner).await;
        let port = open(&node);
        for spoken in CALLERS {
            let stream = stream(port, spoken, &own, &partner).await;
            let heard = timeout(LIMIT, asks(stream, spoken, path)).await;
            check(spoken, behind, heard.unwrap_or_else(|_| panic!("{spoken:?} to {behind:?}: nothing comes")));
        }
    }
}

#[tokio::test]
async fn a_caller_that_waits_is_told_to_send_its_body_for_every_pair() {
    for_each_pair("/serving/whole", |spoken, behind, heard| {
        let expected = Heard { told_to_go_on: true, status: 207, text: "hello".into() };
        assert_eq!(heard, expected, "{spoken:?} to {behind:?}");
    })
    .await;
}

/// A service over HTTP/1.1 is asked, and may decline; over HTTP/2, where services seldom say a word of it, the body is wanted at
/// once, and an early answer overtakes it.
#[tokio::test]
async fn a_caller_that_waits_hears_an_early_answer_for_every_pair() {
    for_each_pair("/serving/early", |spoken, behind, heard| {
        assert_eq!((heard.status, heard.text.as_str()), (413, "too large"), "{spoken:?} to {behind:?}");
        if matches!(behind, Behind::Http1 | Behind::TlsHttp1) {
            assert!(!heard.told_to_go_on, "{spoken:?} to {behind:?}");
        }
    })
    .await;
}
