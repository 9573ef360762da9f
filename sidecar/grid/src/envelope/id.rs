//! The id of a request: any JSON scalar, echoed with its type and digits (G-1).

use serde_json::value::RawValue;

use crate::GridError;

/// What a request is answered by. Kept as the text that came: a 64-bit number never passes through a float.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// Of a request that names none, and of one that cannot be read.
    #[must_use]
    pub fn null() -> Self {
        Self("null".into())
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// Of the members `i` and `id`; `None` where neither is there.
    pub(super) fn of(i: Option<&RawValue>, id: Option<&RawValue>) -> Result<Option<Self>, GridError> {
        let one = match (i, id) {
            (Some(i), Some(id)) if i.get() != id.get() => {
                return Err(GridError::invalid("i and id differ: give one of them"));
            }
            (one, other) => one.or(other),
        };
        match one.map(RawValue::get) {
            Some(text) if text.starts_with(['{', '[']) => Err(GridError::invalid("i is a scalar")),
            // Longer than any number, and than any name that is meant to be one.
            Some(text) if text.len() > 1024 => Err(GridError::invalid("i is at most 1024 bytes")),
            text => Ok(text.map(|text| Self(text.into()))),
        }
    }
}
