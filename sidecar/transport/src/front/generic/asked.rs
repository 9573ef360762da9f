//! From the JSON of a generic call to its arguments (PTP section 7).

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::CallContext;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    Metadata,
    front::{
        call::Call,
        decode::{self, Arguments},
        json::{Milliseconds, Payload},
        op::Op,
    },
};

/// A call whose arguments are still text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The method, where the body names it.
    pub(super) method: Option<String>,
    /// A JSON object: all of the body, or a part of it.
    pub(super) arguments: Bytes,
}

/// The body of a call over HTTP without the header `mesh-urn`.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(default, alias = "urn")]
    method: String,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// The arguments of `mesh.chan.*`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Channel<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    payload: Option<Payload>,
    timeout: Option<Milliseconds>,
    metadata: Option<Metadata>,
    attachments: Option<Attachments>,
}

/// No arguments.
const NONE: Bytes = Bytes::from_static(b"{}");

/// What SDKs attach to every call: texts, some of them JSON themselves.
type Attachments = BTreeMap<String, Value>;

impl Asked {
    /// A call that a urn names: the body holds the arguments. No body means that there are none.
    pub(super) fn by_urn(body: &Bytes) -> Result<Self, String> {
        let is_blank = body.iter().all(u8::is_ascii_whitespace);
        let arguments = if is_blank { NONE } else { body.clone() };
        starts_as_object(&arguments)?;
        Ok(Self { method: None, arguments })
    }

    /// A call that its body names.
    pub(super) fn by_body(body: &Bytes) -> Result<Self, String> {
        let named: Named<'_> = mesh_core::json::object(body).map_err(|e| not_json(&e))?;
        let arguments = named.content.map_or(NONE, |content| body.slice_ref(content.get().as_bytes()));
        starts_as_object(&arguments)?;
        Ok(Self { method: Some(named.method), arguments })
    }

    /// The arguments of a channel MPI; the payload is decoded straight out of the text.
    pub(super) fn channel(&self, op: Op, context: &mut CallContext) -> Result<Call, String> {
        let read: Channel<'_> = serde_json::from_slice(&self.arguments).map_err(|e| not_json(&e))?;
        complete(context, &read.attachments.unwrap_or_default())?;
        let arguments = Arguments {
            topic: read.topic,
            payload: read.payload.map(|payload| payload.0),
            metadata: read.metadata.unwrap_or_default(),
            timeout: read.timeout.and_then(|timeout| timeout.0),
            is_osx: false,
        };
        decode::assemble(op, arguments, Arguments::default(), context)
    }

    /// The arguments of any other MPI.
    pub(super) fn members(&self, context: &mut CallContext) -> Result<Map<String, Value>, String> {
        let members: Map<String, Value> = serde_json::from_slice(&self.arguments).map_err(|e| not_json(&e))?;
        if let Some(Value::Object(attachments)) = members.get("attachments") {
            let attachments: Attachments = attachments.clone().into_iter().collect();
            complete(context, &attachments)?;
        }
        Ok(members)
    }
}

/// What the metadata left open, the attachments say (PTP section 7), under the same names and bounds. Who calls and whom is
/// not for them to say.
fn complete(context: &mut CallContext, attachments: &Attachments) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    for (name, value) in attachments {
        let (Ok(name), Some(value)) = (HeaderName::try_from(name.as_str()), value.as_str()) else { continue };
        let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
        // A map of headers holds some ten thousand at most, and panics beyond that where it is not asked.
        headers.try_append(name, value).map_err(|_| "attachments: too many entries".to_owned())?;
    }
    let said = CallContext::from_headers(&headers).map_err(|e| format!("attachments: {e}"))?;
    if !context.has_session {
        (context.session, context.has_session) = (said.session, said.has_session);
    }
    context.trace_id = context.trace_id.take().or(said.trace_id);
    context.version = context.version.take().or(said.version);
    context.provider = context.provider.take().or(said.provider);
    context.token = context.token.take().or(said.token);
    Ok(())
}

fn starts_as_object(arguments: &[u8]) -> Result<(), String> {
    match arguments.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(()),
        _ => Err("the arguments are no JSON object".into()),
    }
}

fn not_json(e: &serde_json::Error) -> String {
    format!("the arguments are no valid JSON object: {e}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh_core::{SessionId, Topic};
    use proptest::prelude::*;

    use super::*;
    use crate::front::call::{Operation, Reach};

    #[test]
    fn the_method_stands_in_the_urn_or_in_the_body() {
        assert_eq!(Asked::by_urn(&Bytes::from_static(b" ")).unwrap(), Asked { method: None, arguments: NONE });
        let body = Bytes::from_static(br#"{"version":"1","method":"mesh.net.edge","content":{"node_id":"LX1"}}"#);
        let arguments = Bytes::from_static(br#"{"node_id":"LX1"}"#);
        assert_eq!(Asked::by_body(&body).unwrap(), Asked { method: Some("mesh.net.edge".into()), arguments });
        assert_eq!(Asked::by_body(&Bytes::from_static(br#"{"method":"m"}"#)).unwrap().arguments, NONE);
        for body in [&b"[1]"[..], br#"["mesh.net.edge",{}]"#, b"x", b"\xff", b"null"] {
            let body = Bytes::from_static(body);
            assert!(Asked::by_urn(&body).is_err() && Asked::by_body(&body).is_err(), "{body:?}");
        }
        assert!(Asked::by_body(&Bytes::from_static(br#"{"method":"m","content":[]}"#)).is_err());
    }

    #[test]
    fn a_channel_call_is_read_with_its_attachments() {
        let body = &br#"{"topic":"t","timeout":50,"attachments":{"mesh-session-id":"s","x-ptp-trace-id":"1",
            "mesh-consumer":"{\"ip\":\"1\"}","x-ptp-source-node-id":"LX9","x-ptp-target-node-id":"LX8","n":7}}"#[..];
        let body = Bytes::from_static(body);
        let mut context = CallContext::default();
        let call = Asked::by_urn(&body).unwrap().channel(Op::Pop, &mut context).unwrap();
        let timeout = Some(Duration::from_millis(50));
        let expected = Call { topic: Topic::new("t"), timeout, operation: Operation::Pop, reach: Reach::Addressed };
        assert_eq!(call, expected);
        assert_eq!((context.session, context.trace_id.as_deref()), (SessionId::new("s"), Some("1")));
        assert_eq!((context.source_node, context.target_node), (None, None), "these are for metadata to say");
    }

    #[test]
    fn the_metadata_wins_over_the_attachments() {
        let mut context = CallContext { session: SessionId::new("m"), has_session: true, ..CallContext::default() };
        let body = Bytes::from_static(br#"{"attachments":{"x-ptp-session-id":"a","x-ptp-version":"2"}}"#);
        let members = Asked::by_urn(&body).unwrap().members(&mut context).unwrap();
        assert!(members.contains_key("attachments"));
        assert_eq!((context.session, context.version.as_deref()), (SessionId::new("m"), Some("2")));
    }

    #[test]
    fn more_attachments_than_headers_can_hold_are_refused() {
        let attachments: Attachments = (0..100_000).map(|n| (format!("x-{n}"), "".into())).collect();
        assert!(complete(&mut CallContext::default(), &attachments).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            for asked in [Asked::by_urn(&bytes), Asked::by_body(&bytes)].into_iter().flatten() {
                let _ = asked.channel(Op::Push, &mut CallContext::default());
                let _ = asked.members(&mut CallContext::default());
            }
        }
    }
}
