//! Whatever a file holds, reading it ends in a resource or in named violations: no panic, and no value that schema and
//! laws take but the types cannot hold.

#![allow(clippy::expect_used, reason = "a helper of a test may fail the test")]

use crds::{MeshNode, MeshRoute, ServiceRegistration, definitions, read};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A value that has some of the schema's members, each with a value that is likely near to what may stand there.
fn like(schema: &Value) -> BoxedStrategy<Value> {
    let right = match schema["type"].as_str() {
        Some("object") if schema.get("properties").is_some() => object(schema),
        Some("object") => {
            let values = like(&schema["additionalProperties"]);
            prop::collection::btree_map("[a-z]{0,3}", values, 0..3).prop_map(|map| json!(map)).boxed()
        }
        Some("array") => prop::collection::vec(like(&schema["items"]), 0..3).prop_map(Value::Array).boxed(),
        Some("integer") => prop_oneof![
            Just(whole(&schema["minimum"])),
            Just(whole(&schema["maximum"])),
            any::<i64>().prop_map(Value::from),
            (0..100_000_i64).prop_map(Value::from)
        ]
        .boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        _ => text(schema),
    };
    prop_oneof![20 => right, 1 => wrong()].boxed()
}

/// A bound as it is written in a file.
fn whole(bound: &Value) -> Value {
    #[allow(clippy::cast_possible_truncation, reason = "bounds of ours are whole and far below 2^53")]
    bound.as_f64().map_or(Value::Null, |bound| Value::from(bound as i64))
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    let members = schema["properties"].as_object().cloned().unwrap_or_default();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let one = |(name, schema): (String, Value)| {
        let share = if required.contains(&json!(name)) { 0.97 } else { 0.2 };
        prop::option::weighted(share, like(&schema)).prop_map(move |value| value.map(|value| (name.clone(), value)))
    };
    let all: Vec<_> = members.into_iter().map(one).collect();
    all.prop_map(|found| Value::Object(found.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let listed = schema["enum"].as_array().cloned().unwrap_or_default();
    if !listed.is_empty() {
        return prop::sample::select(listed).boxed();
    }
    let pattern = schema["pattern"].as_str().map(|p| p.trim_start_matches('^').trim_end_matches('$').to_owned());
    let near = pattern.and_then(|p| prop::string::string_regex(&p).ok()).map(Strategy::boxed);
    prop_oneof![8 => near.unwrap_or_else(|| "[a-z]{1,8}".boxed()), 1 => ".{0,12}".boxed()].prop_map(Value::from).boxed()
}

/// What stands nowhere.
fn wrong() -> BoxedStrategy<Value> {
    prop_oneof![Just(json!(null)), Just(json!(1.5)), Just(json!([[]])), Just(json!({"x": {}})), Just(json!("\u{0}"))]
        .boxed()
}

fn document(kind: &'static str) -> impl Strategy<Value = Value> {
    let all = definitions::definitions().expect("definitions");
    let crd = all.into_iter().find(|crd| crd.spec.names.kind == kind).expect("the kind is ours");
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).expect("JSON");
    like(&schema["openAPIV3Schema"]["properties"]["spec"]).prop_map(move |spec| {
        json!({"apiVersion": "interconn.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    })
}

/// Whether the types took what schema and laws took, and gave it back as something that is taken again.
fn sound<K: read::Kind + serde::Serialize>(document: Value) -> Result<bool, TestCaseError> {
    match read::resource::<K>(document) {
        Ok(resource) => {
            let again = serde_json::to_value(&resource).expect("a resource is JSON");
            prop_assert!(read::resource::<K>(again).is_ok(), "what was written is not read again");
            Ok(true)
        }
        Err(found) => {
            prop_assert!(found.iter().all(|violation| !violation.field.is_empty()), "{:?}", found);
            Ok(false)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_node_is_read_or_refused_by_name(document in document("MeshNode")) {
        sound::<MeshNode>(document)?;
    }

    #[test]
    fn any_route_is_read_or_refused_by_name(document in document("MeshRoute")) {
        sound::<MeshRoute>(document)?;
    }

    #[test]
    fn any_registration_is_read_or_refused_by_name(document in document("ServiceRegistration")) {
        sound::<ServiceRegistration>(document)?;
    }
}
