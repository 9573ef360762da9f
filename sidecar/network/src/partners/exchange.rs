//! One request on one connection, and what its failure means.

use std::{error::Error, sync::Arc};

use http::{HeaderValue, Request, Response, StatusCode, Uri, header, uri};
use hyper::{body::Incoming, client::conn::TrySendError};
use mesh_core::Body;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Progress,
    calls::{Lost, Why},
    held::{Held, Hold},
    lane::{Lane, Sender},
    member::{Freshness, Member, Ticket},
    pool::Pool,
    slip::{Kind, Slip},
};
use crate::{RouteError, Sent};

/// Used connections that may turn out to be dead before a new one is made.
const MOST_STALE: usize = 3;

/// A call that failed; the request is there when nothing of it left.
pub(super) struct Undone {
    pub(super) error: RouteError,
    pub(super) request: Option<Request<Body>>,
}

/// An answer.
pub(super) enum Answer {
    /// It comes as it is read, and occupies something until then.
    Arriving(Response<Incoming>, Hold),
    /// It is here.
    Whole(Response<Body>),
}

/// A request that brought no answer.
enum Failed {
    Http(TrySendError<Request<Body>>),
    Bundle(Lost, Request<Body>),
}

impl Answer {
    /// Whether it is what a proxy answers that reaches nobody.
    fn is_gateways(&self) -> bool {
        let status = match self {
            Self::Arriving(response, _) => response.status(),
            Self::Whole(response) => response.status(),
        };
        matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
    }

    /// The answer as the rooms above take it.
    pub(super) fn with(self, permit: Option<OwnedSemaphorePermit>) -> Response<Body> {
        match self {
            Self::Arriving(response, hold) => response.map(|body| Body::boxed(Held::new(body, hold, permit))),
            Self::Whole(response) => response,
        }
    }
}

impl Member {
    /// Sends one request here. A used connection that died in the meantime is replaced, as long as nothing left.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        mut request: Request<Body>,
        slip: &Slip,
        progress: &Progress,
    ) -> Result<Answer, Undone> {
        let mut stale = 0;
        let lane = Lane::of(&request, slip);
        loop {
            let (ticket, freshness) = match self.checkout(lane, pool).await {
                Ok(found) => found,
                Err(error) => return Err(Undone { error, request: Some(request) }),
            };
            slip.leaves(&self.place(), ticket.kind(), &mut request);
            let again = if slip.is_repeated() || ticket.keeps() { None } else { Again::of(&request) };
            progress.leaves();
            let mut undone = match self.send(ticket, request).await {
                Ok(answer) => return Ok(answer),
                Err(e) => self.undone(e, again, pool),
            };
            if undone.request.is_some() {
                progress.came_back();
                slip.came_back();
            }
            match undone.request.take() {
                Some(back) if freshness == Freshness::Used && stale < MOST_STALE => {
                    (request, stale) = (back, stale + 1);
                }
                back => return Err(Undone { error: undone.error, request: back }),
            }
        }
    }

    async fn send(self: &Arc<Self>, ticket: Ticket, request: Request<Body>) -> Result<Answer, Failed> {
        let answer = match ticket {
            Ticket::Shared(Sender::Bundle(handle), _counted, _) => {
                let called = handle.call(&request);
                let outcome = match called {
                    Ok(called) => called.answer().await,
                    Err(lost) => Err(lost),
                };
                outcome.map(Answer::Whole).map_err(|lost| Failed::Bundle(lost, request))?
            }
            Ticket::Shared(Sender::H2(mut sender), counted, _) => {
                let sending = sender.try_send_request(self.addressed_h2(request));
                Answer::Arriving(sending.await.map_err(Failed::Http)?, Hold::Place { _counted: counted })
            }
            Ticket::H1(mut single) => {
                let sending = single.sender.try_send_request(self.addressed_h1(request));
                let response = sending.await.map_err(Failed::Http)?;
                let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                let hold = if upgraded { Hold::Gone } else { Hold::Single(single, Arc::clone(self)) };
                Answer::Arriving(response, hold)
            }
        };
        self.answered();
        if answer.is_gateways() {
            self.doubted();
        }
        Ok(answer)
    }

    /// HTTP/2 names scheme and authority in the target.
    fn addressed_h2(&self, mut request: Request<Body>) -> Request<Body> {
        let asked = asked_host(&request);
        request.headers_mut().remove(header::HOST);
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(uri::Scheme::HTTPS);
        parts.authority = self.host(asked.as_deref()).parse().ok();
        parts.path_and_query.get_or_insert(uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = http::Version::HTTP_2;
        request
    }

    /// HTTP/1.1 names the authority in `Host`.
    fn addressed_h1(&self, mut request: Request<Body>) -> Request<Body> {
        let (path, asked) = (request.uri().path_and_query().cloned(), asked_host(&request));
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        if let Ok(host) = HeaderValue::from_str(self.host(asked.as_deref())) {
            request.headers_mut().insert(header::HOST, host);
        }
        *request.version_mut() = http::Version::HTTP_11;
        request
    }

    fn undone(&self, failed: Failed, again: Option<Again>, pool: &Pool) -> Undone {
        match failed {
            Failed::Http(failed) => self.undone_http(failed, again, pool),
            Failed::Bundle(lost, request) => self.undone_bundle(lost, request, pool),
        }
    }

    fn undone_bundle(&self, Lost { may_have_left, why }: Lost, request: Request<Body>, pool: &Pool) -> Undone {
        let node = pool.node.clone();
        let sent = if may_have_left { Sent::Perhaps } else { Sent::Nothing };
        let error = match why {
            Why::Ended(reason) => RouteError::Broken { node, reason, sent },
            Why::Refused => RouteError::Broken { node, reason: "it takes no further calls here".to_owned(), sent },
            Why::Full => RouteError::Broken { node, reason: "it does not take what waits to be sent".to_owned(), sent },
        };
        Undone { error, request: (!may_have_left).then_some(request) }
    }

    fn undone_http(&self, mut failed: TrySendError<Request<Body>>, again: Option<Again>, pool: &Pool) -> Undone {
        let back = failed.take_message();
        let error = failed.into_error();
        let refused = was_not_processed(&error);
        let request = back.or_else(|| again.filter(|_| refused).map(Again::request));
        let sent = if request.is_some() || refused { Sent::Nothing } else { Sent::Perhaps };
        let (node, reason) = (pool.node.clone(), chain_of(&error));
        let error = match alert_in(&error) {
            Some(alert) => RouteError::Refused { node, address: self.label().to_owned(), reason: alert },
            None if error.is_parse() => RouteError::NotHttp { node, reason },
            None => RouteError::Broken { node, reason, sent },
        };
        Undone { error, request }
    }
}

impl Ticket {
    /// What answers on this connection.
    fn kind(&self) -> Kind {
        match self {
            Self::Shared(_, _, kind) => *kind,
            Self::H1(single) => single.kind,
        }
    }

    /// Whether a request stays here until it is answered.
    fn keeps(&self) -> bool {
        matches!(self, Self::Shared(Sender::Bundle(_), _, _))
    }
}

/// The host that the caller asked for.
fn asked_host(request: &Request<Body>) -> Option<String> {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(uri::Authority::as_str).or(named).map(str::to_owned)
}

/// What is needed to send a request a second time, where its body can be.
struct Again {
    method: http::Method,
    uri: Uri,
    headers: http::HeaderMap,
    body: bytes::Bytes,
}

impl Again {
    fn of(request: &Request<Body>) -> Option<Self> {
        let body = match request.body() {
            Body::Empty => bytes::Bytes::new(),
            Body::Full(bytes) => bytes.clone(),
            Body::Incoming(_) | Body::Piped(_) | Body::Boxed(_) => return None,
        };
        let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
        Some(Self { method, uri, headers, body })
    }

    fn request(self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Whether the other side said that it did not begin with the request: a stream refused, or above the last one that a server
/// that is going away will still answer (RFC 9113 section 6.8).
#[must_use]
pub fn was_not_processed(error: &hyper::Error) -> bool {
    sources(error).filter_map(|e| e.downcast_ref::<h2::Error>()).any(|e| {
        let refused = e.reason() == Some(h2::Reason::REFUSED_STREAM);
        let gone = e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR);
        refused || gone
    })
}

/// In TLS 1.3 a partner that does not like our certificate says so only after the handshake.
pub(super) fn alert_in(error: &hyper::Error) -> Option<String> {
    sources(error).find_map(|e| alert_from(e.downcast_ref()?))
}

/// The same of a stream's error.
pub(super) fn alert_from(error: &std::io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(format!("{alert:?}")),
        _ => None,
    }
}

fn sources<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// An error with its causes; hyper's own text often says less than they do.
fn chain_of(error: &hyper::Error) -> String {
    sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
