//! One connection of a diagnosis, and requests on it: HTTP/1.1, one at a time.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_core::Body;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{Subject, reach::Shaken};

/// Answers of the calls that are made have two certificates at most; a proxy's error page less.
const LONGEST: usize = 256 * 1024;

/// A connection.
pub(super) struct Link {
    sender: http1::SendRequest<Body>,
    authority: HeaderValue,
    /// Whether whoever ends TLS there asked for our certificate.
    pub(super) asked: bool,
    /// Ends with the connection.
    pub(super) running: JoinHandle<()>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) took: Duration,
}

/// A body that is sent in parts.
pub(super) type Parts = mpsc::Sender<Bytes>;

impl Link {
    /// HTTP over a handshake that holds.
    pub(super) async fn over(shaken: Shaken, subject: &Subject) -> Result<Self, String> {
        let asked = shaken.asked;
        let (sender, connection) = http1::handshake(TokioIo::new(shaken.stream)).await.map_err(|e| e.to_string())?;
        let running = tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!("a connection of a diagnosis ended: {e}");
            }
        });
        let authority = HeaderValue::from_str(&subject.address.authority()).map_err(|e| e.to_string())?;
        Ok(Self { sender, authority, asked, running })
    }

    /// One request; its answer whole.
    pub(super) async fn ask(&mut self, mut request: Request<Body>, limit: Duration) -> Result<Heard, String> {
        request.headers_mut().insert(header::HOST, self.authority.clone());
        let start = Instant::now();
        let whole = async {
            self.sender.ready().await.map_err(|e| said(&e))?;
            let (head, body) = self.sender.send_request(request).await.map_err(|e| said(&e))?.into_parts();
            let body = Limited::new(body, LONGEST).collect().await.map_err(|e| e.to_string())?.to_bytes();
            Ok(Heard { status: head.status, headers: head.headers, body, took: start.elapsed() })
        };
        timeout(limit, whole).await.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
    }

    /// `GET /stats`.
    pub(super) async fn stats(&mut self, limit: Duration) -> Result<Heard, String> {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = http::Uri::from_static("/stats");
        self.ask(request, limit).await
    }
}

/// A body of `length` bytes that comes as it is told to.
pub(super) fn slow_body(length: usize) -> (Body, Parts, usize) {
    let (sender, receiver) = mpsc::channel::<Bytes>(2);
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), receiver))
    });
    (Body::boxed(StreamBody::new(stream)), sender, length)
}

/// An error with what caused it.
fn said(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
