//! Whether an object in the cluster is already as we want it, so that nothing needs to be written.
//!
//! The API server and other managers add members of their own, so what we want must be *contained* in what is there. What
//! we wrote once and no longer want has to go; what somebody else added beside it is theirs, and no apply of ours could
//! remove it: rewriting because of it would never end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

/// Lists that Kubernetes keeps by key, so that others may have entries of their own in them. Every other list is written
/// whole by whoever writes it: what a user adds there is taken back.
const SHARED: [&str; 9] = [
    "ownerReferences",
    "finalizers",
    "ports",
    "containers",
    "initContainers",
    "env",
    "volumeMounts",
    "volumes",
    "imagePullSecrets",
];

/// Maps that mean another thing with one more member.
const WHOLE: [&str; 2] = ["selector", "matchLabels"];

/// Whether every member of `wanted` is there in `existing`.
#[must_use]
pub(crate) fn is_contained(wanted: &Value, existing: &Value) -> bool {
    is_in("", wanted, existing, Lists::ByName)
}

/// How the lists inside a value are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// By their names: [`SHARED`] or whole.
    ByName,
    /// Inside a list that is written whole everything is.
    Whole,
}

fn is_in(name: &str, wanted: &Value, existing: &Value, lists: Lists) -> bool {
    match (wanted, existing) {
        (Value::Object(wanted), Value::Object(existing)) => {
            let member = |(key, want): (&String, &Value)| {
                existing.get(key).map_or_else(|| is_empty(want), |have| is_in(key, want, have, lists))
            };
            (!WHOLE.contains(&name) || wanted.len() == existing.len()) && wanted.iter().all(member)
        }
        (Value::Array(wanted), Value::Array(existing)) if lists == Lists::ByName && SHARED.contains(&name) => {
            wanted.iter().all(|want| existing.iter().any(|have| is_in("", want, have, lists)))
        }
        (Value::Array(wanted), Value::Array(existing)) => {
            let mut pairs = wanted.iter().zip(existing);
            wanted.len() == existing.len() && pairs.all(|(want, have)| is_in("", want, have, Lists::Whole))
        }
        _ => wanted == existing,
    }
}

/// Whether `manager` once applied something that is not wanted any more.
#[must_use]
pub(crate) fn has_stale_members(wanted: &Value, managed: &[ManagedFieldsEntry], manager: &str) -> bool {
    let of_manager = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
    };
    managed
        .iter()
        .filter(of_manager)
        .filter_map(|entry| entry.fields_v1.as_ref())
        .any(|owned| is_stale(&owned.0, wanted))
}

/// Walks what is owned: `f:` a member, `k:` an item by its keys, `v:` an item by its value, `.` the thing itself.
fn is_stale(owned: &Value, wanted: &Value) -> bool {
    let mut owned = owned.as_object().into_iter().flatten();
    owned.any(|(path, below)| match path.split_once(':') {
        Some(("f", member)) => wanted.get(member).is_none_or(|wanted| is_stale(below, wanted)),
        Some(("k", keys)) => item(wanted, keys).is_none_or(|wanted| is_stale(below, wanted)),
        Some(("v", value)) => {
            let value = serde_json::from_str::<Value>(value).ok();
            !wanted.as_array().into_iter().flatten().any(|item| Some(item) == value.as_ref())
        }
        _ => false,
    })
}

/// The item of a list that has these keys.
fn item<'w>(wanted: &'w Value, keys: &str) -> Option<&'w Value> {
    let keys: Value = serde_json::from_str(keys).ok()?;
    wanted.as_array()?.iter().find(|item| is_contained(&keys, item))
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

    /// A rule or a selector that a user widens by hand would let in what the operator keeps out.
    #[test]
    fn one_more_rule_port_or_label_to_select_by_is_a_difference() {
        let wanted = json!({"selector": {"n": "a"}, "ingress": [{"ports": [{"port": 7304}]}], "args": ["start"]});
        assert!(is_contained(&wanted, &wanted));
        for existing in [
            json!({"selector": {"n": "a", "m": "b"}, "ingress": [{"ports": [{"port": 7304}]}], "args": ["start"]}),
            json!({"selector": {"n": "a"}, "ingress": [{"ports": [{"port": 7304}]}, {}], "args": ["start"]}),
            json!({"selector": {"n": "a"}, "ingress": [{"ports": [{"port": 7304}, {"port": 1}]}], "args": ["start"]}),
            json!({"selector": {"n": "a"}, "ingress": [{"ports": [{"port": 7304}]}], "args": ["start", "--more"]}),
        ] {
            assert!(!is_contained(&wanted, &existing), "{existing}");
        }
    }

    fn entry(manager: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some("Apply".into()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn a_key_is_stale_only_if_we_wrote_it() {
        let owned = json!({"f:data": {".": {}, "f:k": {}, "f:old": {}}});
        let wanted = json!({"data": {"k": "v"}});
        assert!(has_stale_members(&wanted, &[entry("us", owned.clone())], "us"));
        assert!(!has_stale_members(&wanted, &[entry("them", owned.clone())], "us"));
        assert!(!has_stale_members(&json!({"data": {"k": "v", "old": "x"}}), &[entry("us", owned)], "us"));
    }

    #[test]
    fn an_item_that_we_wrote_and_no_longer_want_is_stale() {
        let owned = json!({"f:spec": {"f:ports": {
            "k:{\"port\":7304,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}},
            "k:{\"port\":6790,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
            "f:metadata": {"f:finalizers": {"v:\"a\"": {}}}});
        let (one, other) =
            (json!({"port": 7304, "protocol": "TCP", "name": "ptp"}), json!({"port": 6790, "protocol": "TCP"}));
        let object =
            |ports: Value, finalizer: &str| json!({"spec": {"ports": ports}, "metadata": {"finalizers": [finalizer]}});
        for (wanted, is_stale) in [
            (object(json!([one, other]), "a"), false),
            (object(json!([one]), "a"), true),
            (object(json!([one, other]), "b"), true),
            (object(json!([{"port": 7304, "protocol": "TCP"}, other]), "a"), true),
        ] {
            assert_eq!(has_stale_members(&wanted, &[entry("us", owned.clone())], "us"), is_stale, "{wanted}");
        }
    }
}
