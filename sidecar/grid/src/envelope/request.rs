//! A request as it arrives: the envelope of a WebSocket message, or the body of an HTTP call, which *is* the parameters.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Call, Method, RequestId};
use crate::GridError;

/// A request, its id, and what it asks for.
#[derive(Debug)]
pub struct Request {
    /// What the answer names; `None` where the request named none.
    pub id: Option<RequestId>,
    /// What is asked for, or why it cannot be read.
    pub call: Result<Call, GridError>,
}

/// The envelope. Members that are not known are ignored.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    m: Option<&'a RawValue>,
    #[serde(borrow, default)]
    p: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    i: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// The ids within an HTTP body.
#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    i: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// A member that is there, be it null: that, too, is an id (G-1).
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(deserializer).map(Some)
}

impl Request {
    /// Reads a WebSocket message.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let envelope: Envelope<'_> = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            Err(e) => return Self::unreadable(&e),
        };
        let id = match RequestId::of(envelope.i, envelope.id) {
            Ok(id) => id,
            Err(e) => return Self { id: None, call: Err(e) },
        };
        let method = envelope.m.and_then(|m| serde_json::from_str::<String>(m.get()).ok());
        let call = match method.as_deref().map(Method::parse) {
            Some(Ok(method)) => Call::read(method, envelope.p),
            Some(Err(e)) => Err(e),
            None => Err(GridError::invalid("m is missing: the method, a string")),
        };
        Self { id, call }
    }

    /// Reads the body of an HTTP call of `method`.
    #[must_use]
    pub fn read_body(method: Method, body: &[u8]) -> Self {
        let (ids, parameters) =
            match (serde_json::from_slice::<Ids<'_>>(body), serde_json::from_slice::<&RawValue>(body)) {
                (Ok(ids), Ok(parameters)) => (ids, parameters),
                (Err(e), _) | (_, Err(e)) => return Self::unreadable(&e),
            };
        match RequestId::of(ids.i, ids.id) {
            Ok(id) => Self { id, call: Call::read(method, Some(parameters)) },
            Err(e) => Self { id: None, call: Err(e) },
        }
    }

    fn unreadable(e: &serde_json::Error) -> Self {
        Self { id: None, call: Err(GridError::invalid(format!("the request is no JSON object: {e}"))) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> Option<u16> {
        Request::read(text).call.err().map(|e| e.code())
    }

    #[test]
    fn ids_are_echoed_to_the_digit() {
        for id in ["12345", "18446744073709551616", "1.50", "-0", "1e400", "\"a\\u0062\"", "true", "\"\""] {
            let read = Request::read(&format!(r#"{{"m":"server.ping","i":{id}}}"#));
            assert!(read.call.is_ok());
            assert_eq!(read.id.unwrap().json(), id);
            let read = Request::read(&format!(r#"{{"m":"server.ping","id": {id} ,"i":{id}}}"#));
            assert_eq!(read.id.unwrap().json(), id);
        }
        // Both are answered by null.
        assert_eq!(Request::read(r#"{"m":"server.ping"}"#).id, None);
        assert_eq!(Request::read(r#"{"m":"server.ping","i":null,"id":null}"#).id, Some(RequestId::null()));
        for ids in [r#""i":{}"#, r#""i":[1]"#, r#""i":1,"id":2"#, r#""i":null,"id":5"#, r#""i":5,"id":null"#] {
            let refused = format!(r#"{{"m":"server.ping",{ids}}}"#);
            assert_eq!(code(&refused), Some(101), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_101_and_what_is_not_known_100() {
        for text in [
            "",
            "{",
            "[]",
            "1",
            "null",
            "\"ping\"",
            "{}",
            r#"{"m":1}"#,
            r#"{"m":null}"#,
            r#"{"m":"mesh.send"}"#,
            r#"{"p":{}}"#,
        ] {
            assert_eq!(code(text), Some(101), "{text}");
        }
        for text in [r#"{"m":""}"#, r#"{"m":"mesh.Send"}"#, r#"{"m":"mesh.sendx","p":{}}"#] {
            assert_eq!(code(text), Some(100), "{text}");
        }
    }

    #[test]
    fn a_body_is_the_parameters_and_may_carry_an_id() {
        let read = Request::read_body(Method::Send, br#"{"c":"7","d":"x","i":1.0}"#);
        assert!(read.call.is_ok());
        assert_eq!(read.id.unwrap().json(), "1.0");
        for body in [&b""[..], b"[1]", b"x", b"{\"c\":\"7\"}", b"\xff"] {
            assert_eq!(Request::read_body(Method::Send, body).call.unwrap_err().code(), 101, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"\{("(m|p|i|id|c|d|t)":("[a-z.]{0,9}"|-?[0-9.e]{1,25}|\[("a",?)*\]|null|\{"(t|c)":1\}),?){0,5}\}?"#) {
            let _ = Request::read(&text);
            let _ = Request::read_body(Method::Publish, text.as_bytes());
        }
    }
}
