//! The message of `mesh.send` and `mesh.publish`: `d` and `t` (G-9).

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{GridError, wire::Opcode};

/// A message for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `Text` or `Binary`.
    pub opcode: Opcode,
    /// Its bytes; UTF-8 where it is text.
    pub payload: Bytes,
}

/// Padding may be missing.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

impl Message {
    pub(super) fn read(data: Option<&RawValue>, kind: Option<&RawValue>) -> Result<Self, GridError> {
        let data = data.ok_or_else(|| GridError::invalid("d is missing: what is to be sent"))?;
        let kind = kind.map_or(Some("text"), |kind| serde_json::from_str(kind.get()).ok());
        match kind {
            Some("text") => Ok(Self { opcode: Opcode::Text, payload: text(data)?.into() }),
            Some("binary") => Ok(Self { opcode: Opcode::Binary, payload: binary(data)?.into() }),
            _ => Err(GridError::invalid("t is text or binary")),
        }
    }
}

fn text(data: &RawValue) -> Result<Vec<u8>, GridError> {
    match data.get().as_bytes().first() {
        Some(b'"') => string(data).map(String::into_bytes),
        Some(b'{' | b'[' | b'-' | b'0'..=b'9') => Ok(compact(data.get())),
        _ => Err(GridError::invalid("d is a string, an object, an array or a number")),
    }
}

fn string(data: &RawValue) -> Result<String, GridError> {
    // A lone surrogate is no text.
    serde_json::from_str(data.get()).map_err(|e| GridError::invalid(format!("d is no string: {e}")))
}

fn binary(data: &RawValue) -> Result<Vec<u8>, GridError> {
    let text = string(data)?;
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    engine.decode(text).map_err(|e| GridError::invalid(format!("d is no base64, which t: binary needs: {e}")))
}

/// JSON without the blanks between its parts; numbers keep their digits, strings their bytes.
fn compact(json: &str) -> Vec<u8> {
    let (mut is_string, mut is_escaped) = (false, false);
    let keep = |byte: &u8| {
        let kept = is_string || !byte.is_ascii_whitespace();
        match byte {
            b'"' if !is_escaped => is_string = !is_string,
            _ => {}
        }
        is_escaped = is_string && *byte == b'\\' && !is_escaped;
        kept
    };
    json.bytes().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str, kind: Option<&str>) -> Result<Message, GridError> {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        Message::read(Some(&raw(data)), kind.map(raw).as_deref())
    }

    #[test]
    fn text_is_a_string_or_compact_json_with_its_digits() {
        let table = [
            (r#""data""#, "data"),
            (r#""\u4f60\n""#, "你\n"),
            ("12345678901234567890.000", "12345678901234567890.000"),
            ("-0", "-0"),
            (r#"{ "a" : [ 1.0, "b \" c\\" ] , "d":null}"#, r#"{"a":[1.0,"b \" c\\"],"d":null}"#),
            ("[]", "[]"),
        ];
        for (data, expected) in table {
            let message = read(data, None).unwrap();
            assert_eq!((message.opcode, &*message.payload), (Opcode::Text, expected.as_bytes()), "{data}");
        }
    }

    #[test]
    fn binary_is_base64_of_both_alphabets_padded_or_not() {
        for data in [r#""+/8=""#, r#""+/8""#, r#""-_8=""#, r#""-_8""#] {
            let message = read(data, Some(r#""binary""#)).unwrap();
            assert_eq!((message.opcode, &*message.payload), (Opcode::Binary, &[0xfb, 0xff][..]), "{data}");
        }
        assert_eq!(read(r#""""#, Some(r#""binary""#)).unwrap().payload, "");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let table = [
            ("true", None),
            ("null", None),
            (r#""\ud800""#, None),
            (r#""x""#, Some(r#""blob""#)),
            (r#""x""#, Some("1")),
            (r#""%%%""#, Some(r#""binary""#)),
            (r#""-/8=""#, Some(r#""binary""#)),
            (r#"{"a":1}"#, Some(r#""binary""#)),
            ("7", Some(r#""binary""#)),
        ];
        for (data, kind) in table {
            assert!(matches!(read(data, kind), Err(GridError::Invalid(_))), "{data} {kind:?}");
        }
        assert!(Message::read(None, None).is_err());
    }
}
