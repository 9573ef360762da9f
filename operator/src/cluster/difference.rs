//! Whether an object in the cluster is already as we want it, so that nothing needs to be written.
//!
//! The API server and other managers add members of their own, so what we want must be *contained* in what is there. A
//! key under `data` that we wrote once and no longer want has to go; a key that somebody else added is theirs, and no apply
//! of ours could remove it: rewriting because of it would never end.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

/// Whether every member of `wanted` is there in `existing`.
#[must_use]
pub(crate) fn is_contained(wanted: &Value, existing: &Value) -> bool {
    match (wanted, existing) {
        (Value::Object(wanted), Value::Object(existing)) => wanted
            .iter()
            .all(|(key, want)| existing.get(key).map_or_else(|| is_empty(want), |have| is_contained(want, have))),
        // Lists of ours are keyed ones (owners, ports): others may add entries.
        (Value::Array(wanted), Value::Array(existing)) => {
            wanted.iter().all(|want| existing.iter().any(|have| is_contained(want, have)))
        }
        _ => wanted == existing,
    }
}

/// Whether `manager` once applied keys under `data` that are not wanted any more.
#[must_use]
pub(crate) fn has_stale_data(wanted: &Value, managed: &[ManagedFieldsEntry], manager: &str) -> bool {
    let wanted: BTreeSet<&str> = keys(wanted.get("data"));
    let of_manager = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
    };
    managed.iter().filter(of_manager).filter_map(|entry| entry.fields_v1.as_ref()).any(|fields| {
        let owned = keys(fields.0.get("f:data"));
        owned.iter().filter_map(|key| key.strip_prefix("f:")).any(|key| !wanted.contains(key))
    })
}

fn keys(object: Option<&Value>) -> BTreeSet<&str> {
    object.and_then(Value::as_object).map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// The API server leaves empty members out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
    use serde_json::json;

    use super::*;

    #[test]
    fn members_that_others_add_make_no_difference() {
        let wanted = json!({"metadata": {"labels": {"l": "1"}, "ownerReferences": [{"uid": "u"}]}, "data": {"k": "v"}});
        let existing = json!({
            "metadata": {"uid": "x", "labels": {"l": "1", "other": "2"}, "ownerReferences": [{"uid": "o"}, {"uid": "u"}]},
            "data": {"k": "v", "theirs": "x"}, "type": "Opaque",
        });
        assert!(is_contained(&wanted, &existing));
    }

    #[test]
    fn a_changed_and_a_missing_member_are_differences() {
        let wanted = json!({"data": {"k": "v"}, "ports": [{"port": 7304}]});
        for existing in [
            json!({"data": {"k": "w"}, "ports": [{"port": 7304}]}),
            json!({"data": {}, "ports": [{"port": 7304}]}),
            json!({"data": {"k": "v"}, "ports": [{"port": 7305}]}),
            json!({"data": {"k": "v"}}),
        ] {
            assert!(!is_contained(&wanted, &existing), "{existing}");
        }
    }

    #[test]
    fn a_key_is_stale_only_if_we_wrote_it() {
        let entry = |manager: &str| ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some("Apply".into()),
            fields_v1: Some(FieldsV1(json!({"f:data": {".": {}, "f:k": {}, "f:old": {}}}))),
            ..ManagedFieldsEntry::default()
        };
        let wanted = json!({"data": {"k": "v"}});
        assert!(has_stale_data(&wanted, &[entry("us")], "us"));
        assert!(!has_stale_data(&wanted, &[entry("them")], "us"));
        assert!(!has_stale_data(&json!({"data": {"k": "v", "old": "x"}}), &[entry("us")], "us"));
    }
}
