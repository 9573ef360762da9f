//! The gRPC front (PTP section 6): `PrivateTransferTransport` and `PrivateTransferProtocol`.
//!
//! Served on plain HTTP/2 messages and not through tonic's server, for two reasons: payloads go out from where they lie,
//! and a message above our limit is answered with `E0000000413` in the code field (section 6.4) where a library would
//! answer a bare status. Errors stand in `code`, with gRPC status 0.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use mesh_core::{Body, CallContext, Caller, Refusal, Route, grpc::is_grpc};
use mesh_network::listen::access;

use super::{
    ENDS, Front, REDELIVERED,
    body::AnswerBody,
    call::{Answer, Call, Patience, Reply},
    decode::Wire,
    dialect::Dialect,
    encode::Encoding,
    exchange::Party,
    flow::{self, Content},
    frames::{Compression, FrameProblem, Frames},
    http::plain,
    op::Op,
    peers::Peers,
    query::Query,
    stream,
};
use crate::TransportError;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const STATUS_TEXT: HeaderName = HeaderName::from_static("grpc-message");

/// Statuses of gRPC itself, for what is no call of ours at all.
#[derive(Clone, Copy, Debug)]
enum Status {
    Unimplemented,
    Internal,
}

impl<P: Peers> Front<P> {
    /// Serves `/org.ppc.ptp.*` over gRPC.
    pub async fn grpc(
        self: &Arc<Self>,
        request: Request<Body>,
        context: CallContext,
        caller: Caller,
    ) -> Response<Body> {
        if !is_grpc(request.headers()) {
            return plain(StatusCode::BAD_REQUEST, "this path is spoken over gRPC; chan/* takes HTTP\n");
        }
        let patience = patience(request.headers());
        let Some(op) = Op::of_grpc_path(request.uri().path()) else {
            return only_status(Status::Unimplemented, "no such method");
        };
        let Some(compression) = compression(request.headers()) else { return unknown_compression() };
        let limit = self.exchange.live.load().transport.max_body_bytes.bytes();
        let frames = Frames::new(request.into_body(), compression, limit);
        match self.exchange.admit(op, context, caller) {
            Err(e) => self.answered(Refusal::from(e).into()),
            Ok(party) if op == Op::Transport => stream::response(Arc::clone(self), frames, party, patience),
            Ok(party) => self.unary(op, frames, party, patience).await,
        }
    }

    async fn unary(&self, op: Op, mut frames: Frames, mut party: Party, patience: Patience) -> Response<Body> {
        if op == Op::Push
            && let Some(route) = self.exchange.onward(&party)
        {
            match frames.plain_length().await {
                Ok(Some(length)) if length >= flow::SMALLEST => {
                    return self.pass_on(frames, length, &party, &route, patience).await;
                }
                Ok(_) => {}
                Err(problem) => return self.answered(self.refusal(&problem).into()),
            }
        }
        let mut purse = self.exchange.purse(&party, patience);
        let message = match frames.next(&mut purse).await {
            Ok(Some(message)) => message,
            Ok(None) => return no_message(),
            Err(FrameProblem::Unannounced) => {
                return only_status(Status::Internal, "a compressed message without grpc-encoding");
            }
            Err(problem) => return self.answered(self.refusal(&problem).into()),
        };
        party.room = purse.into_room();
        let is_node = party.caller.is_node();
        let reply = if op == Op::Invoke {
            self.unwrapped(message, Wire::Protobuf, party, patience).await.map(|(_, reply)| reply)
        } else {
            match self.decoded(op, Dialect::Protobuf, &party, Query::default(), message).await {
                Ok((call, _)) => self.exchange.run(call, Wire::Protobuf, &party, patience).await,
                Err(text) => Err(TransportError::Malformed(text).into()),
            }
        };
        self.replied(reply, is_node)
    }

    /// A large push to a partner goes on while it arrives: its message is the body that HTTP would bring.
    async fn pass_on(
        &self,
        frames: Frames,
        length: u64,
        party: &Party,
        route: &Arc<Route>,
        patience: Patience,
    ) -> Response<Body> {
        let purse = self.exchange.purse(party, patience);
        let call = Call::arriving(party.context.topic.clone().unwrap_or_default(), party.context.timeout);
        let arriving = (frames.into_rest(), length, Content::Push);
        // In a box: it is larger than the handlers of all other calls, which carry it along.
        let passed = Box::pin(self.exchange.pass_on_arriving(call, arriving, (party, patience), route, purse));
        self.replied(passed.await.unwrap_or_else(|e| Err(e.into())), party.caller.is_node())
    }

    fn replied(&self, reply: Result<Reply, Refusal>, is_node: bool) -> Response<Body> {
        let ends = is_node && self.exchange.ends_without(reply.as_ref().map_err(Some));
        let mut response = self.answered(settled(reply));
        if ends {
            response.headers_mut().insert(ENDS, HeaderValue::from_static("true"));
        }
        response
    }

    pub(super) fn refusal(&self, problem: &FrameProblem) -> Refusal {
        match problem {
            FrameProblem::TooLarge => {
                let limit = self.exchange.live.load().transport.max_body_bytes.bytes();
                TransportError::BodyTooLarge { limit }.into()
            }
            FrameProblem::Refused(e) => e.clone().into(),
            FrameProblem::Broken(reason) => TransportError::Malformed(reason.clone()).into(),
            FrameProblem::Unannounced => TransportError::Codec { reason: "grpc-encoding is missing".into() }.into(),
            FrameProblem::Codec(reason) => TransportError::Codec { reason: reason.clone() }.into(),
        }
    }

    fn answered(&self, answer: Answer) -> Response<Body> {
        let answer = Encoding::Grpc.carried(answer);
        self.count(&answer);
        let chunks = Encoding::Grpc.write(&answer);
        let redelivered = answer.delivery.as_ref().is_some_and(|delivery| delivery.redelivered);
        let lease = answer.delivery.and_then(|delivery| delivery.lease);
        let mut response = headed(AnswerBody::response(chunks, Some(success()), lease));
        access::note(&mut response, answer.code);
        if redelivered {
            response.headers_mut().insert(REDELIVERED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// The answer of a call, whatever it came to: over gRPC an HTTP status of the partner is a code.
pub(super) fn settled(reply: Result<Reply, Refusal>) -> Answer {
    match reply {
        Ok(Reply::Answer(answer)) => answer,
        Ok(Reply::PassedOn { status, .. }) => {
            let e = TransportError::PeerStatus { partner: "the partner".into(), status: status.as_u16() };
            Refusal::from(e).into()
        }
        Err(refusal) => refusal.into(),
    }
}

/// The head of a gRPC answer.
pub(super) fn head(body: Body) -> Response<Body> {
    headed(Response::new(body))
}

fn headed(mut response: Response<Body>) -> Response<Body> {
    dress(&mut response);
    response
}

/// The headers that every gRPC answer has.
pub(super) fn dress(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CONTENT_TYPE, Encoding::Grpc.content_type());
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("gzip,identity"));
}

/// A call that ended before its message.
pub(super) fn no_message() -> Response<Body> {
    only_status(Status::Internal, "a call needs a message")
}

/// How long the caller waits, counted from now.
pub(super) fn patience(headers: &HeaderMap) -> Patience {
    Patience::from_now(mesh_core::grpc::timeout(headers))
}

/// How messages may be compressed; `None`: in a way that is not known here.
pub(super) fn compression(headers: &HeaderMap) -> Option<Compression> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Some(Compression::None),
        Some(b"gzip") => Some(Compression::Gzip),
        Some(_) => None,
    }
}

/// A call whose messages nobody here can open, as gRPC wants it answered.
pub(super) fn unknown_compression() -> Response<Body> {
    only_status(Status::Unimplemented, "only gzip is decompressed here")
}

/// The trailers of a call that went well as far as gRPC is concerned.
pub(super) fn success() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    trailers
}

fn only_status(status: Status, text: &'static str) -> Response<Body> {
    let number = match status {
        Status::Unimplemented => "12",
        Status::Internal => "13",
    };
    let mut response = head(Body::Empty);
    response.headers_mut().insert(STATUS, HeaderValue::from_static(number));
    response.headers_mut().insert(STATUS_TEXT, HeaderValue::from_static(text));
    response
}
