//! Bodies in JSON (PTP section 3.3): payloads as base64 or as arrays of byte numbers, numbers also as numeric strings,
//! unknown members ignored. The payload is decoded straight out of the text that arrived.

use std::{borrow::Cow, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

use crate::Metadata;

/// The members that a body of `chan/*` may have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Members<'a> {
    #[serde(borrow)]
    pub(crate) topic: Option<Cow<'a, str>>,
    pub(crate) payload: Option<Payload>,
    pub(crate) timeout: Option<Milliseconds>,
    pub(crate) metadata: Option<Metadata>,
    /// Marks FATE OSX.
    #[serde(rename = "msgCode", deserialize_with = "is_there")]
    has_msg_code: bool,
    /// Marks FATE OSX.
    #[serde(rename = "msgFlag", deserialize_with = "is_there")]
    has_msg_flag: bool,
}

/// The members that an answer of another node may have; OSX writes `msg`, and we write both `payload` and `content`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outbound<'a> {
    #[serde(borrow)]
    pub(crate) code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) msg: Option<Cow<'a, str>>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) payload: Option<Payload>,
    pub(crate) content: Option<Payload>,
}

/// A payload: a base64 string of the standard alphabet, padded, or an array of byte numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

/// A number of milliseconds, or a numeric string; 0 or less means that none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Milliseconds(pub(crate) Option<Duration>);

impl Members<'_> {
    /// Whether only FATE OSX sends such a body (PTP section 5.4, rule 4).
    pub(crate) fn is_osx(&self) -> bool {
        self.has_msg_code || self.has_msg_flag
    }
}

/// A member is there whatever it says: some write `null` for what they leave open.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Payload {
    /// Reads base64.
    pub(crate) fn read(text: &str) -> Result<Self, base64::DecodeError> {
        STANDARD.decode(text).map(|bytes| Self(bytes.into()))
    }
}

impl Milliseconds {
    /// Reads decimal digits, with a sign perhaps.
    pub(crate) fn read(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Self::of)
    }

    /// `number` milliseconds.
    pub(crate) fn of(number: i64) -> Self {
        Self(u64::try_from(number).ok().filter(|n| *n > 0).map(Duration::from_millis))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload as padded base64 or as an array of bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Payload, E> {
        Payload::read(text).map_err(|e| E::custom(format_args!("payload is no padded base64: {e}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Payload, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(Payload(bytes.into()))
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MillisecondsVisitor)
    }
}

struct MillisecondsVisitor;

impl Visitor<'_> for MillisecondsVisitor {
    type Value = Milliseconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timeout as a number of milliseconds")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Milliseconds, E> {
        Ok(Milliseconds::of(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Milliseconds, E> {
        Ok(Milliseconds::of(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Milliseconds, E> {
        // Some JSON writers know floats only; a cast saturates.
        Ok(Milliseconds::of(number as i64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Milliseconds, E> {
        Milliseconds::read(text).ok_or_else(|| E::custom("timeout is no number of milliseconds"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(text: &str) -> Result<Members<'_>, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn payloads_are_base64_or_bytes_and_null_is_absent() {
        let payload = |text: &str| members(text).unwrap().payload.map(|p| p.0);
        assert_eq!(payload(r#"{"payload":"aGVsbG8="}"#), Some(Bytes::from_static(b"hello")));
        assert_eq!(payload(r#"{"payload":"a\u0047VsbG8="}"#), Some(Bytes::from_static(b"hello")));
        assert_eq!(payload(r#"{"payload":[104,105,0,255]}"#), Some(Bytes::from_static(b"hi\0\xff")));
        assert_eq!(payload(r#"{"payload":""}"#), Some(Bytes::new()));
        assert_eq!(payload(r#"{"payload":null}"#), None);
        assert_eq!(payload("{}"), None);
    }

    #[test]
    fn base64_is_taken_strictly() {
        for text in ["aGVsbG8", "aGVsbG8==", "aGVs bG8=", "_-__", "aGVsbG9=", "%%%"] {
            assert!(members(&format!(r#"{{"payload":"{text}"}}"#)).is_err(), "{text}");
        }
        assert!(members(r#"{"payload":[256]}"#).is_err() && members(r#"{"payload":7}"#).is_err());
    }

    #[test]
    fn timeouts_are_numbers_or_numeric_strings() {
        let timeout = |text: &str| members(&format!(r#"{{"timeout":{text}}}"#)).map(|m| m.timeout.and_then(|t| t.0));
        for (text, expected) in
            [("700", Some(700)), ("\"700\"", Some(700)), ("7e2", Some(700)), ("0", None), ("-1", None)]
        {
            assert_eq!(timeout(text).unwrap(), expected.map(Duration::from_millis), "{text}");
        }
        assert!(timeout("\"soon\"").is_err() && timeout("[]").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = serde_json::from_slice::<Members<'_>>(&bytes);
            let _ = serde_json::from_slice::<Outbound<'_>>(&bytes);
        }

        #[test]
        fn near_json_does_not_make_the_readers_panic(text in r#"\{("(topic|payload|timeout|metadata|msgCode)":("[^"]{0,8}"|-?[0-9.e]{1,25}|\[[0-9,]{0,9}\]|null|\{\}),?){0,5}\}?"#) {
            let _ = members(&text);
        }
    }
}
