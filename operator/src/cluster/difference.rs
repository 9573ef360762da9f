//! Whether an object in the cluster is already as we want it, so that nothing needs to be written.
//!
//! The API server adds members of its own (defaults, times, other managers' fields), so what we want must be *contained* in
//! what is there. Under `data` it must be all that is there: a key that we no longer write has to go.

use serde_json::Value;

/// Members in which nothing of others may stand.
const EXACT: [&str; 2] = ["data", "selector"];

/// Whether `wanted` is already there in `existing`.
#[must_use]
pub(crate) fn is_there(wanted: &Value, existing: &Value) -> bool {
    match (wanted, existing) {
        (Value::Object(wanted), Value::Object(existing)) => wanted.iter().all(|(key, want)| {
            let Some(have) = existing.get(key) else { return is_empty(want) };
            if EXACT.contains(&key.as_str()) { want == have } else { is_there(want, have) }
        }),
        (Value::Array(wanted), Value::Array(existing)) => {
            wanted.len() == existing.len() && wanted.iter().zip(existing).all(|(want, have)| is_there(want, have))
        }
        _ => wanted == existing,
    }
}

/// The API server leaves empty members out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_that_the_server_adds_make_no_difference() {
        let wanted = json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"k": "v"}});
        let existing = json!({
            "metadata": {"name": "a", "uid": "u", "labels": {"l": "1", "other": "2"}},
            "data": {"k": "v"}, "type": "Opaque",
        });
        assert!(is_there(&wanted, &existing));
    }

    #[test]
    fn a_changed_a_missing_and_a_stale_key_are_differences() {
        let wanted = json!({"data": {"k": "v"}});
        for data in [json!({"k": "w"}), json!({}), json!({"k": "v", "old": "x"})] {
            assert!(!is_there(&wanted, &json!({"data": data})), "{data}");
        }
    }

    #[test]
    fn defaults_within_a_list_make_no_difference_but_its_length_does() {
        let wanted = json!({"ports": [{"port": 7304, "name": "ptp"}]});
        assert!(is_there(&wanted, &json!({"ports": [{"port": 7304, "name": "ptp", "protocol": "TCP"}]})));
        assert!(!is_there(&wanted, &json!({"ports": []})));
    }
}
