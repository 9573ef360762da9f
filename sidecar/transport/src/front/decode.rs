//! From a body, a query and headers to a [`Call`]. Header before body before query (PTP section 3.2).

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use mesh_core::{CallContext, Topic, json::object};
use prost::Message;
use proto::ptp;

use super::{
    call::{Call, Operation, Reach},
    dialect::{Dialect, Signs},
    encode::{Encoding, map_len},
    json::{Members, Milliseconds, Payload},
    kuscia,
    op::Op,
    query::Query,
};
use crate::Metadata;

/// The longest topic that is taken, as for headers: a queue's name stays in memory for as long as the queue.
const LONGEST_TOPIC: usize = 1024;

/// The metadata of a message: it is written whenever the message is read, on the thread of a connection.
pub(super) const MOST_METADATA: u64 = 1 << 20;

/// How the body of a call is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Json,
    Protobuf,
}

/// What a body or a query says.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a> {
    pub(super) topic: Option<Cow<'a, str>>,
    pub(super) payload: Option<Bytes>,
    pub(super) metadata: Metadata,
    pub(super) timeout: Option<Duration>,
    pub(super) is_osx: bool,
}

/// A wrapped operation: the metadata and the encoded inner body of an `Inbound`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrapped {
    pub(crate) metadata: Metadata,
    pub(crate) inner: Bytes,
}

/// Reads a plain operation, and says how it is to be answered.
pub(crate) fn call(
    op: Op,
    dialect: Dialect,
    context: &CallContext,
    query: &Query,
    body: &Bytes,
) -> Result<(Call, Encoding), String> {
    if dialect == Dialect::Kuscia {
        return Ok((kuscia::call(op, context, query, body)?, Encoding::Kuscia));
    }
    let (arguments, mut encoding) = match dialect {
        Dialect::Json => (json(body)?, Encoding::Json),
        Dialect::Osx => (if body.is_empty() { Arguments::default() } else { json(body)? }, Encoding::Osx),
        Dialect::Protobuf => (protobuf(op, body)?, Encoding::Protobuf),
        Dialect::Form => (of_query(&Query::read(body))?, Encoding::Json),
        Dialect::Bare | Dialect::Kuscia | Dialect::Unknown => (Arguments::default(), Encoding::Json),
    };
    if arguments.is_osx {
        encoding = Encoding::Osx;
    }
    let call = assemble(op, arguments, of_query(query)?, context)?;
    Ok((call, encoding))
}

/// The timeout that the query of a call names, as its dialect reads it. One that cannot be read is refused with the call.
pub(crate) fn timeout(signs: &Signs<'_>) -> Option<Duration> {
    let text = signs.query.timeout.as_deref().filter(|text| !text.is_empty())?;
    match signs.dialect() {
        Dialect::Kuscia => kuscia::timeout(signs.query).ok().flatten(),
        _ => Milliseconds::read(text)?.0,
    }
}

/// Reads the inner body of a wrapped operation.
pub(crate) fn inner(op: Op, wire: Wire, context: &CallContext, body: &Bytes) -> Result<Call, String> {
    let arguments = match wire {
        Wire::Json => json(body)?,
        Wire::Protobuf => protobuf(op, body)?,
    };
    assemble(op, arguments, Arguments::default(), context)
}

/// Reads an `Inbound`.
pub(crate) fn wrapped(wire: Wire, body: &Bytes) -> Result<Wrapped, String> {
    match wire {
        Wire::Protobuf => {
            let inbound = ptp::Inbound::decode(body.clone()).map_err(|e| e.to_string())?;
            Ok(Wrapped { metadata: inbound.metadata, inner: inbound.payload })
        }
        Wire::Json => {
            let arguments = json(body)?;
            let inner = arguments.payload.ok_or("payload is missing: it is the encoded body of the inner operation")?;
            Ok(Wrapped { metadata: arguments.metadata, inner })
        }
    }
}

fn json(body: &[u8]) -> Result<Arguments<'_>, String> {
    let members: Members<'_> = object(body).map_err(|e| format!("the body is no valid JSON: {e}"))?;
    Ok(Arguments {
        is_osx: members.is_osx(),
        topic: members.topic,
        payload: members.payload.map(|payload| payload.0),
        metadata: members.metadata.unwrap_or_default(),
        timeout: members.timeout.and_then(|timeout| timeout.0),
    })
}

fn protobuf(op: Op, body: &Bytes) -> Result<Arguments<'static>, String> {
    let body = body.clone();
    let arguments = match op {
        Op::Push => ptp::PushInbound::decode(body).map(|push| Arguments {
            topic: given(push.topic),
            payload: Some(push.payload),
            metadata: push.metadata,
            ..Arguments::default()
        }),
        Op::Pop => ptp::PopInbound::decode(body).map(|pop| Arguments {
            topic: given(pop.topic),
            timeout: Milliseconds::of(pop.timeout.into()).0,
            ..Arguments::default()
        }),
        Op::Peek => {
            ptp::PeekInbound::decode(body).map(|peek| Arguments { topic: given(peek.topic), ..Arguments::default() })
        }
        Op::Release => ptp::ReleaseInbound::decode(body)
            .map(|release| Arguments { topic: given(release.topic), ..Arguments::default() }),
        Op::Invoke | Op::Transport => Ok(Arguments::default()),
    };
    arguments.map_err(|e| format!("the body is no valid protobuf: {e}"))
}

/// Protobuf cannot tell an empty text from an absent one.
fn given(text: String) -> Option<Cow<'static, str>> {
    (!text.is_empty()).then_some(Cow::Owned(text))
}

fn of_query(query: &Query) -> Result<Arguments<'static>, String> {
    let timeout = match query.timeout.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Milliseconds::read(text).ok_or("timeout is no number of milliseconds")?.0,
        None => None,
    };
    let payload = query.payload.as_deref().map(Payload::read).transpose();
    let payload = payload.map_err(|e| format!("payload is no padded base64: {e}"))?.map(|payload| payload.0);
    Ok(Arguments { topic: query.topic.clone().map(Cow::Owned), payload, timeout, ..Arguments::default() })
}

/// Header before body before query.
pub(super) fn assemble(
    op: Op,
    body: Arguments<'_>,
    query: Arguments<'_>,
    context: &CallContext,
) -> Result<Call, String> {
    let topic = match (&context.topic, body.topic.or(query.topic)) {
        (Some(topic), _) => topic.clone(),
        (None, Some(text)) if text.len() > LONGEST_TOPIC => {
            return Err(format!("topic is longer than {LONGEST_TOPIC} bytes"));
        }
        (None, Some(text)) => Topic::new(&text),
        (None, None) => Topic::default(),
    };
    let operation = match op {
        Op::Push => {
            let payload =
                body.payload.or(query.payload).ok_or("payload is missing; an empty text is an empty message")?;
            require_few(&body.metadata)?;
            Operation::Push { payload, metadata: (!body.metadata.is_empty()).then(|| Arc::new(body.metadata)) }
        }
        Op::Pop => Operation::Pop,
        Op::Peek => Operation::Peek,
        Op::Release => Operation::Release,
        Op::Invoke | Op::Transport => return Err(format!("{} carries another operation within", op.name())),
    };
    let timeout = context.timeout.or(body.timeout).or(query.timeout);
    Ok(Call { topic, timeout, operation, reach: Reach::Addressed })
}

/// Metadata says little of a message; what is much belongs into it.
pub(super) fn require_few(metadata: &Metadata) -> Result<(), String> {
    let few = map_len(Some(metadata)) <= MOST_METADATA;
    if few { Ok(()) } else { Err(format!("metadata is larger than {MOST_METADATA} bytes")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_header_wins_over_the_body_and_the_body_over_the_query() {
        let body = Bytes::from_static(br#"{"topic":"b","timeout":2}"#);
        let query = Query::read(b"topic=q&timeout=3");
        let header = CallContext {
            topic: Some(Topic::new("h")),
            timeout: Some(Duration::from_millis(1)),
            ..CallContext::default()
        };
        let none = CallContext::default();
        let table = [(&header, &body, "h", 1), (&none, &body, "b", 2), (&none, &Bytes::from_static(b"{}"), "q", 3)];
        for (context, body, topic, timeout) in table {
            let (call, _) = call(Op::Pop, Dialect::Json, context, &query, body).unwrap();
            let expected = Call {
                topic: Topic::new(topic),
                timeout: Some(Duration::from_millis(timeout)),
                operation: Operation::Pop,
                reach: Reach::Addressed,
            };
            assert_eq!(call, expected);
        }
    }

    #[test]
    fn a_push_without_a_payload_is_refused_but_an_empty_one_is_a_message() {
        let push = |body: &'static str| {
            let body = Bytes::from_static(body.as_bytes());
            call(Op::Push, Dialect::Json, &CallContext::default(), &Query::default(), &body)
        };
        assert!(push("{}").is_err() && push(r#"{"payload":null}"#).is_err());
        assert!(push(r#"{"payload":""}"#).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (body, context) = (Bytes::from(bytes.clone()), CallContext::default());
            let query = Query::read(&bytes);
            for op in [Op::Push, Op::Pop, Op::Peek, Op::Release, Op::Invoke] {
                for dialect in [Dialect::Json, Dialect::Osx, Dialect::Protobuf, Dialect::Form, Dialect::Bare] {
                    let _ = call(op, dialect, &context, &query, &body);
                }
            }
            for wire in [Wire::Json, Wire::Protobuf] {
                let _ = wrapped(wire, &body);
                let _ = inner(Op::Push, wire, &context, &body);
            }
        }
    }
}
