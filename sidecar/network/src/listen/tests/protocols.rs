//! One socket, every protocol, told apart by the first bytes.

use std::time::Duration;

use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    listen::Limits,
    testing::{A, B, Plain, Running, institution, json_of, tls_client},
};

async fn h2_get<IO>(io: IO, pings: Option<Duration>, calls: usize) -> serde_json::Value
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(pings).keep_alive_while_idle(true);
    let (mut sender, connection) = builder.handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(io)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut said = serde_json::Value::Null;
    for _ in 0..calls {
        let request = Request::get("http://localhost/seen").version(Version::HTTP_2).body(Empty::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        said = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        if pings.is_some() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    assert!(!driver.is_finished(), "the connection is still good");
    said
}

#[tokio::test]
async fn http_1_and_2_over_plain_text_and_tls_share_the_socket() {
    let (a, b) = (institution(A), institution(B));
    let node = Running::start(a.parts(vec![b.route()]));
    let said = Plain::to(node.address).await.get("host: localhost\r\n").await;
    assert_eq!((&said["version"], &said["who"]), (&"HTTP/1.1".into(), &"local".into()));
    let said = h2_get(Plain::to(node.address).await.tcp, None, 1).await;
    assert_eq!((&said["version"], &said["who"]), (&"HTTP/2.0".into(), &"local".into()));
    let said = tls_client(Some(&b.leaf()), &["http/1.1"]).get(node.address, "").await;
    assert_eq!((&said["version"], &said["who"]), (&"HTTP/1.1".into(), &B.into()));
    for alpn in [&["h2"][..], &["h2", "http/1.1"], &[]] {
        let stream = tls_client(Some(&b.leaf()), alpn).connect(node.address).await;
        let said = h2_get(stream, None, 1).await;
        assert_eq!((&said["version"], &said["who"]), (&"HTTP/2.0".into(), &B.into()), "{alpn:?}");
    }
}

#[tokio::test]
async fn frequent_pings_are_nobodys_calm_to_enhance() {
    let node = Running::start(institution(A).parts(Vec::new()));
    // SDKs ping every 12 s; here every 5 ms, several hundred times.
    let said = h2_get(Plain::to(node.address).await.tcp, Some(Duration::from_millis(5)), 8).await;
    assert_eq!(said["who"], "local");
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_answered_over_http_1() {
    let node = Running::start(institution(A).parts(Vec::new()));
    let mut plain = Plain::to(node.address).await;
    let said = plain
        .get("host: localhost\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n")
        .await;
    assert_eq!(said["version"], "HTTP/1.1");
}

#[tokio::test]
async fn the_first_bytes_may_come_one_by_one() {
    let node = Running::start(institution(A).parts(Vec::new()));
    for request in
        ["GET /seen HTTP/1.1\r\nhost: localhost\r\n\r\n", "PROPFIND /seen HTTP/1.1\r\nhost: localhost\r\n\r\n"]
    {
        let mut plain = Plain::to(node.address).await;
        for byte in request.bytes() {
            plain.write([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(json_of(&plain.answer().await)["who"], "local");
    }
}

#[tokio::test]
async fn garbage_hurts_nobody_else() {
    let limits =
        Limits { handshake: Duration::from_millis(300), headers: Duration::from_millis(300), ..Limits::default() };
    let node = Running::start_with(institution(A).parts(Vec::new()), limits, crate::NameCheck::Required);
    let garbage: [&[u8]; 8] = [
        b"\x00\x00\x00\x00",
        b"\x16\x03\x01\xff\xff garbage that is no handshake",
        b"\x16",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n garbage",
        b"PR",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET\r\n\r\n",
        &[0xff; 4096],
    ];
    for bytes in garbage {
        let mut plain = Plain::to(node.address).await;
        plain.write(bytes).await;
        let end = plain.read_to_end().await;
        assert!(!end.contains("200 OK"), "{end}");
    }
    assert_eq!(Plain::to(node.address).await.get("host: localhost\r\n").await["who"], "local");
}

#[tokio::test]
async fn endless_headers_are_refused() {
    let node = Running::start(institution(A).parts(Vec::new()));
    let mut plain = Plain::to(node.address).await;
    plain.write(format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}", "x".repeat(80 * 1024))).await;
    assert!(plain.read_to_end().await.starts_with("HTTP/1.1 431"), "the head is too large");
}
