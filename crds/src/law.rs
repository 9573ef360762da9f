//! One rule, said twice side by side: in CEL for the API server, in Rust for files. A table of both kinds of verdict
//! is run against either (`e2e/tests/fixtures/crds`), so that they cannot drift apart.

use schemars::Schema;
use serde_json::{Map, Value};

use crate::Violation;

/// A rule about values of `T` that the schema's own words cannot say.
pub(crate) struct Law<T: 'static> {
    /// The field that the rule is about, as in `.nodeId`; empty: the whole value.
    pub(crate) field: &'static str,
    /// The rule in CEL; `self` is the value.
    pub(crate) cel: &'static str,
    /// The rule in words: what people read when it is broken.
    pub(crate) message: &'static str,
    /// The rule in Rust.
    pub(crate) holds: fn(&T) -> bool,
}

/// Writes the laws into the schema of their type; for `#[schemars(transform = ...)]`.
pub(crate) fn write<T>(laws: &'static [Law<T>]) -> impl FnMut(&mut Schema) {
    write_with(laws, &[])
}

/// A rule about a change from one value of `T` to another.
pub(crate) struct Amendment<T: 'static> {
    /// The field that the rule is about.
    pub(crate) field: &'static str,
    /// The rule in CEL; `self` is the new value, `oldSelf` the old one.
    pub(crate) cel: &'static str,
    /// The rule in words.
    pub(crate) message: &'static str,
    /// The rule in Rust, for the new value and the old one.
    pub(crate) holds: fn(&T, &T) -> bool,
}

/// [`write`], and what a change may not do.
pub(crate) fn write_with<T>(laws: &'static [Law<T>], changes: &'static [Amendment<T>]) -> impl FnMut(&mut Schema) {
    move |schema| {
        let laws = laws.iter().map(|law| written(law.field, law.cel, law.message));
        let changes = changes.iter().map(|change| written(change.field, change.cel, change.message));
        schema.insert("x-kubernetes-validations".into(), Value::Array(laws.chain(changes).collect()));
    }
}

/// A rule as `x-kubernetes-validations` has it.
fn written(field: &str, cel: &str, message: &str) -> Value {
    let mut rule = Map::new();
    rule.insert("rule".into(), cel.into());
    rule.insert("message".into(), message.into());
    if !field.is_empty() {
        rule.insert("fieldPath".into(), field.into());
    }
    Value::Object(rule)
}

/// Says which of the laws the value at `path` breaks.
pub(crate) fn judge<T>(laws: &[Law<T>], value: &T, path: &str, broken: &mut Vec<Violation>) {
    for law in laws.iter().filter(|law| !(law.holds)(value)) {
        broken.push(Violation { field: format!("{path}{}", law.field), rule: law.message.into() });
    }
}

/// Says whether the change from `old` to `new` at `path` is against the rule.
pub(crate) fn judge_change<T>(rule: &Amendment<T>, new: &T, old: &T, path: &str, broken: &mut Vec<Violation>) {
    if !(rule.holds)(new, old) {
        broken.push(Violation { field: format!("{path}{}", rule.field), rule: rule.message.into() });
    }
}
