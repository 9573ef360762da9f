//! The HTTP front (PTP sections 3 and 13.2): read, one call, write.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use mesh_core::{Body, CallContext, Caller, Code, Refusal, Route};

use super::{
    Front, REDELIVERED,
    body::AnswerBody,
    call::{Answer, Call, Operation, Patience, Reach, Reply},
    decode::{self, Wire},
    dialect::{Dialect, Seen, Signs, media_type},
    encode::Encoding,
    exchange::Party,
    flow::{self, Flow},
    intake::{self, Unread},
    kuscia,
    op::Op,
    peers::Peers,
    query::Query,
};
use crate::{Metadata, TransportError};

/// What is not served, and in which way it is answered.
enum Failure {
    /// In the protocol's own form.
    Refused(Refusal, Encoding),
    /// A body that cannot be told or bound at all: HTTP 400 (PTP section 13.2).
    Unbindable(&'static str),
    /// A body above the limit, or for which there is no room: refused without reading what is left of it.
    Unread(Refusal, Encoding),
}

/// A request with its body.
struct Arrived {
    op: Op,
    post: bool,
    names_source: bool,
    headers: HeaderMap,
    query: Query,
    body: Bytes,
}

impl<P: Peers> Front<P> {
    /// Serves `chan/*` over HTTP.
    pub async fn http(&self, op: Op, request: Request<Body>, context: CallContext, caller: Caller) -> Response<Body> {
        let patience = Patience::from_now(None);
        if !matches!(*request.method(), Method::GET | Method::POST) {
            return method_not_allowed();
        }
        match self.serve(op, request, context, caller, patience).await {
            Ok((reply, encoding)) => self.write(reply, encoding),
            Err(Failure::Refused(refusal, encoding)) => self.write(Reply::Answer(refusal.into()), encoding),
            Err(Failure::Unbindable(text)) => plain(StatusCode::BAD_REQUEST, text),
            Err(Failure::Unread(refusal, encoding)) => {
                let mut response = self.write(Reply::Answer(refusal.into()), encoding);
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }

    async fn serve(
        &self,
        op: Op,
        request: Request<Body>,
        context: CallContext,
        caller: Caller,
        patience: Patience,
    ) -> Result<(Reply, Encoding), Failure> {
        let (head, body) = request.into_parts();
        // Admission fills in what a call leaves open; the dialect is told by what the request itself says.
        let names_source = context.source_node.is_some() || caller.partner().is_some();
        let (post, query) = (head.method == Method::POST, Query::read(head.uri.query().unwrap_or_default().as_bytes()));
        let seen = Seen::Announced(!body.is_end_stream());
        let signs =
            Signs { op, post, names_source, headers: &head.headers, context: &context, query: &query, body: seen };
        // Refusals before the body is here, and how long a push waits for room until it is.
        let (guess, named) = (signs.dialect().encoding(), context.timeout.or_else(|| decode::timeout(&signs)));
        let refused = |e: TransportError| Failure::Refused(e.into(), guess);
        let mut party = self.exchange.admit(op, context, caller).map_err(refused)?;
        if let Some(coding) = content_coding(&head.headers) {
            return Err(refused(TransportError::Codec {
                reason: format!("content-encoding {coding} is not spoken here"),
            }));
        }
        let limit = self.exchange.live.load().transport.max_body_bytes.bytes();
        let mut purse = self.exchange.purse_within(&party, named, patience);
        let unread = |unread| match unread {
            Unread::TooLarge => Failure::Unread(TransportError::BodyTooLarge { limit }.into(), guess),
            Unread::Refused(e) => Failure::Unread(e.into(), guess),
            Unread::Broken(reason) => refused(TransportError::Malformed(format!("the body broke off: {reason}"))),
        };
        if let Some((route, call, length)) = self.flows(op, (&head, &body), &party, limit) {
            // It is kept for a repeat, so it has its room like any other.
            let paid = purse.grow(0, length).await.map_err(|e| unread(e.into()))?;
            let flow = Flow::new(body, length, paid);
            // In a box: it is larger than the handlers of all other calls, which carry it along.
            let reply = Box::pin(async {
                tokio::select! {
                    reply = self.exchange.pass_on(&call, &flow, &party, &route, patience) => {
                        reply.map_err(|refusal| Failure::Refused(refusal, guess))
                    }
                    Err(e) = flow.pay(&mut purse) => Err(unread(e.into())),
                }
            });
            return Ok((reply.await?, guess));
        }
        let body = intake::read(body, limit, &mut purse).await.map_err(unread)?;
        party.room = purse.into_room();
        let arrived = Arrived { op, post, names_source, headers: head.headers, query, body };
        match arrived.dialect(&party.context) {
            Dialect::Unknown => Err(Failure::Unbindable(
                "the body is of no dialect that is spoken here: send application/json or application/x-protobuf",
            )),
            Dialect::Kuscia => self.plain(arrived, Dialect::Kuscia, &party, patience).await,
            dialect if op.is_wrapper() => Box::pin(self.wrapped(arrived, dialect, party, patience)).await,
            dialect => self.plain(arrived, dialect, &party, patience).await,
        }
    }

    /// A large push in protobuf to a partner goes on while it arrives: nothing of its body matters here.
    fn flows(
        &self,
        op: Op,
        (head, body): (&http::request::Parts, &Body),
        party: &Party,
        limit: u64,
    ) -> Option<(Arc<Route>, Call, u64)> {
        let is_plain =
            op == Op::Push && media_type(&head.headers) == "application/x-protobuf" && head.uri.query().is_none();
        let length = body.size_hint().exact().filter(|length| is_plain && (flow::SMALLEST..=limit).contains(length))?;
        let (topic, timeout) = (party.context.topic.clone().unwrap_or_default(), party.context.timeout);
        let operation = Operation::Push { payload: Bytes::new(), metadata: None };
        let call = Call { topic, timeout, operation, reach: Reach::Addressed };
        Some((self.exchange.onward(party)?, call, length))
    }

    async fn plain(
        &self,
        arrived: Arrived,
        dialect: Dialect,
        party: &Party,
        patience: Patience,
    ) -> Result<(Reply, Encoding), Failure> {
        let whole =
            if dialect == Dialect::Kuscia { kuscia::check_sender(arrived.op, arrived.names_source) } else { Ok(()) };
        let (call, encoding) = whole
            .and_then(|()| decode::call(arrived.op, dialect, &party.context, &arrived.query, &arrived.body))
            .map_err(|text| Failure::Refused(TransportError::Malformed(text).into(), dialect.encoding()))?;
        let op = arrived.op;
        // While the call waits, its payload is held once: a body in JSON was decoded out of this one.
        drop(arrived);
        let reply = self.exchange.run(call, dialect.wire(), party, patience).await;
        let reply = reply.map_err(|refusal| Failure::Refused(refusal, encoding))?;
        Ok((expired(op, reply, encoding), encoding))
    }

    async fn wrapped(
        &self,
        arrived: Arrived,
        dialect: Dialect,
        party: Party,
        patience: Patience,
    ) -> Result<(Reply, Encoding), Failure> {
        let (encoding, is_hop) = (dialect.encoding(), party.lease().is_some());
        let reply = self.unwrapped(arrived.body, dialect.wire(), party, patience).await;
        let (op, reply) = reply.map_err(|refusal| Failure::Refused(refusal, encoding))?;
        // A hop of our kind is in the published dialect, whichever provider its caller named: what an empty pop is called, the
        // caller's own node says.
        Ok((if is_hop { reply } else { expired(op, reply, encoding) }, encoding))
    }

    /// Takes an `Inbound` apart and serves the operation within, and says which it was (PTP sections 3.1 and 6.1).
    pub(super) async fn unwrapped(
        &self,
        body: Bytes,
        wire: Wire,
        mut party: Party,
        patience: Patience,
    ) -> Result<(Op, Reply), Refusal> {
        let wrapped = decode::wrapped(wire, &body).map_err(TransportError::Malformed)?;
        drop(body);
        take_over(&wrapped.metadata, &mut party.context)?;
        let uri = party.context.uri.as_deref().unwrap_or_default();
        let op =
            Op::of_uri(uri).ok_or_else(|| TransportError::NoSuchUri { path: super::op::path_of(uri).to_owned() })?;
        let call = decode::inner(op, wire, &party.context, &wrapped.inner)
            .map_err(|reason| TransportError::Inner { what: op.name(), reason })?;
        drop(wrapped);
        Ok((op, self.exchange.run(call, wire, &party, patience).await?))
    }

    /// Writes an answer, and counts a refusal.
    pub(super) fn write(&self, reply: Reply, encoding: Encoding) -> Response<Body> {
        let answer = match reply {
            Reply::Answer(answer) => answer,
            Reply::PassedOn { status, text } => {
                let mut response = Response::new(Body::from(text));
                *response.status_mut() = status;
                return response;
            }
        };
        self.count(&answer);
        let chunks = encoding.write(&answer);
        let redelivered = answer.delivery.as_ref().is_some_and(|delivery| delivery.redelivered);
        let lease = answer.delivery.and_then(|delivery| delivery.lease);
        let mut response = AnswerBody::response(chunks, None, lease);
        *response.status_mut() = status_of(answer.code);
        response.headers_mut().insert(header::CONTENT_TYPE, encoding.content_type());
        if redelivered {
            response.headers_mut().insert(REDELIVERED, HeaderValue::from_static("true"));
        }
        response
    }

    pub(super) fn count(&self, answer: &Answer) {
        if !answer.code.is_success() {
            self.exchange.channels.refused(answer.code);
        }
    }
}

/// What comes of an operation, as the caller's dialect has it: FATE OSX has a code for an empty pop (PTP section 5.2).
fn expired(op: Op, reply: Reply, encoding: Encoding) -> Reply {
    let has_expired = encoding == Encoding::Osx && op == Op::Pop && reply.is_empty();
    if has_expired { Reply::Answer(Answer::timed_out()) } else { reply }
}

/// A message of a wrapped call may name its uri, session, topic and timeout itself; that wins over the call's (PTP section
/// 6.1). It is read like headers, with their names and bounds. Who calls is not for it to say.
pub(super) fn take_over(metadata: &Metadata, context: &mut CallContext) -> Result<(), TransportError> {
    if metadata.is_empty() {
        return Ok(());
    }
    let named = metadata.iter().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in named {
        // A map of headers holds some ten thousand at most, and panics beyond that where it is not asked.
        let too_many = |_| TransportError::Malformed("metadata: too many entries".into());
        headers.try_append(name, value).map_err(too_many)?;
    }
    let said = CallContext::from_headers(&headers).map_err(|e| TransportError::Malformed(format!("metadata: {e}")))?;
    if said.has_session {
        (context.session, context.has_session) = (said.session, true);
    }
    context.uri = said.uri.or(context.uri.take());
    context.topic = said.topic.or(context.topic.take());
    context.timeout = said.timeout.or(context.timeout);
    Ok(())
}

impl Arrived {
    fn dialect(&self, context: &CallContext) -> Dialect {
        let Self { op, post, names_source, headers, query, body } = self;
        let body = Seen::Whole(body);
        Signs { op: *op, post: *post, names_source: *names_source, headers, context, query, body }.dialect()
    }
}

impl Dialect {
    fn wire(self) -> Wire {
        match self {
            // What Kuscia pushes is passed on in the published protobuf (PTP section 8.4).
            Self::Protobuf | Self::Kuscia => Wire::Protobuf,
            Self::Json | Self::Osx | Self::Bare | Self::Form | Self::Unknown => Wire::Json,
        }
    }

    pub(super) fn encoding(self) -> Encoding {
        match self {
            Self::Protobuf => Encoding::Protobuf,
            Self::Osx => Encoding::Osx,
            Self::Kuscia => Encoding::Kuscia,
            Self::Json | Self::Bare | Self::Form | Self::Unknown => Encoding::Json,
        }
    }
}

fn method_not_allowed() -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and POST are served here");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    response
}

/// What the body is packed in. Over HTTP nothing is opened: taken as it is, it would become somebody's message.
fn content_coding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    (!value.is_empty() && value != "identity").then(|| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Every outcome of the protocol is HTTP 200, whatever its code, but for the loop guard's (PTP sections 11.5 and 13.2).
pub(super) fn status_of(code: Code) -> StatusCode {
    if code == Code::LOOP { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_with_more_entries_than_headers_can_hold_is_refused() {
        let metadata: Metadata = (0..100_000).map(|n| (format!("x-{n}"), String::new())).collect();
        let taken = take_over(&metadata, &mut CallContext::default());
        assert!(matches!(taken, Err(TransportError::Malformed(_))), "{taken:?}");
    }
}
