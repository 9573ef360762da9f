//! How clients of several generations write JSON values: `null` for an unset member, numbers as texts, and so on.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A text; `null` is the empty one, a number or a boolean its decimal form.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text_of(Value::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("a text is expected"))
}

/// A whole number, or a text of digits (seed 000 types `timestamp` a string, the samples send a number); `null` and the
/// empty text are 0.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let wrong = || D::Error::custom("a whole number is expected, or a text of digits");
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(0),
        Value::Bool(flag) => Ok(flag.into()),
        Value::Number(number) => number.as_i64().ok_or_else(wrong),
        Value::String(text) if text.trim().is_empty() => Ok(0),
        Value::String(text) => text.trim().parse().map_err(|_| wrong()),
        Value::Array(_) | Value::Object(_) => Err(wrong()),
    }
}

/// A map of texts; `null` is the empty one.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    map.into_iter()
        .map(|(key, value)| Ok((key, text_of(value).ok_or_else(|| D::Error::custom("a text is expected"))?)))
        .collect()
}

/// A list; `null` is the empty one.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn text_of(value: Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
