//! What must hold of the CRDs whatever they say: committed as generated, bounded, described, readable at a glance.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail the test")]

use crds::definitions;
use serde_json::Value;

fn trees() -> Vec<Value> {
    let definitions = definitions::definitions().expect("definitions");
    definitions.iter().map(|crd| serde_json::to_value(crd).expect("JSON")).collect()
}

#[test]
fn the_committed_yaml_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/crds.yaml");
    let committed = std::fs::read_to_string(path).expect("crds/crds.yaml is there");
    let generated = definitions::yaml().expect("YAML");
    assert!(committed == generated, "run `cargo run -p crds > crds/crds.yaml`");
}

#[test]
fn the_committed_yaml_reads_back_as_the_definitions() {
    let documents = crds::yaml::documents(&definitions::yaml().expect("YAML")).expect("readable");
    let read: Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        documents.into_iter().map(|d| serde_json::from_value(d).expect("a definition")).collect();
    assert_eq!(read, definitions::definitions().expect("definitions"));
}

/// Calls `see` for every schema below `schema`, with its path.
fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(member, &format!("{path}.{name}"), see);
    }
    for (word, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(inner) = schema.get(word) {
            walk(inner, &format!("{path}{mark}"), see);
        }
    }
}

fn faults(look: impl Fn(&str, &Value) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for tree in trees() {
        let kind = tree.pointer("/spec/names/kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let schema = tree.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("a schema");
        walk(schema, &kind, &mut |path, schema| found.extend(look(path, schema)));
    }
    found
}

#[test]
fn every_string_list_map_and_number_is_bounded() {
    let found = faults(|path, schema| {
        let lacks = |word: &str| schema.get(word).is_none().then(|| format!("{path} lacks {word}"));
        match schema.get("type").and_then(Value::as_str) {
            Some("string") if schema.get("enum").is_none() => lacks("maxLength"),
            Some("array") => lacks("maxItems"),
            Some("object") if schema.get("additionalProperties").is_some() => lacks("maxProperties"),
            // The generation that the API server counts is the one number that has no bound.
            Some("integer") if !path.ends_with("bservedGeneration") => lacks("maximum").or_else(|| lacks("minimum")),
            _ => None,
        }
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_property_is_described_in_a_sentence() {
    let found = faults(|path, schema| {
        let exempt = path.ends_with("[]") || path.ends_with(".*") || path.contains(".metadata");
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        (!exempt && !text.ends_with('.')).then(|| format!("{path}: {text:?}"))
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_schema_uses_what_the_api_server_warns_of_or_lets_unknown_members_in() {
    let found = faults(|path, schema| {
        let format = schema.get("format");
        let loose = ["nullable", "anyOf", "oneOf", "x-kubernetes-preserve-unknown-fields"];
        let word = loose.into_iter().find(|word| schema.get(*word).is_some());
        (format.is_some() || word.is_some()).then(|| format!("{path}: {format:?} {word:?}"))
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn conditions_are_a_list_map_by_type_on_every_kind() {
    for tree in trees() {
        let conditions = tree
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions")
            .expect("conditions");
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
    }
}

#[test]
fn kubectl_get_shows_readiness_and_age_of_every_kind() {
    let shown: Vec<(String, Vec<String>)> = trees()
        .iter()
        .map(|tree| {
            let columns = tree.pointer("/spec/versions/0/additionalPrinterColumns").and_then(Value::as_array);
            let first = columns.into_iter().flatten().filter(|column| column.get("priority").is_none());
            let names = first.map(|column| column["name"].as_str().unwrap_or_default().to_owned()).collect();
            (tree["spec"]["names"]["shortNames"][0].as_str().unwrap_or_default().to_owned(), names)
        })
        .collect();
    let of = |short: &str, names: &[&str]| (short.to_owned(), names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(
        shown,
        [
            of(
                "mn",
                &[
                    "Node",
                    "Institution",
                    "Ready",
                    "Reason",
                    "Gateway",
                    "Sidecars",
                    "Current",
                    "InForce",
                    "Renewal",
                    "Age"
                ]
            ),
            of("mr", &["Node", "Partner", "Address", "Ready", "Reachable", "Reason", "Age"]),
            of("sreg", &["Node", "RegisteredAs", "Address", "Service", "Ready", "Reason", "Age"]),
        ]
    );
}
