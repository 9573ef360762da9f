//! Control-plane JSON: an object with text and number members, tolerant where people's pasted samples need it.

use serde_json::{Map, Value};

use super::ControlError;

/// A JSON object whose members are asked for by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Document(pub(super) Map<String, Value>);

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Result<Document, ControlError> {
    // serde's text names a place and a kind, never the document's own words beyond a few characters; a key is longer.
    let reason = |e: serde_json::Error| format!("line {}, column {}", e.line(), e.column());
    mesh_core::json::forgiving(body).map(Document).map_err(|e| ControlError::NotJson { reason: reason(e) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_texts() {
        let read = parse(br#"{"a": 5, "b": "6", "c": "x", "d": 1.5, "e": null, "f": ""}"#).unwrap();
        assert_eq!((read.integer("a"), read.integer("b")), (Ok(Some(5)), Ok(Some(6))));
        assert_eq!((read.integer("e"), read.integer("f"), read.integer("g")), (Ok(None), Ok(None), Ok(None)));
        assert!(read.integer("c").is_err() && read.integer("d").is_err());
    }
}
