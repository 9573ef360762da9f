//! The accept/reject tables of `e2e/tests/fixtures/crds`, held against the Rust validation and, by kube's evaluator,
//! against the CEL of the CRDs. The API-server tier runs the same tables; README.md beside them says how.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail the test")]

#[path = "../../e2e/tests/fixtures/crds/table.rs"]
mod table;

use std::path::PathBuf;

use crds::{MeshNode, MeshRoute, ServiceRegistration, Violation, definitions, read, validate, yaml};
use kube::core::cel::Validator;
use serde::Serialize;
use serde_json::Value;
use table::{Case, Table, Verdict};

/// What a case is called that brings no name.
const NAME: &str = "case";

/// What a case comes to: the resource as it would be stored, or what is wrong with it.
type Outcome = Result<Value, Vec<Violation>>;

fn outcome(kind: &str, document: Value) -> Outcome {
    fn stored<K: read::Kind + Serialize>(document: Value) -> Outcome {
        Ok(serde_json::to_value(read::resource::<K>(document)?).expect("a resource is JSON"))
    }
    match kind {
        "MeshNode" => stored::<MeshNode>(document),
        "MeshRoute" => stored::<MeshRoute>(document),
        "ServiceRegistration" => stored::<ServiceRegistration>(document),
        other => panic!("no kind {other}"),
    }
}

/// The outcome of a whole case: creation, or the change of what exists.
fn verdict(kind: &str, case: &Case) -> Outcome {
    let new = outcome(kind, case.document(kind, NAME))?;
    if let Some(old) = case.before(kind, NAME) {
        let old = outcome(kind, old).expect("what exists is acceptable");
        if kind == "MeshNode" {
            let spec = |value: &Value| serde_json::from_value(value["spec"].clone()).expect("a spec");
            validate::node_change(&spec(&new), &spec(&old))?;
        }
    }
    Ok(new)
}

fn tables() -> Vec<Table> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../e2e/tests/fixtures/crds");
    ["node.yaml", "route.yaml", "registration.yaml"]
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(folder.join(file)).expect("the table is there");
            let mut documents = yaml::documents(&text).expect("the table is YAML");
            serde_json::from_value(documents.remove(0)).unwrap_or_else(|e| panic!("{file}: {e}"))
        })
        .collect()
}

#[test]
fn every_case_of_the_tables_gets_its_verdict_from_the_rust_validation() {
    let mut wrong = Vec::new();
    for table in tables() {
        for case in &table.cases {
            let said = verdict(&table.kind, case);
            let text = match &said {
                Ok(_) => String::from("accepted"),
                Err(found) => found.iter().map(|v| format!("{v}")).collect::<Vec<_>>().join("; "),
            };
            let right = match case.verdict {
                Verdict::Accept => said.is_ok(),
                Verdict::Reject => said.is_err_and(|found| found.iter().any(|v| v.field.starts_with(&case.field))),
            };
            if !right {
                wrong.push(format!(
                    "{} {}: wanted {:?} {}, got {text}",
                    table.kind, case.name, case.verdict, case.field
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_are_long_and_name_each_case_once() {
    let tables = tables();
    let names: std::collections::BTreeSet<_> =
        tables.iter().flat_map(|t| t.cases.iter().map(|c| (t.kind.clone(), c.name.clone()))).collect();
    assert_eq!(names.len(), tables.iter().map(|t| t.cases.len()).sum::<usize>());
    assert!(names.len() >= 60, "{}", names.len());
    assert!(tables.iter().flat_map(|t| &t.cases).all(|c| (c.verdict == Verdict::Reject) != c.field.is_empty()));
}

/// The schema of a kind and its CEL rules, as JSON.
fn schema(kind: &str) -> Value {
    let all = definitions::definitions().expect("definitions");
    let crd = all.iter().find(|crd| crd.spec.names.kind == kind).expect("the kind is ours");
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    serde_json::to_value(schema.expect("a schema")).expect("a schema is JSON")
}

#[test]
fn the_cel_of_the_crds_says_what_the_rust_laws_say() {
    let mut compared = 0;
    for table in tables() {
        let schema = schema(&table.kind);
        let mut laws = Vec::new();
        collect(&schema, &mut laws);
        for case in &table.cases {
            // CEL sees what fits the schema and can be read; laws alone are left to judge.
            let Some(typed) = filled(&table.kind, case.document(&table.kind, NAME)) else { continue };
            let old = case.before(&table.kind, NAME).and_then(|old| filled(&table.kind, old));
            let cel = Validator::new().validate(&schema, &typed, old.as_ref());
            let law = verdict(&table.kind, case);
            let shape_only = law.as_ref().is_err_and(|found| found.iter().all(|v| !laws.contains(&v.rule)));
            if shape_only {
                continue;
            }
            assert_eq!(cel.is_ok(), law.is_ok(), "{} {}: CEL {cel:?}, Rust {law:?}", table.kind, case.name);
            if let (Err(_), Err(found)) = (&cel, &law) {
                let said = format!("{cel:?}");
                // Where CEL cannot compute (a day that does not exist), its evaluator says so instead of our words.
                let same = |v: &Violation| said.contains(&v.rule) || said.contains("rule evaluation error");
                assert!(found.iter().all(same), "{}: {said} against {found:?}", case.name);
                compared += 1;
            }
        }
    }
    assert!(compared >= 25, "only {compared} refusals of CEL were compared");
}

/// The document with defaults filled in, if its types are right.
fn filled(kind: &str, document: Value) -> Option<Value> {
    fn fill<K: read::Kind + Serialize>(document: Value) -> Option<Value> {
        serde_json::to_value(read::lenient::<K>(document).ok()?.0).ok()
    }
    match kind {
        "MeshNode" => fill::<MeshNode>(document),
        "MeshRoute" => fill::<MeshRoute>(document),
        _ => fill::<ServiceRegistration>(document),
    }
}

#[test]
fn every_law_is_broken_by_a_case_of_the_tables() {
    let mut laws = Vec::new();
    for kind in ["MeshNode", "MeshRoute", "ServiceRegistration"] {
        collect(&schema(kind), &mut laws);
    }
    let broken: Vec<String> = tables()
        .iter()
        .flat_map(|t| t.cases.iter().filter_map(|c| verdict(&t.kind, c).err()).collect::<Vec<_>>())
        .flatten()
        .map(|violation| violation.rule)
        .collect();
    let untried: Vec<_> = laws.iter().filter(|law| !broken.contains(law)).collect();
    assert!(laws.len() >= 40, "only {} laws", laws.len());
    assert!(untried.is_empty(), "no case breaks: {untried:#?}");
}

/// The messages of all rules in a schema.
fn collect(schema: &Value, laws: &mut Vec<String>) {
    if let Some(rules) = schema.get("x-kubernetes-validations").and_then(Value::as_array) {
        laws.extend(rules.iter().filter_map(|rule| Some(rule.get("message")?.as_str()?.to_owned())));
    }
    match schema {
        Value::Object(members) => members.values().for_each(|member| collect(member, laws)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, laws)),
        _ => {}
    }
}
