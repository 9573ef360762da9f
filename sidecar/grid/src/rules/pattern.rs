//! Patterns of names: `*` stands for any text, `{key}` for a value of the connection's context. A value is taken literally: one
//! with a character that means something in a pattern is refused, so that no claim widens what is allowed (G-12).

use crate::{Context, GridError};

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Any,
    Value(Box<str>),
}

/// What means something in a pattern, or nothing in a name.
const SPECIAL: [char; 3] = ['*', '{', '}'];

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A brace without its other half.
    pub fn compile(text: &str) -> Result<Self, GridError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(SPECIAL).unwrap_or(rest.len());
            let (plain, after) = rest.split_at(end);
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain.into()));
            }
            rest = match after.chars().next() {
                Some('*') => {
                    pieces.push(Piece::Any);
                    &after[1..]
                }
                Some('{') => {
                    let (key, rest) = after[1..]
                        .split_once('}')
                        .filter(|(key, _)| !key.is_empty() && !key.contains(SPECIAL))
                        .ok_or_else(|| {
                            GridError::invalid(format!("pattern {text}: a brace names a key and is closed"))
                        })?;
                    pieces.push(Piece::Value(key.into()));
                    rest
                }
                Some(_) => return Err(GridError::invalid(format!("pattern {text}: a brace is not open"))),
                None => "",
            };
        }
        Ok(Self(pieces))
    }

    /// Whether what it stands for begins with `text`, as whoever wrote it sees: neither `*` nor a value has any of it.
    #[must_use]
    pub fn begins_with(&self, text: &str) -> bool {
        matches!(self.0.first(), Some(Piece::Text(first)) if first.starts_with(text))
    }

    /// Whether a name is one of those that the pattern stands for, for a connection with that context.
    #[must_use]
    pub fn allows(&self, name: &str, context: &Context) -> bool {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Some(Part::Text(text.to_string())),
            Piece::Any => Some(Part::Any),
            Piece::Value(key) => {
                let value = context.text(key).filter(|value| !value.is_empty() && !value.contains(SPECIAL))?;
                Some(Part::Text(value))
            }
        });
        let Some(parts) = pieces.collect::<Option<Vec<_>>>() else { return false };
        matches(&parts, name)
    }
}

/// A piece with its value.
enum Part {
    Text(String),
    Any,
}

/// Whether all of `name` is what the parts say. Each `*` takes as little as it can: that finds a way wherever there is one.
fn matches(parts: &[Part], name: &str) -> bool {
    let (mut rest, mut is_free) = (name, false);
    for (n, part) in parts.iter().enumerate() {
        let Part::Text(text) = part else {
            is_free = true;
            continue;
        };
        let is_last = n + 1 == parts.len();
        let after = match (is_free, is_last) {
            (true, true) => return rest.ends_with(text.as_str()),
            (true, false) => rest.find(text.as_str()).map(|at| &rest[at + text.len()..]),
            (false, _) => rest.strip_prefix(text.as_str()),
        };
        let Some(after) = after else { return false };
        (rest, is_free) = (after, false);
    }
    is_free || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::Entries;

    fn context(json: &str) -> Context {
        let mut context = Context::default();
        context.merge(Entries::read(&RawValue::from_string(json.into()).unwrap()).unwrap(), 1000).unwrap();
        context
    }

    #[test]
    fn names_are_allowed_as_the_pattern_says_and_no_value_widens_it() {
        let known = context(
            r#"{"user_id":1001,"team":"red","star":"*","list":[1],"brace":"{user_id}","none":null,"empty":""}"#,
        );
        let table = [
            ("room:1", "room:1", true),
            ("room:1", "room:10", false),
            ("room:*", "room:7", true),
            ("room:*", "room:", true),
            ("room:*", "xroom:7", false),
            ("*@*", "ex:1@balance", true),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXcY", false),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("user:{user_id}", "user:1001", true),
            ("user:{user_id}", "user:10011", false),
            ("user:{user_id}", "user:{user_id}", false),
            ("{team}:{user_id}:*", "red:1001:x", true),
            ("user:{star}", "user:anything", false),
            ("user:{star}", "user:*", false),
            ("user:{list}", "user:[1]", false),
            ("user:{brace}", "user:1001", false),
            ("user:{none}", "user:null", false),
            ("user:{empty}", "user:", false),
            ("user:{unknown}", "user:", false),
        ];
        for (pattern, name, allowed) in table {
            assert_eq!(Pattern::compile(pattern).unwrap().allows(name, &known), allowed, "{pattern} {name}");
        }
        let mut long = Context::default();
        let value = RawValue::from_string(format!("\"{}\"", "x".repeat(2000))).unwrap();
        long.set(crate::Key::new("long").unwrap(), value, 10_000).unwrap();
        assert!(!Pattern::compile("{long}").unwrap().allows(&"x".repeat(2000), &long), "no name is that long");
        for broken in ["{", "}", "a}b", "{}", "{a", "{a*}", "{a{b}}"] {
            assert!(Pattern::compile(broken).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_of_stars_is_what_a_regex_would_be(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
            let compiled = Pattern::compile(&pattern).unwrap();
            prop_assert_eq!(compiled.allows(&name, &Context::default()), regex.is_match(&name));
        }
    }
}
