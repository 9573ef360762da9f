//! The hop to a partner (PTP section 8.4): the inner body in the caller's encoding, wrapped in an `Inbound`. It speaks the
//! published dialect always. It goes by HTTP, or by gRPC to a partner whose address says `grpcs://`; `answered` reads what
//! comes back.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use mesh_core::{Body, CallContext, Node, NodeId, Refusal, Route, Snapshot};
use mesh_network::{
    MDC, Slip,
    dial::Speaks,
    route::{self, Target},
};
use prost::Message;
use proto::ptp;
use tokio::time::{Duration, Instant};

use super::{
    body::AnswerBody,
    call::{Call, Operation, Reach},
    chunks::{Chunks, Piece},
    decode::Wire,
    encode::{GRPC_PREFIX, LONGEST_MESSAGE, map_len, put_entry, put_length, put_map, put_text, write_prefix},
    flow::{Content, Flow},
    op::Op,
    patience::{less_margin, with_margin},
};
use crate::{Metadata, TransportError};

/// The paths that every hop goes to.
const INVOKE: &str = "/v1/interconn/chan/invoke";
const INVOKE_GRPC: &str = "/org.ppc.ptp.PrivateTransferProtocol/invoke";

/// What stands beside a push in an `Inbound`: its context, which came in headers.
const BESIDE: u64 = 1 << 20;

/// The longest deadline that eight digits can name.
const LONGEST_DEADLINE: u128 = 99_999_999;

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
const BEHALF: HeaderName = HeaderName::from_static("x-ptp-for");
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
    pub(crate) way: Way,
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
    /// The gateway of this node that owns the session, which is told what the caller said, and on whose behalf.
    Owner,
}

/// How a call is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In an encoding of HTTP.
    Http,
    /// As a message of gRPC.
    Grpc,
}

impl Way {
    /// The way to `to` over its route: what its first address says.
    pub(crate) fn of(to: To, route: &Route) -> Self {
        match to {
            To::Partner if route::speaks(route) == Speaks::Grpc => Self::Grpc,
            To::Partner | To::Gateway | To::Owner => Self::Http,
        }
    }

    /// The bytes that stand before a message.
    fn prefix(self) -> usize {
        match self {
            Self::Http => 0,
            Self::Grpc => GRPC_PREFIX,
        }
    }
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
        self.require_carried()?;
        let mut headers = self.headers(node, until);
        let body = match self.flow {
            Some(flow) => flow.send(self.flow_head(&headers, flow)),
            None => AnswerBody::of(self.inbound(&headers, until, slip), None),
        };
        let media = match (self.way, self.wire) {
            (Way::Grpc, _) => "application/grpc",
            (Way::Http, Wire::Json) => "application/json",
            (Way::Http, Wire::Protobuf) => "application/x-protobuf",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        if self.way == Way::Grpc {
            dress(&mut headers, until);
        }
        for passed in &self.context.mdc {
            let value =
                HeaderValue::from_str(passed).map_err(|_| TransportError::Malformed(format!("{MDC} is no text")))?;
            headers.append(MDC, value);
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(match self.way {
            Way::Http => INVOKE,
            Way::Grpc => INVOKE_GRPC,
        });
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The context of the call. To a partner the source is this node itself, whoever the application says it is: the partner
    /// holds it against our certificate. A topic that only a body can carry stands there alone.
    fn headers(&self, node: &Node, until: Instant) -> HeaderMap {
        let context = self.context;
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(URI, HeaderValue::from_static(uri_of(self.way, self.call.operation.op())));
        put(&mut headers, VERSION, context.version.as_deref().unwrap_or(&node.version));
        let claimed = (context.source_node.as_ref(), context.source_inst.as_ref());
        let (source_node, source_inst) = match (self.to, claimed) {
            (To::Gateway | To::Owner, (node_id, inst_id)) => {
                (node_id.unwrap_or(&node.node_id), inst_id.unwrap_or(&node.inst_id))
            }
            (To::Partner, _) => (&node.node_id, &node.inst_id),
        };
        put(&mut headers, SOURCE_NODE, source_node.as_str());
        put(&mut headers, SOURCE_INST, source_inst.as_str());
        let mut given = |name: HeaderName, value: Option<&str>| {
            value.into_iter().for_each(|it| put(&mut headers, name.clone(), it));
        };
        if self.to != To::Owner {
            given(TARGET_NODE, context.target_node.as_ref().map(NodeId::as_str));
            given(TARGET_INST, context.target_inst.as_ref().map(mesh_core::InstId::as_str));
        }
        given(SESSION, context.has_session.then(|| context.session.as_str()));
        given(TOPIC, Some(self.call.topic.as_str()).filter(|topic| !topic.is_empty()));
        if matches!(self.call.operation, Operation::Push { .. } | Operation::Pop) {
            given(TIMEOUT, Some(&self.timeout(until).as_millis().max(1).to_string()));
        }
        match (self.to, &self.call.reach) {
            (To::Gateway | To::Owner, Reach::Here { from }) => {
                given(HERE, Some(from.as_ref().map_or("*", NodeId::as_str)));
            }
            (To::Owner, Reach::Addressed) => given(HERE, Some("*")),
            (To::Partner, _) | (To::Gateway, Reach::Addressed) => {}
        }
        if self.to == To::Owner {
            given(BEHALF, context.behalf.as_ref().map(NodeId::as_str));
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
            To::Gateway | To::Owner if self.call.operation.op() == Op::Push => left.saturating_sub(WAY_BACK),
            To::Gateway | To::Owner => with_margin(left.saturating_sub(WAY_BACK)),
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

    /// A message may be longer than gRPC carries.
    fn require_carried(&self) -> Result<(), TransportError> {
        let bytes = match (&self.call.operation, self.flow) {
            (_, Some(flow)) => flow.length(),
            (Operation::Push { payload, metadata }, None) => payload.len() as u64 + map_len(metadata.as_deref()),
            _ => return Ok(()),
        };
        let fits = self.way == Way::Http || bytes <= LONGEST_MESSAGE - BESIDE;
        if fits { Ok(()) } else { Err(TransportError::Unwritable { bytes }) }
    }

    /// What stands before a body that is passed on as it arrives.
    fn flow_head(&self, headers: &HeaderMap, flow: &Flow) -> Bytes {
        let length = usize::try_from(flow.length()).unwrap_or(usize::MAX);
        let (mut head, mut inner) = (self.entries_of(headers), Vec::new());
        if flow.content() == Content::Payload {
            put_text(1, self.call.topic.as_str(), &mut inner);
            put_length(2, length, &mut inner);
        }
        put_length(2, inner.len() + length, &mut head);
        head.append(&mut inner);
        let whole = head.len().saturating_add(length);
        write_prefix(&mut head, self.way.prefix(), whole);
        head.into()
    }

    /// The context as metadata of an `Inbound`, behind room for what stands before a message.
    fn entries_of(&self, headers: &HeaderMap) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEAD);
        head.resize(self.way.prefix(), 0);
        said(headers).for_each(|(name, value)| put_entry(1, name, value, &mut head));
        head
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
            // One frame instead of three.
            let mut whole = match self.way {
                Way::Http => {
                    // The fields of a message may stand apart: the metadata in front, for those who want it.
                    slip.before_for_others(|headers| entries(headers).into());
                    Vec::with_capacity(inner + LENGTH)
                }
                Way::Grpc => self.entries_of(headers),
            };
            put_length(2, inner, &mut whole);
            whole.append(&mut before);
            whole.extend_from_slice(&payload);
            whole.append(&mut after);
            let length = whole.len();
            write_prefix(&mut whole, self.way.prefix(), length);
            return whole.into();
        }
        let mut head = self.entries_of(headers);
        put_length(2, inner, &mut head);
        head.append(&mut before);
        let length = head.len() + payload.len() + after.len();
        write_prefix(&mut head, self.way.prefix(), length);
        [head.into(), payload, after.into()].into()
    }
}

/// What `x-ptp-uri` says. Only plain operations are passed on.
fn uri_of(way: Way, op: Op) -> &'static str {
    match (way, op) {
        (Way::Http, Op::Push) => "https://ptp.cn/v1/interconn/chan/push",
        (Way::Http, Op::Pop) => "https://ptp.cn/v1/interconn/chan/pop",
        (Way::Http, Op::Peek) => "https://ptp.cn/v1/interconn/chan/peek",
        (Way::Http, Op::Release) => "https://ptp.cn/v1/interconn/chan/release",
        (Way::Grpc, Op::Push) => "grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/push",
        (Way::Grpc, Op::Pop) => "grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/pop",
        (Way::Grpc, Op::Peek) => "grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/peek",
        (Way::Grpc, Op::Release) => "grpcs://ptp.cn/org.ppc.ptp.PrivateTransferTransport/release",
        (_, Op::Invoke) => "https://ptp.cn/v1/interconn/chan/invoke",
        (_, Op::Transport) => "https://ptp.cn/v1/interconn/chan/transport",
    }
}

/// What gRPC wants to be told beside the call.
fn dress(headers: &mut HeaderMap, until: Instant) {
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("gzip,identity"));
    let left = until.saturating_duration_since(Instant::now()).as_millis().clamp(1, LONGEST_DEADLINE);
    if let Ok(mut value) = HeaderValue::from_str(&format!("{left}m")) {
        value.set_sensitive(true);
        headers.insert("grpc-timeout", value);
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
