//! A port of the operator that speaks TLS and HTTP/1.1, bounded in everything: connections, those of one address, handshakes,
//! idleness, and the size and time of a body. What is answered is the desk's business.

mod closing;
mod listen;
pub(crate) mod tls;

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::{closing::Closing, listen::listen};
use crate::crowd::{Crowd, Ended, Place};

/// What a client has for its handshake, and for the body of a request. Both come in one piece; a machine that is short of time
/// must not cut off an API server, which waits for up to 30 s itself.
const SLOW: Duration = Duration::from_secs(15);
/// API servers close idle connections after 90 s. Who closes first must be the client, or a request could meet the end.
const IDLE: Duration = Duration::from_secs(120);
/// A hundred pods at once come over as many connections; more than this is a mistake or an attack.
const CONNECTIONS: usize = 512;
/// Of which one address may have so many. API servers keep idle connections, and must not lose them to somebody who has opened
/// more than these.
const OF_ONE_ADDRESS: usize = 256;
/// Out of descriptors, or a client that left before it was greeted: neither ends the port.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a request comes from, in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who answers.
pub(crate) trait Desk: Send + Sync + 'static {
    /// No body may be larger.
    const BODY: usize;

    /// The answer where there is nothing at this method and path; the body is not read then.
    fn refuses(&self, request: &http::request::Parts) -> Option<Response<Full<Bytes>>>;

    /// The answer to a whole request.
    fn answer(&self, head: http::request::Parts, body: Bytes) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Serves for ever.
pub(crate) async fn serve<D: Desk>(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    desk: Arc<D>,
    closing: Closing,
) -> Infallible {
    let (acceptor, crowd) = (TlsAcceptor::from(Arc::new(tls)), Crowd::new(CONNECTIONS, OF_ONE_ADDRESS));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (place, ended) = crowd.enter(peer.ip().to_canonical());
                let from = Peer(peer.ip().to_canonical());
                let served =
                    connection((stream, from), acceptor.clone(), Arc::clone(&desk), (place, ended), closing.clone());
                tokio::spawn(closing.counted(served));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection<D: Desk>(
    (stream, from): (TcpStream, Peer),
    acceptor: TlsAcceptor,
    desk: Arc<D>,
    (place, ended): (Place, Ended),
    closing: Closing,
) {
    tokio::select! {
        () = serve_connection((stream, from), acceptor, desk, Arc::new(place), closing) => {}
        _ = ended => tracing::debug!("a connection ended for a newer one"),
    }
}

async fn serve_connection<D: Desk>(
    (stream, from): (TcpStream, Peer),
    acceptor: TlsAcceptor,
    desk: Arc<D>,
    place: Arc<Place>,
    closing: Closing,
) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(SLOW, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => TokioIo::new(stream),
        Ok(Err(error)) => return tracing::debug!(%error, "a handshake failed"),
        Err(_) => return,
    };
    let asked = closing.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(from);
        let (desk, place, closing) = (Arc::clone(&desk), Arc::clone(&place), asked.clone());
        async move {
            let mut answer = answer(&*desk, request, &place).await;
            if closing.is_asked() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let mut served = pin!(http.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = closing.over() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn answer<D: Desk>(desk: &D, request: Request<Incoming>, place: &Place) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if let Some(answer) = desk.refuses(&head) {
        return answer;
    }
    match timeout(SLOW, Limited::new(body, D::BODY).collect()).await {
        Ok(Ok(body)) => {
            // A body that never comes is no request: only who has asked in full is spared.
            place.is_served(true);
            let answer = desk.answer(head, body.to_bytes()).await;
            place.is_served(false);
            answer
        }
        Ok(Err(_)) => plain(StatusCode::PAYLOAD_TOO_LARGE, "the body broke off, or is too large"),
        Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    }
}

/// An answer for people.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response
}

/// An answer for programs.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = plain(status, &value.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
