//! The generic service: MPIs called by name, with arguments in JSON (PTP sections 3.1, 7 and 8.4). It comes in two
//! carriers, the gRPC method `/mesh-rpc/v1` and `POST /mesh/invoke`.
//!
//! The channel MPIs end in the same exchange as every other channel call, here or at a partner, so that their messages are
//! numbered and leased like all others. Any other MPI is looked up in core's table, or goes on to the partner that it names
//! as it is (`onward`).

mod answer;
mod asked;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod fuzz;
mod onward;
mod open;
mod weight;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use mesh_core::{
    Body, CallContext, Caller, Refusal, Route, Urn,
    grpc::is_grpc,
    mpi::{self, Call as MpiCall},
};
use mesh_network::route::{self, Target};
use serde_json::Value;

pub(super) use self::answer::Carrier;
use self::asked::Asked;
use super::{
    Front,
    aside::{LIGHT, Side},
    call::{Answer, Call, Patience},
    decode::Wire,
    exchange::Party,
    frames::Frames,
    grpc,
    http::plain,
    intake::{self, Unread},
    op::Op,
    peers::Peers,
};
use crate::TransportError;

/// The arguments of a method, as long as a control call's document may be: JSON in memory is up to thirty times longer than
/// its text. Messages are bounded by `maxBodyBytes`, as everywhere.
const LONGEST_DOCUMENT: usize = 1 << 20;

/// What a generic call comes to on this node.
enum Outcome {
    /// A channel MPI.
    Channel(Answer),
    /// Any other MPI.
    Content(Option<Value>),
}

impl<P: Peers> Front<P> {
    /// Serves `/mesh-rpc/v1`: one message in, one message out, both raw JSON.
    pub async fn generic(&self, request: Request<Body>, mut context: CallContext, caller: Caller) -> Response<Body> {
        if !is_grpc(request.headers()) {
            return plain(
                StatusCode::BAD_REQUEST,
                "/mesh-rpc/v1 is spoken over gRPC; /mesh/invoke takes JSON by POST\n",
            );
        }
        let patience = grpc::patience(request.headers());
        if context.urn.is_none() {
            context.urn = Urn::in_authority(request.uri()).map(ToOwned::to_owned);
        }
        let refused = |refusal: Refusal| self.refused(&refusal, Carrier::Grpc);
        let mut party = match self.entered(context, caller) {
            Ok(party) => party,
            Err(refusal) => return refused(refusal),
        };
        match self.onward_to(&party) {
            Err(refusal) => return refused(refusal),
            Ok(Some(route)) => {
                let answer = self.onward(request, &route, &party.context, patience).await;
                return answer.unwrap_or_else(refused);
            }
            Ok(None) => {}
        }
        let Some(compression) = grpc::compression(request.headers()) else { return grpc::unknown_compression() };
        let mut frames = Frames::new(request.into_body(), compression, self.max_body());
        let mut purse = self.exchange.purse(&party, patience);
        let message = match frames.next(&mut purse).await {
            Ok(Some(message)) => message,
            Ok(None) => return grpc::no_message(),
            Err(problem) => return refused(self.refusal(&problem)),
        };
        party.room = purse.into_room();
        let side = Side::of(&party.caller);
        let outcome = match self.asked(message, &party).await {
            Ok(asked) => self.by_name(asked, party, patience).await,
            Err(text) => Err(TransportError::Malformed(text).into()),
        };
        self.said(outcome, Carrier::Grpc, side).await
    }

    /// Serves `/mesh/invoke`: the header `mesh-urn` and the arguments, or both in the body.
    pub async fn invoke(&self, request: Request<Body>, context: CallContext, caller: Caller) -> Response<Body> {
        let patience = Patience::from_now(None);
        let mut party = match self.entered(context, caller) {
            Ok(party) => party,
            Err(refusal) => return self.refused(&refusal, Carrier::Http),
        };
        let (head, body) = request.into_parts();
        let mut purse = self.exchange.purse(&party, patience);
        let bytes = match intake::read(body, self.max_body(), &mut purse).await {
            Ok(bytes) => bytes,
            Err(unread) => return self.unread(unread),
        };
        party.room = purse.into_room();
        let Ok(asked) = self.asked(bytes, &party).await else {
            return plain(StatusCode::BAD_REQUEST, "the body is no JSON object of arguments\n");
        };
        party.context.urn = party.context.urn.or_else(|| asked.method.clone());
        let side = Side::of(&party.caller);
        let outcome = match self.onward_to(&party) {
            Err(refusal) => Err(refusal),
            Ok(Some(route)) => {
                // The header names the method from here on, so that the body holds nothing but the arguments.
                let arguments = intake::with_room(asked.arguments, party.room.take());
                let request = Request::from_parts(head, Body::from(arguments));
                match self.onward(request, &route, &party.context, patience).await {
                    Ok(answer) => return answer,
                    Err(refusal) => Err(refusal),
                }
            }
            Ok(None) => self.by_name(asked, party, patience).await,
        };
        self.said(outcome, Carrier::Http, side).await
    }

    /// The generic service is open to whom invoke is (design section 4); what each may call there, the table knows.
    fn entered(&self, context: CallContext, caller: Caller) -> Result<Party, Refusal> {
        Ok(self.exchange.admit(Op::Invoke, context, caller)?)
    }

    /// The partner to which the call goes on as it is, for a caller whose calls are passed on.
    fn onward_to(&self, party: &Party) -> Result<Option<Arc<Route>>, Refusal> {
        let snapshot = self.exchange.live.load();
        if let Some(gateway) = &snapshot.gateway {
            // What this sidecar's snapshot says, it answers itself.
            let is_here = || matches!(route::target(&snapshot, &party.context), Ok(Target::Local));
            let is_ours = channel_op(&party.context).is_some() || (self.mpis.knows(&name(&party.context)) && is_here());
            return Ok((!is_ours).then(|| Arc::clone(gateway)));
        }
        match route::target(&snapshot, &party.context)? {
            Target::Local => Ok(None),
            Target::Remote(route) => {
                onward::permit(&party.caller, &route)?;
                Ok(channel_op(&party.context).is_none().then_some(route))
            }
        }
    }

    /// Finds the arguments in a body, and the method where no urn names it.
    async fn asked(&self, body: Bytes, party: &Party) -> Result<Asked, String> {
        let has_urn = party.context.urn.is_some();
        let is_large = body.len() > LIGHT;
        let read = move || if has_urn { Asked::by_urn(&body) } else { Asked::by_body(&body) };
        if !is_large {
            return read();
        }
        self.exchange.aside.run(Side::of(&party.caller), party.room.clone(), read).await
    }

    /// Reads the arguments of a channel MPI.
    async fn channel(&self, op: Op, asked: Asked, party: &mut Party) -> Result<Call, String> {
        if asked.arguments.len() <= LIGHT {
            return asked.channel(op, &mut party.context);
        }
        let (mut context, room) = (std::mem::take(&mut party.context), party.room.clone());
        let read = move || {
            let call = asked.channel(op, &mut context);
            drop(asked);
            (context, call)
        };
        let call;
        (party.context, call) = self.exchange.aside.run(Side::of(&party.caller), room, read).await;
        call
    }

    /// Serves a call on this node.
    async fn by_name(&self, asked: Asked, mut party: Party, patience: Patience) -> Result<Outcome, Refusal> {
        let malformed = |text: String| Refusal::from(TransportError::Malformed(text));
        if let Some(op) = channel_op(&party.context) {
            let call = self.channel(op, asked, &mut party).await.map_err(malformed)?;
            let reply = self.exchange.run(call, Wire::Json, &party, patience).await;
            return Ok(Outcome::Channel(grpc::settled(reply)));
        }
        if asked.arguments.len() > LONGEST_DOCUMENT {
            return Err(TransportError::BodyTooLarge { limit: LONGEST_DOCUMENT as u64 }.into());
        }
        let name = name(&party.context);
        let arguments = asked.members(&mut party.context).map_err(malformed)?;
        let Party { context, caller, .. } = party;
        self.mpis.call(&name, MpiCall { context, caller, arguments }).await.map(Outcome::Content)
    }

    /// A body that was not taken in.
    fn unread(&self, unread: Unread) -> Response<Body> {
        let e = match unread {
            Unread::TooLarge => TransportError::BodyTooLarge { limit: self.max_body() },
            Unread::Refused(e) => e,
            Unread::Broken(reason) => TransportError::Malformed(format!("the body broke off: {reason}")),
        };
        let mut response = self.refused(&e.into(), Carrier::Http);
        // What is left of it is not read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// Writes an outcome, a long one beside the thread of the connection.
    async fn said(&self, outcome: Result<Outcome, Refusal>, carrier: Carrier, side: Side) -> Response<Body> {
        match outcome {
            Ok(Outcome::Channel(answer)) => {
                self.count(&answer);
                carrier.channel(answer)
            }
            Ok(Outcome::Content(Some(content))) if weight::is_heavy(&content) => {
                // Its parts are let go of there too.
                carrier.content(self.exchange.aside.run(side, None, move || answer::text_of(Some(content))).await)
            }
            Ok(Outcome::Content(content)) => carrier.content(answer::text_of(content)),
            Err(refusal) => self.refused(&refusal, carrier),
        }
    }

    /// Writes a refusal, and counts it.
    fn refused(&self, refusal: &Refusal, carrier: Carrier) -> Response<Body> {
        self.exchange.channels.refused(refusal.code);
        carrier.refused(refusal)
    }

    fn max_body(&self) -> u64 {
        self.exchange.live.load().transport.max_body_bytes.bytes()
    }
}

/// The channel operation that a call names.
fn channel_op(context: &CallContext) -> Option<Op> {
    Op::of_mpi(&name(context))
}

/// The MPI that a call names.
fn name(context: &CallContext) -> String {
    context.urn.as_deref().map(mpi::name_of_urn).unwrap_or_default()
}
