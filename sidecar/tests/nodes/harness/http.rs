//! One HTTP/1.1 exchange on a connection of its own.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The code of the protocol.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A POST of JSON.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::post(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// Sends a request to `to`, from the loopback address `from`.
pub(crate) async fn from(from: Ipv4Addr, to: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    exchange(connect(from, to).await, to, request).await
}

/// One exchange on `stream`.
pub(crate) async fn exchange<S>(stream: S, to: SocketAddr, request: Request<Full<Bytes>>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    try_exchange(stream, to, request).await.unwrap()
}

/// One exchange on a connection that may end without an answer.
pub(crate) async fn try_exchange<S>(
    stream: S,
    to: SocketAddr,
    mut request: Request<Full<Bytes>>,
) -> hyper::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = http::HeaderValue::from_str(&to.to_string()).unwrap();
    request.headers_mut().entry("host").or_insert(host);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    // An orderly end, which says that the answer was read; what a node makes of any other is tested where it is meant.
    drop(sender);
    let _ = connection.await;
    Ok(Answer { status: head.status, headers: head.headers, body })
}

#[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
pub(crate) async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap_or_else(|e| panic!("{to}: {e}"))
}
