//! The hop to a partner over HTTP (PTP section 8.4): the inner body in the caller's encoding, wrapped in an `Inbound`,
//! and the answer taken apart again. The hop speaks the published dialect always.

use std::sync::Arc;

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
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    aside::{Aside, Holds, Side, is_heavy},
    body::AnswerBody,
    call::{Answer, Call, Operation, Reach, Reply},
    chunks::{Chunks, Piece},
    decode::Wire,
    dialect::media_type,
    encode::{put_entry, put_length, put_map, put_text},
    flow::{Content, Flow},
    intake::{self, Unread},
    json,
    op::Op,
    patience::{less_margin, with_margin},
};
use crate::{
    Delivery, Metadata, TransportError,
    channels::{Purse, Room},
};

/// The path that every hop goes to.
const INVOKE: &str = "/v1/interconn/chan/invoke";

/// What an answer may be longer than the largest body: its frame, codes and texts.
const FRAME: u64 = 64 * 1024;

const URI: HeaderName = HeaderName::from_static("x-ptp-uri");
const VERSION: HeaderName = HeaderName::from_static("x-ptp-version");
const SOURCE_NODE: HeaderName = HeaderName::from_static("x-ptp-source-node-id");
const SOURCE_INST: HeaderName = HeaderName::from_static("x-ptp-source-inst-id");
const TARGET_NODE: HeaderName = HeaderName::from_static("x-ptp-target-node-id");
const TARGET_INST: HeaderName = HeaderName::from_static("x-ptp-target-inst-id");
const SESSION: HeaderName = HeaderName::from_static("x-ptp-session-id");
const TOPIC: HeaderName = HeaderName::from_static("x-ptp-topic");
const TIMEOUT: HeaderName = HeaderName::from_static("x-ptp-timeout");
const PROVIDER: HeaderName = HeaderName::from_static("x-ptp-tech-provider-code");
const TRACE: HeaderName = HeaderName::from_static("x-ptp-trace-id");
const HERE: HeaderName = HeaderName::from_static("x-ptp-here");
const TOKEN: HeaderName = HeaderName::from_static("x-ptp-token");

/// What an answer may take from the gateway to its sidecar, on a busy machine.
const WAY_BACK: Duration = Duration::from_millis(20);

/// Headers with a new value in nearly every call. HTTP/2 keeps what is not marked in its table of 4 KiB, where they would
/// push out those that stay the same.
const OFTEN_NEW: [HeaderName; 3] = [TIMEOUT, TRACE, TOKEN];

/// A map for this many needs no second allocation: the context, its type, our own word, and the loop guard.
const HEADERS: usize = 20;

/// A message up to this size goes in one piece: what is small travels in company, and the copy costs less than a call of its own.
const ONE_PIECE: usize = 15 * 1024;

/// What the context of a call usually takes.
const HEAD: usize = 640;

/// A tag and a length take less.
const LENGTH: usize = 12;

/// A call that is passed on.
pub(crate) struct Errand<'a> {
    pub(crate) call: &'a Call,
    pub(crate) wire: Wire,
    pub(crate) context: &'a CallContext,
    pub(crate) to: To,
    /// The body of a push that is passed on as it arrives, of which the call knows nothing.
    pub(crate) flow: Option<&'a Flow>,
}

/// Whom a call is passed on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Another node, which is told who we are.
    Partner,
    /// This node's gateway, which is told what the application said.
    Gateway,
}

impl To {
    /// What a peer of a process with this configuration is.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        if snapshot.gateway.is_some() { Self::Gateway } else { Self::Partner }
    }
}

/// The peer that a call goes on to: the partner that it names, or in a sidecar the gateway; `None`: it ends here.
pub(crate) fn target(snapshot: &Snapshot, context: &CallContext) -> Result<Option<Arc<Route>>, Refusal> {
    if let Some(gateway) = &snapshot.gateway {
        return Ok(Some(Arc::clone(gateway)));
    }
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
        let mut headers = self.headers(node, until);
        let body = match self.flow {
            Some(flow) => flow.send(self.flow_head(&headers, flow)),
            None => AnswerBody::of(self.inbound(&headers, until, slip), None),
        };
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
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(INVOKE);
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The context of the call. To a partner the source is this node itself, whoever the application says it is: the partner
    /// holds it against our certificate. A topic that only a body can carry stands there alone.
    fn headers(&self, node: &Node, until: Instant) -> HeaderMap {
        let context = self.context;
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(URI, HeaderValue::from_static(uri_of(self.call.operation.op())));
        put(&mut headers, VERSION, context.version.as_deref().unwrap_or(&node.version));
        let claimed = (context.source_node.as_ref(), context.source_inst.as_ref());
        let (source_node, source_inst) = match (self.to, claimed) {
            (To::Gateway, (node_id, inst_id)) => (node_id.unwrap_or(&node.node_id), inst_id.unwrap_or(&node.inst_id)),
            (To::Partner, _) => (&node.node_id, &node.inst_id),
        };
        put(&mut headers, SOURCE_NODE, source_node.as_str());
        put(&mut headers, SOURCE_INST, source_inst.as_str());
        let mut given = |name: HeaderName, value: Option<&str>| {
            value.into_iter().for_each(|it| put(&mut headers, name.clone(), it));
        };
        given(TARGET_NODE, context.target_node.as_ref().map(NodeId::as_str));
        given(TARGET_INST, context.target_inst.as_ref().map(mesh_core::InstId::as_str));
        given(SESSION, context.has_session.then(|| context.session.as_str()));
        given(TOPIC, Some(self.call.topic.as_str()).filter(|topic| !topic.is_empty()));
        if matches!(self.call.operation, Operation::Push { .. } | Operation::Pop) {
            given(TIMEOUT, Some(&self.timeout(until).as_millis().max(1).to_string()));
        }
        if let (To::Gateway, Reach::Here { from }) = (self.to, &self.call.reach) {
            given(HERE, Some(from.as_ref().map_or("*", NodeId::as_str)));
        }
        given(PROVIDER, context.provider.as_deref());
        given(TRACE, context.trace_id.as_deref());
        given(TOKEN, context.token.as_deref());
        headers
    }

    /// What is left for whoever gets the call. A gateway is near, and takes its own margin off.
    fn timeout(&self, until: Instant) -> Duration {
        let left = until.saturating_duration_since(Instant::now());
        match self.to {
            To::Partner => less_margin(left),
            // A push's time is none to be answered early in.
            To::Gateway if self.call.operation.op() == Op::Push => left.saturating_sub(WAY_BACK),
            To::Gateway => with_margin(left.saturating_sub(WAY_BACK)),
        }
    }

    fn inbound(&self, headers: &HeaderMap, until: Instant, slip: &Slip) -> Chunks {
        let timeout = self.timeout(until).as_millis();
        match self.wire {
            Wire::Json => {
                let metadata = said(headers).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                self.json(&metadata, timeout)
            }
            Wire::Protobuf => self.protobuf(headers, timeout, slip),
        }
    }

    fn json(&self, metadata: &Metadata, timeout: u128) -> Chunks {
        let head = format!("{{\"metadata\":{},\"payload\":\"", serde_json::json!(metadata));
        let topic = serde_json::json!(self.call.topic.as_str());
        let inner = match &self.call.operation {
            Operation::Push { payload, metadata } => {
                let metadata = metadata.as_ref().map(|map| format!(",\"metadata\":{}", serde_json::json!(**map)));
                let before = format!("{{\"topic\":{topic},\"payload\":\"");
                let after = format!("\"{}}}", metadata.unwrap_or_default());
                if payload.len() > ONE_PIECE {
                    let inner = Piece::base64_within(before, payload.clone(), after);
                    return [head.into(), inner, Bytes::from_static(b"\"}").into()].into();
                }
                [before, STANDARD.encode(payload), after].concat()
            }
            Operation::Pop => format!("{{\"topic\":{topic},\"timeout\":{timeout}}}"),
            Operation::Peek | Operation::Release => format!("{{\"topic\":{topic}}}"),
        };
        [head, STANDARD.encode(inner), "\"}".to_owned()].concat().into_bytes().into()
    }

    /// What stands before a body that is passed on as it arrives.
    fn flow_head(&self, headers: &HeaderMap, flow: &Flow) -> Bytes {
        let length = usize::try_from(flow.length()).unwrap_or(usize::MAX);
        let (mut head, mut inner) = (entries(headers), Vec::new());
        if flow.content() == Content::Payload {
            put_text(1, self.call.topic.as_str(), &mut inner);
            put_length(2, length, &mut inner);
        }
        put_length(2, inner.len() + length, &mut head);
        head.append(&mut inner);
        head.into()
    }

    /// A large payload stays where it is; only what stands around it is written.
    fn protobuf(&self, headers: &HeaderMap, timeout: u128, slip: &Slip) -> Chunks {
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
        if payload.len() <= ONE_PIECE {
            // The fields of a message may stand apart: the metadata in front, for those who want it.
            slip.before_for_others(|headers| entries(headers).into());
            // One frame instead of three.
            let mut whole = Vec::with_capacity(inner + LENGTH);
            put_length(2, inner, &mut whole);
            whole.append(&mut before);
            whole.extend_from_slice(&payload);
            whole.append(&mut after);
            return whole.into();
        }
        let mut head = entries(headers);
        put_length(2, inner, &mut head);
        head.append(&mut before);
        [head.into(), payload, after.into()].into()
    }
}

/// What `x-ptp-uri` says.
fn uri_of(op: Op) -> &'static str {
    match op {
        Op::Push => "https://ptp.cn/v1/interconn/chan/push",
        Op::Pop => "https://ptp.cn/v1/interconn/chan/pop",
        Op::Peek => "https://ptp.cn/v1/interconn/chan/peek",
        Op::Release => "https://ptp.cn/v1/interconn/chan/release",
        Op::Invoke => "https://ptp.cn/v1/interconn/chan/invoke",
        Op::Transport => "https://ptp.cn/v1/interconn/chan/transport",
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(mut value) = HeaderValue::from_bytes(value.as_bytes()) {
        value.set_sensitive(OFTEN_NEW.contains(&name));
        headers.insert(name, value);
    }
}

/// The context among the headers, as names and texts.
fn said(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let of_context = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ptp-"));
    of_context.filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?)))
}

/// The context as metadata of an `Inbound`.
fn entries(headers: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    said(headers).for_each(|(name, value)| put_entry(1, name, value, &mut head));
    head
}

/// An answer of a partner.
pub(crate) struct Answered<'a> {
    pub(crate) response: Response<Body>,
    /// In which the call went.
    pub(crate) wire: Wire,
    pub(crate) partner: &'a NodeId,
    /// The largest message that is taken.
    pub(crate) limit: u64,
    pub(crate) until: Instant,
}

impl Answered<'_> {
    /// Takes it apart.
    pub(crate) async fn read(self, mut purse: Purse<'_>, aside: &Aside) -> Result<Reply, TransportError> {
        let partner = self.partner.to_string();
        let (head, body) = self.response.into_parts();
        if head.status == StatusCode::FORBIDDEN {
            return Err(TransportError::PeerRefused { partner });
        }
        // JSON carries a payload twice, each a third longer.
        let limit = if self.wire == Wire::Json { self.limit.saturating_mul(3) } else { self.limit };
        let limit = limit.saturating_add(FRAME);
        let read = timeout_at(self.until, intake::read(body, limit, &mut purse)).await;
        // What passes through is charged until the caller has it, or is gone.
        let room = purse.into_room();
        let reason = match read {
            Ok(Ok(body)) if head.status == StatusCode::OK => {
                let wire = wire_of(&head.headers).unwrap_or(self.wire);
                let heavy = is_heavy(wire, Holds::Payload, &body);
                let read = {
                    let room = room.clone();
                    move || answer(&head.headers, body, wire, partner, room)
                };
                return if heavy { aside.run(Side::Partner, room, read).await } else { read() };
            }
            Ok(Ok(text)) => {
                return Ok(Reply::PassedOn { status: head.status, text: intake::with_room(text, room) });
            }
            Ok(Err(Unread::Refused(e))) => return Err(e),
            Ok(Err(Unread::TooLarge)) => format!("it is larger than {limit} bytes"),
            Ok(Err(Unread::Broken(reason))) => reason,
            Err(_) => "it did not arrive in time".into(),
        };
        Err(TransportError::PeerAnswer { partner, reason })
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
