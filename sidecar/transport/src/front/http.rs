//! The HTTP front (PTP sections 3 and 13.2): read, one call, write.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use mesh_core::{Body, CallContext, Caller, Code, Refusal};
use mesh_network::listen::access;

use super::{
    ENDS, Front, REDELIVERED,
    aside::{self, Holds, Side},
    body::AnswerBody,
    call::{Answer, Call, Patience, Reply},
    decode::{self, Wire},
    dialect::{Dialect, Seen, Signs},
    encode::Encoding,
    exchange::Party,
    flow::{self, Content},
    intake::{self, Unread},
    kuscia,
    op::Op,
    peers::Peers,
    query::Query,
};
use crate::TransportError;

/// What is not served, and in which way it is answered.
enum Failure {
    /// In the protocol's own form.
    Refused(Refusal, Encoding),
    /// A body that cannot be told or bound at all: HTTP 400 (PTP section 13.2).
    Unbindable(&'static str),
    /// A body above the limit, or for which there is no room: refused without reading what is left of it.
    Unread(Refusal, Encoding),
}

/// A request; its body comes later.
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
        let is_node = caller.is_node();
        let served = self.serve(op, request, context, caller, patience).await;
        let ends =
            is_node && self.exchange.ends_without(served.as_ref().map(|(reply, _)| reply).map_err(Failure::refusal));
        let mut response = match served {
            Ok((reply, encoding)) => self.write(reply, encoding),
            Err(Failure::Refused(refusal, encoding)) => self.write(Reply::Answer(refusal.into()), encoding),
            Err(Failure::Unbindable(text)) => plain(StatusCode::BAD_REQUEST, text),
            Err(Failure::Unread(refusal, encoding)) => {
                let mut response = self.write(Reply::Answer(refusal.into()), encoding);
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                response
            }
        };
        if ends {
            response.headers_mut().insert(ENDS, HeaderValue::from_static("true"));
        }
        response
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
        let query = Query::read(head.uri.query().unwrap_or_default().as_bytes());
        // Admission fills in what a call leaves open; the dialect is told by what the request itself says.
        let names_source = context.source_node.is_some() || caller.partner().is_some();
        let post = head.method == Method::POST;
        let mut arrived = Arrived { op, post, names_source, headers: head.headers, query, body: Bytes::new() };
        let signs = arrived.signs(&context, Seen::Announced(!body.is_end_stream()));
        // Refusals before the body is here, and how long a push waits for room until it is.
        let (told, named) = (signs.dialect(), context.timeout.or_else(|| decode::timeout(&signs)));
        let guess = told.encoding();
        let refused = |e: TransportError| Failure::Refused(e.into(), guess);
        let mut party = self.exchange.admit(op, context, caller).map_err(refused)?;
        if let Some(coding) = content_coding(&arrived.headers) {
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
        let large = body.size_hint().exact().filter(|length| (flow::SMALLEST..=limit).contains(length));
        if let Some(length) = large
            && let Some((call, content)) = arrived.flows(told, &party.context)
            && let Some(route) = self.exchange.onward(&party)
        {
            let arriving = (body, length, content);
            // In a box: it is larger than the handlers of all other calls, which carry it along.
            let passed = Box::pin(self.exchange.pass_on_arriving(call, arriving, (&party, patience), &route, purse));
            let reply = passed.await.map_err(|e| unread(e.into()))?;
            return Ok((reply.map_err(|refusal| Failure::Refused(refusal, guess))?, guess));
        }
        arrived.body = intake::read(body, limit, &mut purse).await.map_err(unread)?;
        party.room = purse.into_room();
        let (arrived, dialect) = self.told(arrived, &party).await;
        match dialect {
            Dialect::Unknown => Err(Failure::Unbindable(
                "the body is of no dialect that is spoken here: send application/json or application/x-protobuf",
            )),
            Dialect::Kuscia => self.plain(arrived, Dialect::Kuscia, &party, patience).await,
            dialect if op.is_wrapper() => Box::pin(self.wrapped(arrived, dialect, party, patience)).await,
            dialect => self.plain(arrived, dialect, &party, patience).await,
        }
    }

    async fn plain(
        &self,
        arrived: Arrived,
        dialect: Dialect,
        party: &Party,
        patience: Patience,
    ) -> Result<(Reply, Encoding), Failure> {
        let Arrived { op, post: _, names_source, headers, query, body } = arrived;
        // While the call waits, nothing of its request is held, and its payload once.
        drop(headers);
        let whole = if dialect == Dialect::Kuscia { kuscia::check_sender(op, names_source) } else { Ok(()) };
        let read = match whole {
            Ok(()) => self.decoded(op, dialect, party, query, body).await,
            Err(text) => Err(text),
        };
        let (call, encoding) =
            read.map_err(|text| Failure::Refused(TransportError::Malformed(text).into(), dialect.encoding()))?;
        let reply = self.exchange.run(call, dialect.wire(), party, patience).await;
        let reply = reply.map_err(|refusal| Failure::Refused(refusal, encoding))?;
        Ok((expired(op, reply, encoding), encoding))
    }

    /// The dialect of a request. It hangs on the first byte that is no blank, however many stand before it.
    async fn told(&self, arrived: Arrived, party: &Party) -> (Arrived, Dialect) {
        let begins_blank = |start: &[u8]| start.iter().all(u8::is_ascii_whitespace);
        if !arrived.body.get(..aside::LIGHT + 1).is_some_and(begins_blank) {
            let dialect = arrived.dialect(&party.context);
            return (arrived, dialect);
        }
        let (context, room) = (party.context.clone(), party.room.clone());
        let tell = move || {
            let dialect = arrived.dialect(&context);
            (arrived, dialect)
        };
        self.exchange.aside.run(Side::of(&party.caller), room, tell).await
    }

    /// A plain operation, read out of its body.
    pub(super) async fn decoded(
        &self,
        op: Op,
        dialect: Dialect,
        party: &Party,
        query: Query,
        body: Bytes,
    ) -> Result<(Call, Encoding), String> {
        if dialect == Dialect::Kuscia || !aside::is_heavy(dialect.wire(), Holds::Payload, &body) {
            return decode::call(op, dialect, &party.context, &query, &body);
        }
        let (context, room) = (party.context.clone(), party.room.clone());
        let read = move || decode::call(op, dialect, &context, &query, &body);
        self.exchange.aside.run(Side::of(&party.caller), room, read).await
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
        access::note(&mut response, answer.code);
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

impl Failure {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal, _) | Self::Unread(refusal, _) => Some(refusal),
            Self::Unbindable(_) => None,
        }
    }
}

/// What comes of an operation, as the caller's dialect has it: FATE OSX has a code for an empty pop (PTP section 5.2).
fn expired(op: Op, reply: Reply, encoding: Encoding) -> Reply {
    let has_expired = encoding == Encoding::Osx && op == Op::Pop && reply.is_empty();
    if has_expired { Reply::Answer(Answer::timed_out()) } else { reply }
}

impl Arrived {
    fn signs<'a>(&'a self, context: &'a CallContext, body: Seen<'a>) -> Signs<'a> {
        let Self { op, post, names_source, headers, query, body: _ } = self;
        Signs { op: *op, post: *post, names_source: *names_source, headers, context, query, body }
    }

    fn dialect(&self, context: &CallContext) -> Dialect {
        self.signs(context, Seen::Whole(&self.body)).dialect()
    }

    /// The push whose message stands in the body as it is, so that it may go on to a partner while it arrives. In JSON it is a
    /// text within a text, and has to be here first.
    fn flows(&self, told: Dialect, context: &CallContext) -> Option<(Call, Content)> {
        match told {
            Dialect::Protobuf if self.op == Op::Push && self.query.is_empty() => {
                let topic = context.topic.clone().unwrap_or_default();
                Some((Call::arriving(topic, context.timeout), Content::Push))
            }
            Dialect::Kuscia => {
                kuscia::check_sender(self.op, self.names_source).ok()?;
                Some((kuscia::arriving(self.op, context, &self.query)?, Content::Payload))
            }
            _ => None,
        }
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
