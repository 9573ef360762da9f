//! The published schemas say what the reader reads. Their patterns are held against a directory with a validator of others in
//! `e2e/directory`.

use serde_json::{Map, Value, json};

use super::Stage;
use crate::{
    front::schema::SCHEMA,
    lenient::Leniency,
    message::{Message, ask},
};

/// The messages of the seed; those behind them are ours.
const OF_THE_SEED: usize = 9;

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Something that fits a part of the schemas.
fn sample(part: &Value, all: &Value) -> Value {
    if let Some(name) = part["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return match name {
            "csid" => json!("yunqi"),
            "dataAddress" => json!("yunqi.1F"),
            "endpoint" => json!("a.example:1"),
            _ => sample(&all["$defs"][name], all),
        };
    }
    match part["type"].as_str() {
        Some("object") => {
            let members = part["properties"].as_object().unwrap().iter();
            members.map(|(name, part)| (name.clone(), sample(part, all))).collect::<Map<_, _>>().into()
        }
        Some("array") => json!([sample(&part["items"], all)]),
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        Some("string") => json!("text"),
        _ => json!({}),
    }
}

#[tokio::test]
async fn the_schemas_are_there_for_everybody() {
    let got = Stage::new().get_unknown("/schema").await;
    assert_eq!((got.status, got.headers["content-type"].to_str().unwrap()), (200, "application/schema+json"));
    assert_eq!(got.json(), schema());
    assert_eq!(Stage::new().post("/schema", "{}").await.codes(), (405, 7300));
}

#[test]
fn a_schema_has_the_members_that_are_read_and_requires_those_that_are_required() {
    let all = schema();
    for message in &Message::ALL[..OF_THE_SEED] {
        let named = message.operation();
        assert!(all["$defs"][format!("{named}Answer")]["oneOf"].is_array(), "{named}");
        let part = &all["$defs"][named]["properties"]["body"];
        let whole = sample(part, &all);
        let (_, used) = ask(*message, &whole).unwrap_or_else(|e| panic!("{named}: {e}: {whole}"));
        assert!(used.is_empty(), "{named}: {used:?}");
        for name in part["properties"].as_object().unwrap().keys() {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(name);
            let is_required = part["required"].as_array().unwrap().contains(&json!(name));
            assert_eq!(ask(*message, &without).is_err(), is_required, "{named}: {name}");
        }
        let mut more = whole;
        more["more"] = json!(1);
        assert!(ask(*message, &more).unwrap().1.contains(&Leniency::UnknownKeys), "{named}");
    }
}
