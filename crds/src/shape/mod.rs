//! The schema of a kind, read back from the CRD itself, to hold files against what the API server holds objects against.
//!
//! The CRD is the only source of bounds, patterns and required members: nothing of it is said a second time in Rust.
//! `parse.rs` reads it, `fit.rs` applies it. What a schema cannot say stands in laws (`law.rs`).

mod fit;
mod parse;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

/// What a value must be like.
#[derive(Debug)]
pub(crate) struct Shape {
    kind: Kind,
    /// The values that are allowed; empty: all.
    choices: Vec<Value>,
    /// What stands there when nothing is given.
    default: Option<Value>,
}

/// What kind of value it is, with the bounds of the kind.
#[derive(Debug)]
enum Kind {
    Text {
        length: Bounds,
        pattern: Option<Regex>,
    },
    Integer {
        value: Bounds,
    },
    Flag,
    List {
        length: Bounds,
        items: Box<Shape>,
        unique: Unique,
    },
    Map {
        length: Bounds,
        values: Box<Shape>,
    },
    Object {
        required: Vec<String>,
        members: BTreeMap<String, Shape>,
    },
    /// An object that is not ours to judge: `metadata`.
    Foreign,
}

/// What may not stand twice in a list.
#[derive(Debug)]
enum Unique {
    /// Anything may.
    No,
    /// An item.
    Items,
    /// The members by which items are told apart.
    Keys(Vec<String>),
}

/// A lower and an upper bound, both inclusive.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    min: Option<i64>,
    max: Option<i64>,
}

impl Shape {
    /// The shape of a member, by name.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Object { members, .. } => members.get(name),
            Kind::Text { .. }
            | Kind::Integer { .. }
            | Kind::Flag
            | Kind::List { .. }
            | Kind::Map { .. }
            | Kind::Foreign => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Shape;

    fn broken(schema: &Value, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        Shape::parse(schema, "spec").unwrap().fit(value, "spec", &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_keyword_that_would_not_be_applied_is_an_error() {
        for schema in
            [json!({"type": "string", "not": {}}), json!({"type": "number"}), json!({"anyOf": []}), json!(true)]
        {
            assert!(Shape::parse(&schema, "spec").is_err(), "{schema}");
        }
        let inner = json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "multipleOf": 2}}}});
        assert_eq!(
            Shape::parse(&inner, "spec").unwrap_err(),
            "spec.a[]: the keyword multipleOf is not applied to files"
        );
    }

    #[test]
    fn bounds_are_inclusive_and_texts_are_counted_in_characters() {
        let text = json!({"type": "string", "minLength": 1, "maxLength": 2});
        assert_eq!(broken(&text, &json!("节点")), [""; 0]);
        assert_eq!(broken(&text, &json!("")), ["spec: must be at least 1 characters long"]);
        assert_eq!(broken(&text, &json!("abc")), ["spec: must be at most 2 characters long"]);
        let number = json!({"type": "integer", "minimum": 1, "maximum": 3});
        assert_eq!(broken(&number, &json!(3)), [""; 0]);
        assert_eq!(broken(&number, &json!(0)), ["spec: must be at least 1"]);
        assert_eq!(broken(&number, &json!(u64::MAX)), ["spec: must be at most 3"]);
        assert_eq!(broken(&number, &json!(1.5)), ["spec: must be an integer"]);
    }

    #[test]
    fn items_are_told_apart_by_their_keys_with_defaults_filled_in() {
        let item = json!({"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 1}}});
        let list = json!({"type": "array", "items": item, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name", "port"]});
        let value = json!([{"name": "a"}, {"name": "a", "port": 2}, {"name": "a", "port": 1}]);
        assert_eq!(broken(&list, &value), ["spec[2]: must not stand there twice"]);
    }
}
