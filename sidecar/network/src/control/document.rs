//! Control-plane JSON: an object with text and number members, tolerant where people's pasted samples need it.

use serde_json::{Map, Value};

use super::ControlError;

/// A JSON object whose members are asked for by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Document(pub(super) Map<String, Value>);

/// Reads a body. A trailing comma, as in the manual's sample for net/ack, is forgiven (PTP section 3.3).
pub(super) fn parse(body: &[u8]) -> Result<Document, ControlError> {
    let strict = match serde_json::from_slice(body) {
        Ok(map) => return Ok(Document(map)),
        Err(e) => e,
    };
    let forgiven = std::str::from_utf8(body).ok().map(without_trailing_commas);
    let read = forgiven.and_then(|text| serde_json::from_str(&text).ok());
    // serde's text names a place and a kind, never the document's own words beyond a few characters; a key is longer.
    let reason = format!("line {}, column {}", strict.line(), strict.column());
    read.map(Document).ok_or(ControlError::NotJson { reason })
}

impl Document {
    /// The text of a member; absent, null and empty are the same (PTP section 11.3).
    pub(super) fn text(&self, member: &'static str) -> Result<Option<&str>, ControlError> {
        match self.0.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(ControlError::Kind { member, expected: "a text" }),
        }
    }

    /// A text that must be there.
    pub(super) fn required(&self, member: &'static str) -> Result<&str, ControlError> {
        self.text(member)?.ok_or(ControlError::Missing { member })
    }

    /// A member with two names, of which both may be given if they agree.
    pub(super) fn alias(&self, one: &'static str, other: &'static str) -> Result<Option<&str>, ControlError> {
        match (self.text(one)?, self.text(other)?) {
            (Some(a), Some(b)) if a != b => Err(ControlError::Contradiction { one, other }),
            (a, b) => Ok(a.or(b)),
        }
    }

    /// An integer, given as a number or as its digits.
    pub(super) fn integer(&self, member: &'static str) -> Result<Option<i64>, ControlError> {
        let wrong = ControlError::Kind { member, expected: "an integer" };
        match self.0.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or(wrong),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| wrong),
            Some(_) => Err(wrong),
        }
    }
}

/// The text without commas that only white space separates from a closing bracket.
fn without_trailing_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut comma = None;
    let (mut in_text, mut escaped) = (false, false);
    for c in text.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if matches!(c, '}' | ']') {
            if let Some(at) = comma.take() {
                out.remove(at);
            }
        } else if c == ',' {
            comma = Some(out.len());
        } else if !c.is_whitespace() {
            comma = None;
            in_text = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_comma_is_forgiven() {
        let read = parse(b"{\"node_id\": \"a,}\\\"\", \"l\": [1, 2 , ],\n}").unwrap();
        assert_eq!(read.text("node_id").unwrap(), Some("a,}\""));
        for wrong in ["", "[]", "{,}x", "{\"a\":1,,}", "\"text\"", "{\"a\":", "null"] {
            assert!(matches!(parse(wrong.as_bytes()), Err(ControlError::NotJson { .. })), "{wrong}");
        }
    }

    #[test]
    fn numbers_may_be_texts() {
        let read = parse(br#"{"a": 5, "b": "6", "c": "x", "d": 1.5, "e": null, "f": ""}"#).unwrap();
        assert_eq!((read.integer("a"), read.integer("b")), (Ok(Some(5)), Ok(Some(6))));
        assert_eq!((read.integer("e"), read.integer("f"), read.integer("g")), (Ok(None), Ok(None), Ok(None)));
        assert!(read.integer("c").is_err() && read.integer("d").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_no_trailing_comma_stays(text in "[\\[\\]{}:, \"\\\\a1]{0,40}") {
            let forgiven = without_trailing_commas(&text);
            proptest::prop_assert_eq!(text.replace(',', ""), forgiven.replace(',', ""));
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                proptest::prop_assert_eq!(Some(value), serde_json::from_str(&forgiven).ok());
            }
        }
    }
}
