//! Holds a value against its shape and says what does not fit, with the path as Kubernetes writes it.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::{Bounds, Kind, Shape, Unique};
use crate::{Violation, violation::broken};

/// A length as a number that bounds are compared with.
const fn countable(length: usize) -> i64 {
    if length > i64::MAX as usize { i64::MAX } else { length as i64 }
}

impl Bounds {
    /// What is wrong with `value`, as `... at least 1 items`.
    fn broken_by(self, value: i64, unit: &str) -> Option<String> {
        match self {
            Self { min: Some(min), .. } if value < min => Some(format!("must be at least {min}{unit}")),
            Self { max: Some(max), .. } if value > max => Some(format!("must be at most {max}{unit}")),
            Self { .. } => None,
        }
    }
}

impl Shape {
    /// Adds what does not fit about `value` at `path` to `found`.
    pub(crate) fn fit(&self, value: &Value, path: &str, found: &mut Vec<Violation>) {
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let choices: Vec<String> = self.choices.iter().map(|c| c.to_string().replace('"', "")).collect();
            return found.push(broken(path, format!("must be one of {}", choices.join(", "))));
        }
        match (&self.kind, value) {
            (Kind::Text { length, pattern }, Value::String(text)) => {
                found.extend(text_breaks(*length, pattern.as_ref(), text).map(|rule| broken(path, rule)));
            }
            (Kind::Integer { value: bounds }, Value::Number(number)) => {
                found.extend(integer_breaks(*bounds, number).map(|rule| broken(path, rule)));
            }
            // What is longer than its bound is not looked into: it is refused anyway, and its length is the caller's choice.
            (Kind::List { length, items, unique }, Value::Array(list)) => {
                match length.broken_by(countable(list.len()), " items long") {
                    Some(rule) => found.push(broken(path, rule)),
                    None => fit_list(items, unique, list, path, found),
                }
            }
            (Kind::Map { length, values }, Value::Object(map)) => {
                match length.broken_by(countable(map.len()), " entries long") {
                    Some(rule) => found.push(broken(path, rule)),
                    None => map.iter().for_each(|(key, value)| values.fit(value, &format!("{path}[{key}]"), found)),
                }
            }
            (Kind::Object { required, members }, Value::Object(map)) => {
                fit_object(required, members, map, path, found);
            }
            (Kind::Flag, Value::Bool(_)) | (Kind::Foreign, Value::Object(_)) => {}
            (kind, _) => found.push(broken(path, format!("must be {}", kind.name()))),
        }
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Text { .. } => "a string",
            Self::Integer { .. } => "an integer",
            Self::Flag => "true or false",
            Self::List { .. } => "a list",
            Self::Map { .. } | Self::Object { .. } | Self::Foreign => "an object",
        }
    }
}

fn text_breaks(length: Bounds, pattern: Option<&regex::Regex>, text: &str) -> Option<String> {
    let unlike = || {
        let pattern = pattern.filter(|pattern| !pattern.is_match(text))?;
        Some(format!("must match {pattern}"))
    };
    length.broken_by(countable(text.chars().count()), " characters long").or_else(unlike)
}

fn integer_breaks(bounds: Bounds, number: &serde_json::Number) -> Option<String> {
    match number.as_i64() {
        Some(value) => bounds.broken_by(value, ""),
        None if number.is_u64() => bounds.max.map(|max| format!("must be at most {max}")),
        None => Some("must be an integer".to_owned()),
    }
}

fn fit_list(items: &Shape, unique: &Unique, list: &[Value], path: &str, found: &mut Vec<Violation>) {
    for (n, item) in list.iter().enumerate() {
        items.fit(item, &format!("{path}[{n}]"), found);
    }
    let identity = |item: &Value| match unique {
        Unique::No => None,
        Unique::Items => Some(item.to_string()),
        Unique::Keys(keys) => Some(keys.iter().map(|key| format!("{:?}", items.given(item, key))).collect()),
    };
    let mut seen = HashSet::new();
    for (n, item) in list.iter().enumerate() {
        if identity(item).is_some_and(|identity| !seen.insert(identity)) {
            found.push(broken(&format!("{path}[{n}]"), "must not stand there twice".to_owned()));
        }
    }
}

impl Shape {
    /// What a member of `item` is, or the default that the API server puts there.
    fn given<'v>(&'v self, item: &'v Value, key: &str) -> Option<&'v Value> {
        item.get(key).or_else(|| self.member(key)?.default.as_ref())
    }
}

fn fit_object(
    required: &[String],
    members: &BTreeMap<String, Shape>,
    map: &Map<String, Value>,
    path: &str,
    found: &mut Vec<Violation>,
) {
    for name in required.iter().filter(|name| !map.contains_key(*name)) {
        found.push(broken(&format!("{path}.{name}"), "is required".to_owned()));
    }
    for (name, value) in map {
        let path = format!("{path}.{name}");
        match members.get(name) {
            Some(shape) => shape.fit(value, &path, found),
            None => found.push(broken(&path, "is unknown".to_owned())),
        }
    }
}
