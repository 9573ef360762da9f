//! How much there is to write of an MPI's answer. A registry of thousands, or their routes with all their certificates, is written
//! beside the thread of its connection, as large bodies are read there (`aside.rs`).

use serde_json::Value;

use crate::front::aside::LIGHT;

/// About what a value takes beside the characters of its texts: as much in JSON, and as long to visit and to let go of.
const VALUE: usize = 16;

/// Whether an answer's text would be longer than [`LIGHT`], about. Looks no further than that.
pub(super) fn is_heavy(content: &Value) -> bool {
    let mut left = Some(LIGHT);
    let mut above = vec![content];
    while let (Some(most), Some(value)) = (left, above.pop()) {
        let weighs = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => {
                above.extend(values);
                0
            }
            Value::Object(members) => {
                above.extend(members.values());
                members.keys().map(String::len).sum()
            }
        };
        left = most.checked_sub(VALUE + weighs);
    }
    left.is_none()
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_texts_many_values_and_long_names_weigh() {
        for (content, expected) in [
            (json!(null), false),
            (json!({"code": "x"}), false),
            (json!("x".repeat(LIGHT)), true),
            (json!(["x".repeat(LIGHT / 2), {"a": "x".repeat(LIGHT / 2)}]), true),
            (json!(vec![0; LIGHT / VALUE - 1]), false),
            (json!(vec![0; LIGHT / VALUE]), true),
            (json!({"x".repeat(LIGHT): null}), true),
        ] {
            assert_eq!(is_heavy(&content), expected, "{}", content.to_string().len());
        }
    }
}
