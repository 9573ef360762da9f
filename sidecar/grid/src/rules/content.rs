//! What a message says, for rules that look inside. Its JSON is read when the first of them asks, and once.

use std::cell::OnceCell;

use serde_json::Value;

/// The content of a message.
#[derive(Debug, Default)]
pub struct Content<'a> {
    text: Option<&'a str>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Content<'a> {
    /// That of a control frame, or of bytes.
    #[must_use]
    pub const fn none() -> Self {
        Self { text: None, json: OnceCell::new() }
    }

    /// That of a text.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Self { text: Some(text), json: OnceCell::new() }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        self.text
    }

    /// What stands at a JSON pointer.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_str(self.text?).ok()).as_ref()?.pointer(pointer)
    }

    /// A scalar at a JSON pointer, as text: a string's own, any other's JSON.
    #[must_use]
    pub fn scalar_at(&self, pointer: &str) -> Option<String> {
        match self.at(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Object(_) | Value::Array(_) | Value::Null => None,
            other => Some(other.to_string()),
        }
    }
}
