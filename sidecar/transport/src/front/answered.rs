//! What a partner answers to a hop, taken apart (PTP sections 8.4 and 5.2): in JSON or protobuf, or as a message of gRPC.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_core::{Body, BoxError, Code, NodeId, Refusal};
use prost::Message;
use proto::ptp;
use tokio::time::{Instant, timeout_at};

use super::{
    aside::{Aside, Holds, Side, is_heavy},
    call::{Answer, Reply},
    decode::{self, Wire},
    dialect::media_type,
    frames::{FrameProblem, Frames},
    grpc,
    hop::Way,
    intake::{self, Unread},
    json,
};
use crate::{
    Delivery, Metadata, TransportError,
    channels::{Purse, Room},
};

/// What an answer may be longer than the largest body: its frame, codes and texts.
const FRAME: u64 = 64 * 1024;

/// What gRPC calls an error of which nothing is known.
const UNKNOWN: u16 = 2;
/// `E` and ten digits.
const CODE: usize = 11;

/// An answer of a partner.
pub(crate) struct Answered<'a> {
    pub(crate) response: Response<Body>,
    pub(crate) way: Way,
    /// In which the call went.
    pub(crate) wire: Wire,
    pub(crate) partner: &'a NodeId,
    /// The largest message that is taken.
    pub(crate) limit: u64,
    pub(crate) until: Instant,
}

/// A body that remembers what stood behind it.
struct Noting {
    body: Body,
    trailers: Arc<OnceLock<HeaderMap>>,
}

/// Why no answer of the protocol can be had of a body.
enum Problem {
    Refused(TransportError),
    /// It cannot be decoded.
    Unreadable(String),
    /// gRPC says why there is none.
    Status(HeaderMap),
}

impl Answered<'_> {
    /// Takes it apart.
    pub(crate) async fn read(self, mut purse: Purse<'_>, aside: &Aside) -> Result<Reply, TransportError> {
        let Self { response, way, wire, partner, limit, until } = self;
        let partner = partner.to_string();
        let (head, body) = response.into_parts();
        if head.status == StatusCode::FORBIDDEN {
            return Err(TransportError::PeerRefused { partner });
        }
        // JSON carries a payload twice, each a third longer.
        let limit = if wire == Wire::Json { limit.saturating_mul(3) } else { limit };
        let limit = limit.saturating_add(FRAME);
        let is_message = way == Way::Grpc && head.status == StatusCode::OK;
        let reading = async {
            if is_message {
                return message(&head.headers, body, limit, &mut purse).await;
            }
            intake::read(body, limit, &mut purse).await.map_err(|unread| match unread {
                Unread::Refused(e) => Problem::Refused(e),
                Unread::TooLarge => Problem::too_large(limit),
                Unread::Broken(reason) => Problem::Unreadable(reason),
            })
        };
        let read = timeout_at(until, reading).await;
        let read = read.unwrap_or_else(|_| Err(Problem::Unreadable("it did not arrive in time".into())));
        // What passes through is charged until the caller has it, or is gone.
        let room = purse.into_room();
        let body = match read {
            Ok(body) => body,
            Err(Problem::Refused(e)) => return Err(e),
            Err(Problem::Unreadable(reason)) => return Err(TransportError::PeerAnswer { partner, reason }),
            Err(Problem::Status(said)) => return Err(status(&said, partner)),
        };
        if head.status != StatusCode::OK {
            return Ok(Reply::PassedOn { status: head.status, text: intake::with_room(body, room) });
        }
        let wire = wire_of(&head.headers).unwrap_or(wire);
        let (is_heavy, charged) = (is_heavy(wire, Holds::Payload, &body), room.clone());
        let read = move || answer(&head.headers, body, wire, partner, room);
        if is_heavy { aside.run(Side::Partner, charged, read).await } else { read() }
    }
}

impl Problem {
    fn too_large(limit: u64) -> Self {
        Self::Unreadable(format!("it is larger than {limit} bytes"))
    }
}

/// What the answer says that it is written in.
fn wire_of(headers: &HeaderMap) -> Option<Wire> {
    match media_type(headers) {
        "application/json" => Some(Wire::Json),
        "application/x-protobuf" => Some(Wire::Protobuf),
        _ => None,
    }
}

/// The one message of a gRPC answer. It is read to its end: whoever wrote it may count on that.
async fn message(headers: &HeaderMap, body: Body, limit: u64, purse: &mut Purse<'_>) -> Result<Bytes, Problem> {
    let Some(compression) = grpc::compression(headers) else {
        return Err(Problem::Unreadable("it is compressed in a way that nobody asked for".into()));
    };
    let trailers = Arc::new(OnceLock::new());
    let body = Body::boxed(Noting { body, trailers: Arc::clone(&trailers) });
    let mut frames = Frames::new(body, compression, limit);
    let problem = |problem| match problem {
        FrameProblem::Refused(e) => Problem::Refused(e),
        FrameProblem::TooLarge => Problem::too_large(limit),
        FrameProblem::Broken(reason) | FrameProblem::Codec(reason) => Problem::Unreadable(reason),
        FrameProblem::Unannounced => Problem::Unreadable("it is compressed and does not say how".into()),
    };
    let message = frames.next(purse).await.map_err(problem)?;
    let Some(message) = message else {
        // Without a message the status stands in the head, or behind the body.
        return Err(Problem::Status(trailers.get().unwrap_or(headers).clone()));
    };
    while frames.next(purse).await.map_err(problem)?.is_some() {}
    Ok(message)
}

/// What a status of gRPC means (PTP section 6.6). A node may say its code in the text: whoever turns errors into statuses
/// does.
fn status(said: &HeaderMap, partner: String) -> TransportError {
    let text = |name: &str| said.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let status = text("grpc-status").trim().parse().unwrap_or(UNKNOWN);
    let named = text("grpc-message").get(..CODE).and_then(Code::parse).filter(|code| !code.is_success());
    let code = named.unwrap_or(match status {
        4 => Code::TIMEOUT,
        7 | 16 => Code::UNAUTHORISED,
        8 => Code::TOO_LARGE,
        12 => Code::NOT_FOUND,
        _ => Code::UNKNOWN,
    });
    TransportError::PeerGrpc { partner, status, code }
}

fn answer(
    headers: &HeaderMap,
    body: Bytes,
    wire: Wire,
    partner: String,
    room: Option<Room>,
) -> Result<Reply, TransportError> {
    let outbound = match wire {
        Wire::Json => of_json(&body).map_err(|e| e.to_string()),
        Wire::Protobuf => ptp::Outbound::decode(body).map(Outbound::from).map_err(|e| e.to_string()),
    };
    let outbound = outbound.and_then(|it| decode::require_few(&it.metadata).map(|()| it));
    let outbound = match outbound {
        Ok(outbound) => outbound,
        Err(reason) => return Err(TransportError::PeerAnswer { partner, reason }),
    };
    let Some(code) = Code::parse(&outbound.code) else {
        return Err(TransportError::PeerCode { partner, code: outbound.code });
    };
    // Cleaned in the one place where all texts are.
    let message = Refusal::of_caller(code, outbound.message).message;
    let redelivered = headers.contains_key(super::REDELIVERED);
    // Protobuf cannot tell an empty message from none; its lease can.
    let payload = outbound.payload.or_else(|| headers.contains_key(super::LEASE).then(Bytes::new));
    let delivery = payload.filter(|_| code.is_success()).map(|payload| Delivery {
        payload: intake::with_room(payload, room),
        metadata: (!outbound.metadata.is_empty()).then(|| Arc::new(outbound.metadata)),
        source: None,
        redelivered,
        lease: None,
    });
    Ok(Reply::Answer(Answer { code, message: message.into(), delivery }))
}

/// An answer in either encoding.
struct Outbound {
    code: String,
    message: String,
    metadata: Metadata,
    payload: Option<Bytes>,
}

impl From<ptp::Outbound> for Outbound {
    /// Protobuf cannot tell an empty message from none.
    fn from(outbound: ptp::Outbound) -> Self {
        let ptp::Outbound { metadata, payload, code, message } = outbound;
        Self { code, message, metadata, payload: (!payload.is_empty()).then_some(payload) }
    }
}

fn of_json(body: &[u8]) -> Result<Outbound, serde_json::Error> {
    let outbound: json::Outbound<'_> = mesh_core::json::object(body)?;
    Ok(Outbound {
        code: outbound.code.unwrap_or_default().into_owned(),
        message: outbound.message.or(outbound.msg).unwrap_or_default().into_owned(),
        metadata: outbound.metadata.unwrap_or_default(),
        payload: outbound.payload.or(outbound.content).map(|payload| payload.0),
    })
}

impl HttpBody for Noting {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            // The first are the last.
            let _ = self.trailers.set(trailers.clone());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
