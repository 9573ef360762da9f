//! Questions to HTTP servers that a listener's configuration names: dialled as all that leaves this node is, bounded in time and
//! size. Redirects are not followed: whoever may change where a question goes could ask in our name.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use mesh_network::dial::{self, WayOut};
use tokio::time::timeout;
use tower_service::Service;

use crate::stream::Stream;

/// Connections that wait for the next question, for each server.
const MOST_IDLE: usize = 32;
/// Below the minute after which servers and middle boxes forget a connection.
const IDLE: Duration = Duration::from_secs(30);

/// Asks HTTP servers.
#[derive(Clone)]
pub struct Outward(Client<Dial, Full<Bytes>>);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP's status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Outward {
    /// Asks on that way.
    #[must_use]
    pub fn new(way: WayOut) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .build(Dial(way));
        Self(client)
    }

    /// Asks; the whole answer comes within `limit` of time and `most` bytes, or there is none.
    ///
    /// # Errors
    /// Words for a log.
    pub async fn ask(&self, request: Request<Full<Bytes>>, limit: Duration, most: usize) -> Result<Answer, String> {
        let answered = timeout(limit, async {
            let response = self.0.request(request).await.map_err(|e| reason(&e))?;
            let (head, mut body) = response.into_parts();
            let mut bytes = BytesMut::new();
            let too_large = || format!("the answer has more than {most} bytes");
            if body.size_hint().lower() > most as u64 {
                return Err(too_large());
            }
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|e| reason(&e))?.into_data() else { continue };
                if bytes.len() + data.len() > most {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&data);
            }
            Ok(Answer { status: head.status, headers: head.headers, body: bytes.freeze() })
        });
        answered.await.unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis())))
    }
}

impl Answer {
    /// How long it may be used again, where it says so (RFC 9111 section 5.2.2).
    pub(super) fn max_age(&self) -> Option<Duration> {
        let all = self.headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let directives: Vec<String> =
            all.flat_map(|value| value.split(',')).map(|item| item.trim().to_ascii_lowercase()).collect();
        if directives.iter().any(|directive| directive == "no-store" || directive == "no-cache") {
            return Some(Duration::ZERO);
        }
        directives
            .iter()
            .find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok())
            .map(Duration::from_secs)
    }
}

/// Reads a URL of the configuration.
///
/// # Errors
/// What is wrong with it.
pub fn url(text: &str) -> Result<Uri, super::AuthError> {
    let wrong = |rule: &str| super::AuthError::Url(format!("{rule}: write it as https://host/path"));
    let uri: Uri = text.parse().map_err(|_| wrong("a URL cannot be read"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("a URL has a scheme and a host"));
    }
    // `Uri` reads a port that is too large as none.
    let port = uri.authority().and_then(|authority| authority.as_str().rsplit_once(':')).map(|(_, port)| port);
    if port.is_some_and(|port| !port.ends_with(']') && port.parse::<u16>().is_err()) {
        return Err(wrong("the port of a URL is a number up to 65535"));
    }
    // It would be sent to nobody, and shown in errors.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("a URL has no user and no password"));
    }
    Ok(uri)
}

/// A question.
pub(super) fn request(method: Method, uri: &Uri, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    (*request.method_mut(), *request.uri_mut()) = (method, uri.clone());
    request.headers_mut().insert(header::ACCEPT, ::http::HeaderValue::from_static("application/json"));
    request
}

/// The innermost words: hyper's own only say that something failed.
fn reason(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Makes the connections.
#[derive(Clone)]
struct Dial(WayOut);

/// A connection, perhaps through a proxy.
type Wire = Stream<dial::Stream>;

impl Dial {
    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Wire>> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let wire = if is_tls {
            Stream::Tls(Box::new(self.0.open_tls(host, port).await.map_err(io::Error::other)?.into()))
        } else {
            Stream::Plain(self.0.open(host, port).await.map_err(io::Error::other)?)
        };
        Ok(TokioIo::new(wire))
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl std::fmt::Debug for Outward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outward")
    }
}
