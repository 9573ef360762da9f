//! Reads a shape from a structural OpenAPI schema. A keyword that `fit.rs` does not apply is an error, so that a bound
//! that is added to the types later cannot be overlooked here.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::{Bounds, Kind, Shape, Unique};

/// The keywords that this module reads, and those that say nothing about a single value.
const KNOWN: [&str; 19] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
];

impl Shape {
    /// Reads the schema at `path`.
    pub(crate) fn parse(schema: &Value, path: &str) -> Result<Self, String> {
        let schema = schema.as_object().ok_or_else(|| format!("{path}: no schema"))?;
        // Laws are applied by `validate.rs`, from the same tables that they were written from.
        let mut keywords = schema.keys().filter(|word| *word != "x-kubernetes-validations");
        if let Some(word) = keywords.find(|word| !KNOWN.contains(&word.as_str())) {
            return Err(format!("{path}: the keyword {word} is not applied to files"));
        }
        Ok(Self {
            kind: kind(schema, path)?,
            choices: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            default: schema.get("default").cloned(),
        })
    }
}

fn kind(schema: &Map<String, Value>, path: &str) -> Result<Kind, String> {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => text(schema, path),
        Some("integer") => Ok(Kind::Integer { value: bounds(schema, "minimum", "maximum") }),
        Some("boolean") => Ok(Kind::Flag),
        Some("array") => list(schema, path),
        Some("object") => object(schema, path),
        other => Err(format!("{path}: the type {other:?} is not applied to files")),
    }
}

fn text(schema: &Map<String, Value>, path: &str) -> Result<Kind, String> {
    let pattern = schema.get("pattern").and_then(Value::as_str).map(Regex::new).transpose();
    Ok(Kind::Text {
        length: bounds(schema, "minLength", "maxLength"),
        pattern: pattern.map_err(|e| format!("{path}: {e}"))?,
    })
}

fn list(schema: &Map<String, Value>, path: &str) -> Result<Kind, String> {
    let items = schema.get("items").ok_or_else(|| format!("{path}: a list of what"))?;
    let unique = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Unique::Items,
        Some("map") => Unique::Keys(strings(schema.get("x-kubernetes-list-map-keys"))),
        _ => Unique::No,
    };
    let items = Box::new(Shape::parse(items, &format!("{path}[]"))?);
    Ok(Kind::List { length: bounds(schema, "minItems", "maxItems"), items, unique })
}

fn object(schema: &Map<String, Value>, path: &str) -> Result<Kind, String> {
    if let Some(values) = schema.get("additionalProperties") {
        let values = Box::new(Shape::parse(values, &format!("{path}.*"))?);
        return Ok(Kind::Map { length: bounds(schema, "minProperties", "maxProperties"), values });
    }
    let Some(members) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(Kind::Foreign);
    };
    let members = members
        .iter()
        .map(|(name, schema)| Ok((name.clone(), Shape::parse(schema, &format!("{path}.{name}"))?)))
        .collect::<Result<BTreeMap<_, _>, String>>()?;
    Ok(Kind::Object { required: strings(schema.get("required")), members })
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Bounds stand in the CRD as JSON numbers with or without a fraction; all of ours are whole.
fn bounds(schema: &Map<String, Value>, min: &str, max: &str) -> Bounds {
    #[allow(clippy::cast_possible_truncation, reason = "bounds of ours are whole and far below 2^53")]
    let read = |word: &str| schema.get(word).and_then(|v| v.as_i64().or_else(|| v.as_f64().map(|f| f as i64)));
    Bounds { min: read(min), max: read(max) }
}
