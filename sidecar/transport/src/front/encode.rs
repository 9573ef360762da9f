//! From an [`Answer`] to bytes, written by hand: the payload goes into the output once, or not at all where it is large
//! and the dialect takes raw bytes (PTP sections 3.4, 5 and 6.1).

use std::sync::LazyLock;

use base64::{Engine, encoded_len, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use mesh_core::Refusal;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::{
    call::Answer,
    chunks::{Chunks, Piece, SMALL},
};
use crate::{Metadata, TransportError};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// The published JSON.
    Json,
    /// JSON with what FATE OSX reads beside it: `msg`, and a code of its own for an empty pop (PTP section 5.2).
    Osx,
    /// `TransportOutbound` and `Outbound`, which are the same.
    Protobuf,
    /// The answer to Kuscia: payload, code and message under other tags (PTP decision D5).
    Kuscia,
    /// `TransportOutbound` as a gRPC message.
    Grpc,
    /// The answer of a generic call: JSON with the payload as `content` (PTP section 7).
    Generic,
    /// The same as a gRPC message.
    GenericGrpc,
}

/// What every push that went well is answered with, written once; in the order of [`Encoding`].
static PLAIN_SUCCESS: LazyLock<[Chunks; 7]> = LazyLock::new(|| {
    use Encoding::{Generic, GenericGrpc, Grpc, Json, Kuscia, Osx, Protobuf};
    let all = [Json, Osx, Protobuf, Kuscia, Grpc, Generic, GenericGrpc];
    all.map(|encoding| encoding.write_anew(&Answer::success(None)))
});

/// Under which tags the members of an answer stand.
#[derive(Clone, Copy)]
struct Layout {
    metadata: Option<u32>,
    payload: u32,
    code: u32,
    message: u32,
}

/// `TransportOutbound` (PTP section 6.1).
const PUBLISHED: Layout = Layout { metadata: Some(1), payload: 2, code: 3, message: 4 };
/// What Kuscia's clients read (PTP section 5.3).
const KUSCIA: Layout = Layout { metadata: None, payload: 1, code: 2, message: 3 };

/// What stands before each message of gRPC: a flag and a length.
pub(crate) const GRPC_PREFIX: usize = 5;

/// The longest message of gRPC: its length has four bytes.
pub(super) const LONGEST_MESSAGE: u64 = u32::MAX as u64;
/// Code, text and frame of an answer take less.
const BESIDE: u64 = 4096;

impl Encoding {
    /// The answer, unless it is longer than this encoding can say: then its message goes back to its queue, and the reason is the
    /// answer (PTP section 13.2). `maxBodyBytes` may be more than gRPC carries.
    pub(crate) fn carried(self, answer: Answer) -> Answer {
        self.carried_within(answer, LONGEST_MESSAGE)
    }

    fn carried_within(self, answer: Answer, longest: u64) -> Answer {
        let Some(delivery) = &answer.delivery else { return answer };
        let payload = delivery.payload.len() as u64;
        let length = match self {
            Self::Grpc => payload.saturating_add(map_len(delivery.metadata.as_deref())),
            Self::GenericGrpc => payload.div_ceil(3).saturating_mul(4),
            Self::Json | Self::Osx | Self::Protobuf | Self::Kuscia | Self::Generic => return answer,
        };
        if length.saturating_add(BESIDE) <= longest {
            return answer;
        }
        Refusal::from(TransportError::Unwritable { bytes: payload }).into()
    }

    /// The content type of the answer.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json | Self::Osx | Self::Generic => "application/json",
            Self::Protobuf => "application/x-protobuf",
            Self::Kuscia => "application/proto",
            Self::Grpc | Self::GenericGrpc => "application/grpc",
        })
    }

    /// The answer in this encoding.
    pub(crate) fn write(self, answer: &Answer) -> Chunks {
        if answer.is_plain_success() { PLAIN_SUCCESS[self as usize].clone() } else { self.write_anew(answer) }
    }

    fn write_anew(self, answer: &Answer) -> Chunks {
        match self {
            Self::Json => json(answer, ""),
            Self::Osx => json(answer, &format!(",\"msg\":\"{}\"", answer.message)),
            Self::Protobuf => protobuf(answer, PUBLISHED, 0),
            Self::Kuscia => protobuf(answer, KUSCIA, 0),
            Self::Grpc => protobuf(answer, PUBLISHED, GRPC_PREFIX),
            Self::Generic => generic(answer, 0),
            Self::GenericGrpc => generic(answer, GRPC_PREFIX),
        }
    }
}

fn json(answer: &Answer, extra: &str) -> Chunks {
    let tail = format!("\"code\":\"{}\",\"message\":\"{}\"{extra}}}", answer.code, answer.message);
    let Some(delivery) = &answer.delivery else { return format!("{{{tail}").into_bytes().into() };
    let mut text = String::with_capacity(64 + tail.len() + 3 * delivery.payload.len().min(SMALL));
    text.push('{');
    if let Some(metadata) = delivery.metadata.as_deref().and_then(|map| serde_json::to_string(map).ok()) {
        text.push_str("\"metadata\":");
        text.push_str(&metadata);
        text.push(',');
    }
    text.push_str("\"payload\":\"");
    if delivery.payload.len() > SMALL {
        let payload = || Piece::Base64(delivery.payload.clone());
        let between = Bytes::from_static(b"\",\"content\":\"");
        let (head, tail) = (Bytes::from(text), Bytes::from(format!("\",{tail}")));
        return [head.into(), payload(), between.into(), payload(), tail.into()].into();
    }
    let start = text.len();
    STANDARD.encode_string(&delivery.payload, &mut text);
    let end = text.len();
    text.push_str("\",\"content\":\"");
    text.extend_from_within(start..end);
    text.push_str("\",");
    text.push_str(&tail);
    text.into_bytes().into()
}

fn generic(answer: &Answer, prefix: usize) -> Chunks {
    let mut head = vec![0; prefix];
    head.extend_from_slice(format!("{{\"code\":\"{}\",\"message\":\"{}\"", answer.code, answer.message).as_bytes());
    let (payload, tail) = match &answer.delivery {
        Some(delivery) => {
            head.extend_from_slice(b",\"content\":\"");
            (delivery.payload.clone(), &b"\"}"[..])
        }
        None => (Bytes::new(), &b"}"[..]),
    };
    if payload.len() <= SMALL {
        head.extend_from_slice(STANDARD.encode(&payload).as_bytes());
        head.extend_from_slice(tail);
        let length = head.len();
        write_prefix(&mut head, prefix, length);
        return head.into();
    }
    let length = head.len() + encoded_len(payload.len(), true).unwrap_or(usize::MAX) + tail.len();
    write_prefix(&mut head, prefix, length);
    [Bytes::from(head).into(), Piece::Base64(payload), Bytes::from_static(tail).into()].into()
}

fn protobuf(answer: &Answer, layout: Layout, prefix: usize) -> Chunks {
    let (payload, metadata) = match &answer.delivery {
        Some(delivery) => (delivery.payload.clone(), delivery.metadata.as_deref()),
        None => (Bytes::new(), None),
    };
    let inline = if payload.len() <= SMALL { payload.len() } else { 0 };
    let mut head = Vec::with_capacity(prefix + inline + answer.message.len() + 64);
    head.resize(prefix, 0);
    if let (Some(tag), Some(metadata)) = (layout.metadata, metadata) {
        put_map(tag, metadata, &mut head);
    }
    if !payload.is_empty() {
        put_length(layout.payload, payload.len(), &mut head);
    }
    if payload.len() <= SMALL {
        head.extend_from_slice(&payload);
        put_text(layout.code, &answer.code.as_str(), &mut head);
        put_text(layout.message, &answer.message, &mut head);
        let length = head.len();
        write_prefix(&mut head, prefix, length);
        return head.into();
    }
    let mut tail = Vec::with_capacity(answer.message.len() + 24);
    put_text(layout.code, &answer.code.as_str(), &mut tail);
    put_text(layout.message, &answer.message, &mut tail);
    let length = head.len() + payload.len() + tail.len();
    write_prefix(&mut head, prefix, length);
    [head.into(), payload, tail.into()].into()
}

/// Writes the flag and the length of a message of gRPC where `prefix` leaves room for them; `length` is that of all.
pub(super) fn write_prefix(head: &mut [u8], prefix: usize, length: usize) {
    if prefix == GRPC_PREFIX {
        let length = u32::try_from(length - prefix).unwrap_or(u32::MAX);
        head[1..GRPC_PREFIX].copy_from_slice(&length.to_be_bytes());
    }
}

/// What stands before a gRPC message of `length` bytes.
pub(super) fn prefix(length: usize) -> Bytes {
    let mut prefix = vec![0; GRPC_PREFIX];
    write_prefix(&mut prefix, GRPC_PREFIX, GRPC_PREFIX + length);
    prefix.into()
}

pub(super) fn put_length(tag: u32, length: usize, buffer: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

pub(super) fn put_text(tag: u32, text: &str, buffer: &mut Vec<u8>) {
    if !text.is_empty() {
        put_length(tag, text.len(), buffer);
        buffer.extend_from_slice(text.as_bytes());
    }
}

/// One entry of a metadata map under `tag`.
pub(super) fn put_entry(tag: u32, name: &str, value: &str, buffer: &mut Vec<u8>) {
    let field = |text: &str| if text.is_empty() { 0 } else { 1 + encoded_len_varint(text.len() as u64) + text.len() };
    put_length(tag, field(name) + field(value), buffer);
    put_text(1, name, buffer);
    put_text(2, value, buffer);
}

/// What a metadata map takes at most: a tag and a length of both texts and of the entry are 22 bytes.
pub(super) fn map_len(map: Option<&Metadata>) -> u64 {
    map.into_iter().flatten().map(|(name, value)| (name.len() + value.len() + 22) as u64).sum()
}

/// All entries of a metadata map under `tag`.
pub(super) fn put_map(tag: u32, map: &Metadata, buffer: &mut Vec<u8>) {
    map.iter().for_each(|(name, value)| put_entry(tag, name, value, buffer));
}

#[cfg(test)]
mod tests;
