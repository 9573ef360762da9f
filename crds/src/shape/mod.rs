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
