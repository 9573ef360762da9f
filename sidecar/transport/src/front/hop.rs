//! The hop to a partner over HTTP (PTP section 8.4): the inner body in the caller's encoding, wrapped in an `Inbound`,
//! and the answer taken apart again. The hop speaks the published dialect always.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use mesh_core::{Body, CallContext, Code, Node, NodeId, Refusal, Route, Snapshot};
use mesh_network::{
    MDC, Slip,
    route::{self, Target},
};
use prost::Message;
use proto::ptp;
use tokio::time::{Instant, timeout_at};

use super::{
    body::AnswerBody,
    call::{Answer, Call, Operation, Reply},
    chunks::{Chunks, SMALL},
    decode::Wire,
    dialect::media_type,
    encode::{put_entry, put_length, put_map, put_text},
    flow::Flow,
    intake::{self, Unread},
    json,
    patience::less_margin,
};
use crate::{
    Delivery, Metadata, TransportError,
    channels::{Purse, Room},
};

/// The path that every hop goes to.
const INVOKE: &str = "/v1/interconn/chan/invoke";

/// What an answer may be longer than the largest body: its frame, codes and texts.
const FRAME: u64 = 64 * 1024;

/// Headers with a new value in nearly every call. HTTP/2 keeps what is not marked in its table of 4 KiB, where they would
/// push out those that stay the same.
const OFTEN_NEW: [&str; 3] = ["x-ptp-timeout", "x-ptp-trace-id", "x-ptp-token"];

/// What the context of a call usually takes.
const HEAD: usize = 640;

/// A tag and a length take less.
const LENGTH: usize = 12;

/// The context of a call, as headers and as metadata.
type Said<'c> = [(&'static str, Cow<'c, str>)];

/// A call that is passed on.
pub(crate) struct Errand<'a> {
    pub(crate) call: &'a Call,
    pub(crate) wire: Wire,
    pub(crate) context: &'a CallContext,
    /// The body of a push that is passed on as it arrives: its encoded inner operation, of which the call knows nothing.
    pub(crate) flow: Option<&'a Flow>,
}

/// The partner that a call names; `None`: it ends here.
pub(crate) fn target(snapshot: &Snapshot, context: &CallContext) -> Result<Option<Arc<Route>>, Refusal> {
    Ok(match route::target(snapshot, context)? {
        Target::Local => None,
        Target::Remote(route) => Some(route),
    })
}

impl Errand<'_> {
    /// The request, as it goes out now; `until` is when its answer must be here.
    ///
    /// Our kind reads the context from the headers; `slip` says what stands before the body for the others.
    pub(crate) fn request(&self, node: &Node, until: Instant, slip: &Slip) -> Result<Request<Body>, TransportError> {
        let context = self.headers(node, until);
        let body = match self.flow {
            Some(flow) => flow.send(flow_head(&context, flow.length())),
            None => AnswerBody::of(self.inbound(&context, until, slip), None),
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(INVOKE);
        let headers = request.headers_mut();
        for (name, value) in context {
            // A topic that only a body can carry stands there alone.
            if let Ok(mut value) = HeaderValue::from_bytes(value.as_bytes()) {
                value.set_sensitive(OFTEN_NEW.contains(&name));
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let media = match self.wire {
            Wire::Json => "application/json",
            Wire::Protobuf => "application/x-protobuf",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        for passed in &self.context.mdc {
            let value =
                HeaderValue::from_str(passed).map_err(|_| TransportError::Malformed(format!("{MDC} is no text")))?;
            headers.append(MDC, value);
        }
        Ok(request)
    }

    /// The context of the call. The source is this node itself, whoever the application says it is: the partner holds it
    /// against our certificate.
    fn headers(&self, node: &Node, until: Instant) -> Vec<(&'static str, Cow<'_, str>)> {
        let context = self.context;
        let given = |name, value: Option<&'_ str>| value.map(|value| (name, Cow::Owned(value.to_owned())));
        let timeout = less_margin(until.saturating_duration_since(Instant::now())).as_millis().max(1);
        let waits = matches!(self.call.operation, Operation::Push { .. } | Operation::Pop);
        let all = [
            Some(("x-ptp-uri", format!("https://ptp.cn/v1/interconn/chan/{}", self.call.operation.op().name()).into())),
            Some(("x-ptp-version", context.version.clone().unwrap_or_else(|| "1.0.0".into()).into())),
            Some(("x-ptp-source-node-id", node.node_id.to_string().into())),
            Some(("x-ptp-source-inst-id", node.inst_id.to_string().into())),
            given("x-ptp-target-node-id", context.target_node.as_ref().map(NodeId::as_str)),
            given("x-ptp-target-inst-id", context.target_inst.as_ref().map(mesh_core::InstId::as_str)),
            given("x-ptp-session-id", context.has_session.then(|| context.session.as_str())),
            given("x-ptp-topic", Some(self.call.topic.as_str()).filter(|topic| !topic.is_empty())),
            waits.then(|| ("x-ptp-timeout", timeout.to_string().into())),
            given("x-ptp-tech-provider-code", context.provider.as_deref()),
            given("x-ptp-trace-id", context.trace_id.as_deref()),
            given("x-ptp-token", context.token.as_deref()),
        ];
        all.into_iter().flatten().collect()
    }

    fn inbound(&self, context: &Said<'_>, until: Instant, slip: &Slip) -> Chunks {
        let timeout = less_margin(until.saturating_duration_since(Instant::now())).as_millis();
        match self.wire {
            Wire::Json => {
                let metadata = context.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
                self.json(&metadata, timeout)
            }
            Wire::Protobuf => self.protobuf(context, timeout, slip),
        }
    }

    fn json(&self, metadata: &Metadata, timeout: u128) -> Chunks {
        let mut inner = serde_json::json!({ "topic": self.call.topic.as_str() });
        match &self.call.operation {
            Operation::Push { payload, metadata } => {
                inner["payload"] = STANDARD.encode(payload).into();
                if let Some(metadata) = metadata {
                    inner["metadata"] = serde_json::json!(**metadata);
                }
            }
            Operation::Pop => inner["timeout"] = (timeout as u64).into(),
            Operation::Peek | Operation::Release => {}
        }
        let inner = STANDARD.encode(inner.to_string());
        let metadata = serde_json::json!(metadata);
        [format!("{{\"metadata\":{metadata},\"payload\":\"").into(), inner.into(), Bytes::from_static(b"\"}")].into()
    }

    /// A large payload stays where it is; only what stands around it is written.
    fn protobuf(&self, context: &Said<'_>, timeout: u128, slip: &Slip) -> Chunks {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        put_text(1, self.call.topic.as_str(), &mut before);
        let mut payload = Bytes::new();
        match &self.call.operation {
            Operation::Push { payload: pushed, metadata } => {
                payload = pushed.clone();
                put_length(2, payload.len(), &mut before);
                metadata.iter().for_each(|metadata| put_map(3, metadata, &mut after));
            }
            Operation::Pop => {
                let timeout = i32::try_from(timeout).unwrap_or(i32::MAX);
                before = ptp::PopInbound { topic: self.call.topic.to_string(), timeout }.encode_to_vec();
            }
            Operation::Peek | Operation::Release => {}
        }
        let inner = before.len() + payload.len() + after.len();
        let mut head = Vec::with_capacity(HEAD);
        context.iter().for_each(|(name, value)| put_entry(1, name, value, &mut head));
        if payload.len() <= SMALL {
            // The fields of a message may stand apart: the metadata in front, for those who want it.
            slip.before_for_others(head.into());
            // One frame instead of three.
            let mut whole = Vec::with_capacity(inner + LENGTH);
            put_length(2, inner, &mut whole);
            whole.append(&mut before);
            whole.extend_from_slice(&payload);
            whole.append(&mut after);
            return whole.into();
        }
        put_length(2, inner, &mut head);
        head.append(&mut before);
        [head.into(), payload, after.into()].into()
    }
}

/// What stands before a body that is passed on as it arrives.
fn flow_head(context: &Said<'_>, length: u64) -> Bytes {
    let mut head = Vec::with_capacity(HEAD);
    context.iter().for_each(|(name, value)| put_entry(1, name, value, &mut head));
    put_length(2, usize::try_from(length).unwrap_or(usize::MAX), &mut head);
    head.into()
}

/// Takes the partner's answer apart.
pub(crate) async fn reply(
    response: Response<Body>,
    wire: Wire,
    partner: &NodeId,
    limit: u64,
    until: Instant,
    mut purse: Purse<'_>,
) -> Result<Reply, TransportError> {
    let partner = || partner.to_string();
    let (head, body) = response.into_parts();
    if head.status == StatusCode::FORBIDDEN {
        return Err(TransportError::PeerRefused { partner: partner() });
    }
    // JSON carries a payload twice, each a third longer.
    let limit = if wire == Wire::Json { limit.saturating_mul(3) } else { limit }.saturating_add(FRAME);
    let read = timeout_at(until, intake::read(body, limit, &mut purse)).await;
    // What passes through is charged until the caller has it, or is gone.
    let room = purse.into_room();
    let reason = match read {
        Ok(Ok(body)) if head.status == StatusCode::OK => return answer(&head.headers, &body, wire, &partner(), room),
        Ok(Ok(text)) => {
            return Ok(Reply::PassedOn { status: head.status, text: intake::with_room(text, room) });
        }
        Ok(Err(Unread::Refused(e))) => return Err(e),
        Ok(Err(Unread::TooLarge)) => format!("it is larger than {limit} bytes"),
        Ok(Err(Unread::Broken(reason))) => reason,
        Err(_) => "it did not arrive in time".into(),
    };
    Err(TransportError::PeerAnswer { partner: partner(), reason })
}

fn answer(
    headers: &HeaderMap,
    body: &Bytes,
    wire: Wire,
    partner: &str,
    room: Option<Room>,
) -> Result<Reply, TransportError> {
    let wire = match media_type(headers) {
        "application/json" => Wire::Json,
        "application/x-protobuf" => Wire::Protobuf,
        _ => wire,
    };
    let unreadable = |reason: String| TransportError::PeerAnswer { partner: partner.to_owned(), reason };
    let outbound = match wire {
        Wire::Json => of_json(body).map_err(|e| unreadable(e.to_string()))?,
        Wire::Protobuf => ptp::Outbound::decode(body.clone()).map_err(|e| unreadable(e.to_string()))?.into(),
    };
    let Some(code) = Code::parse(&outbound.code) else {
        return Err(TransportError::PeerCode { partner: partner.to_owned(), code: outbound.code });
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
