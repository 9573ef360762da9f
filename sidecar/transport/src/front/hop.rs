//! The hop to a partner over HTTP (PTP section 8.4): the inner body in the caller's encoding, wrapped in an `Inbound`,
//! and the answer taken apart again. The hop speaks the published dialect always.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use mesh_core::{Body, CallContext, Code, Node, NodeId, Refusal, Route, Snapshot};
use prost::Message;
use proto::ptp;
use tokio::time::{Instant, timeout_at};

use super::{
    body::AnswerBody,
    call::{Answer, Call, Operation, Reply},
    chunks::Chunks,
    decode::Wire,
    dialect::media_type,
    encode::{put_length, put_map, put_text},
    intake::{self, Unread},
    json,
    patience::less_margin,
};
use crate::{Delivery, Metadata, TransportError};

/// The path that every hop goes to.
const INVOKE: &str = "/v1/interconn/chan/invoke";

/// What an answer may be longer than the largest body: its frame, codes and texts.
const FRAME: u64 = 64 * 1024;

/// A call that is passed on.
pub(crate) struct Errand<'a> {
    pub(crate) call: &'a Call,
    pub(crate) wire: Wire,
    pub(crate) context: &'a CallContext,
    pub(crate) message_id: Option<&'a str>,
}
