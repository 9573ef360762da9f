//! Connections to a node that stay open: HTTP/1.1, HTTP/2 without TLS, and HTTP/2 over TLS as a partner.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_pki::Pair;
use serde_json::Value;

use crate::harness::{Client, connect, from, tls};

/// How long an answer may take that is to come at once, on a busy machine: a row that waits instead of failing fails by this.
const SOON: Duration = Duration::from_secs(60);

/// What carries the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Http1,
    H2c,
    /// HTTP/2 over TLS, with the certificate of a partner.
    TlsH2,
}

/// A connection that stays.
pub(super) struct Wire {
    line: Line,
    first: Option<First>,
}

enum Line {
    Http1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// Where each session is used before it is used here.
struct First {
    at: SocketAddr,
    /// The headers by which sessions were named that were used there.
    used: HashSet<Vec<(String, String)>>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

/// A request, before it is put on a wire.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Wire {
    pub(super) async fn open(transport: Transport, to: SocketAddr, pair: &Pair) -> Self {
        let tcp = || connect(Ipv4Addr::LOCALHOST, to);
        let line = match transport {
            Transport::Http1 => Line::Http1(http1_to(to).await),
            Transport::H2c => {
                let io = TokioIo::new(tcp().await);
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(connection);
                Line::H2(sender)
            }
            Transport::TlsH2 => {
                let io = TokioIo::new(tls(to, Client::Pair(pair), &["h2"]).await);
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(connection);
                Line::H2(sender)
            }
        };
        Self { line, first: None }
    }

    /// The same where an application uses each session elsewhere before it is used here.
    pub(super) fn behind(self, at: SocketAddr) -> Self {
        Self { first: Some(First { at, used: HashSet::new() }), ..self }
    }

    /// One exchange that is answered soon.
    pub(super) async fn send(&mut self, to: SocketAddr, ask: Ask) -> Heard {
        let asked = (ask.method.clone(), ask.path.clone(), ask.headers.clone());
        let heard = tokio::time::timeout(SOON, self.exchange(to, ask)).await;
        heard.unwrap_or_else(|_| panic!("no answer within {SOON:?}: {asked:?}"))
    }

    /// One exchange, however long it takes.
    pub(super) async fn exchange(&mut self, to: SocketAddr, ask: Ask) -> Heard {
        if let Some(first) = &mut self.first {
            first.uses_session_of(&ask).await;
        }
        let response = match &mut self.line {
            Line::Http1(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(ask.request(None, to)).await
            }
            Line::H2(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(ask.request(Some(to), to)).await
            }
        };
        let (head, body) = response.unwrap().into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        if let (Line::Http1(sender), Some(_)) = (&mut self.line, head.headers.get("connection")) {
            *sender = http1_to(to).await;
        }
        Heard { status: head.status.as_u16(), headers: head.headers, body: collected.to_bytes(), trailers }
    }
}

impl First {
    async fn uses_session_of(&mut self, ask: &Ask) {
        let named = ask.session();
        if !self.used.contains(&named) {
            use_at(self.at, &named).await;
            self.used.insert(named);
        }
    }
}

/// Has an application use a session at this node, as a look at a topic that nobody else knows; whatever comes of it.
pub(super) async fn use_at(at: SocketAddr, named: &[(String, String)]) {
    let peek = Ask::get("/v1/interconn/chan/peek?topic=looked-at");
    let peek = named.iter().fold(peek, |ask, (name, value)| ask.header(name, value));
    from(Ipv4Addr::LOCALHOST, at, peek.request(None, at)).await;
}

async fn http1_to(to: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let tcp = connect(Ipv4Addr::LOCALHOST, to).await;
    let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    sender
}

impl Ask {
    pub(super) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), headers: Vec::new(), body: body.into() }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, ..Self::post(path, "") }
    }

    pub(super) fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Adds a header; one may stand there more than once.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The headers that name its session.
    fn session(&self) -> Vec<(String, String)> {
        self.headers.iter().filter(|(name, _)| is_session(name)).cloned().collect()
    }

    fn request(self, authority: Option<SocketAddr>, to: SocketAddr) -> Request<Full<Bytes>> {
        let host = self.headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone());
        let host = host.unwrap_or_else(|| to.to_string());
        let uri = if authority.is_some() { format!("http://{host}{}", self.path) } else { self.path };
        let mut request = Request::builder().method(self.method).uri(uri).body(Full::new(self.body)).unwrap();
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "host") {
            let name = HeaderName::try_from(name.as_str()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        if authority.is_none() {
            request.headers_mut().insert("host", HeaderValue::from_str(&host).unwrap());
        }
        request
    }
}

/// Whether a header of this name may name a session, by any of the names that there were.
pub(super) fn is_session(name: &str) -> bool {
    name.to_lowercase().replace('_', "-").ends_with("-session-id")
}

impl Heard {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The one message of a gRPC answer that went well.
    pub(super) fn message(&self) -> Bytes {
        assert_eq!(
            (self.status, self.trailers.get("grpc-status").map(|v| v.to_str().unwrap())),
            (200, Some("0")),
            "{self:?}"
        );
        let length = u32::from_be_bytes(self.body[1..5].try_into().unwrap());
        assert_eq!((self.body[0], length as usize), (0, self.body.len() - 5), "one plain message");
        self.body.slice(5..)
    }
}

/// One gRPC message.
pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat()
}
