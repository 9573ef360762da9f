//! The context of a connection: what backends keep with it (G-11, G-18). Values are kept as the JSON text that came, so that
//! numbers keep their digits.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use crate::{GridError, names::MOST_OF_NAME};

/// Keys that begin so are not the user's: they stay when a context is replaced.
const RESERVED: &str = "__";
/// Bytes of a value in a template: a name's, each written as `\u0000`, in quotes.
const MOST_OF_VALUE: usize = 6 * MOST_OF_NAME + 2;
/// Bytes of a key.
const MOST_OF_KEY: usize = 255;

/// A key of a context that users may set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// Entries that are to be set.
#[derive(Clone, Debug, Default)]
pub struct Entries(BTreeMap<Key, Box<RawValue>>);

/// The context of one connection. A copy of it is another look at the same, so that it can be read outside of its client's lock;
/// most clients have none.
#[derive(Clone, Debug, Default)]
pub struct Context {
    entries: Option<Arc<All>>,
    bytes: usize,
}

type All = BTreeMap<Box<str>, Box<RawValue>>;

/// The context would be larger than its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a context is at most {0} bytes")]
pub struct TooLarge(pub usize);

impl Key {
    /// Checks a key.
    ///
    /// # Errors
    /// When it is empty, too long, or reserved.
    pub fn new(text: &str) -> Result<Self, GridError> {
        if text.is_empty() || text.len() > MOST_OF_KEY {
            return Err(GridError::invalid(format!("a key has 1 to {MOST_OF_KEY} bytes")));
        }
        if text.starts_with(RESERVED) {
            return Err(GridError::invalid("keys that begin with __ are reserved"));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key.as_str(), value)))
    }
}

impl Entries {
    /// Reads a JSON object.
    pub(crate) fn read(map: &RawValue) -> Result<Self, GridError> {
        let map: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(map.get()).map_err(|_| GridError::invalid("a context is a map"))?;
        map.into_iter().map(|(key, value)| Ok((Key::new(&key)?, value))).collect::<Result<_, _>>().map(Self)
    }

    /// One entry more.
    #[must_use]
    pub fn with(mut self, key: Key, value: Box<RawValue>) -> Self {
        self.0.insert(key, value);
        self
    }

    /// Bytes of keys and values: what a context has of them at least.
    fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.0.len() + value.get().len()).sum()
    }
}

impl Context {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.entries.as_ref()?.get(key).map(|value| &**value)
    }

    /// The text that a key stands for in a template: a string's own, any other scalar's JSON (G-12). None for what is no scalar, and
    /// for what is longer than any name: a client may ask for many channels at once, and each is held against each pattern.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let json = Some(self.get(key)?.get()).filter(|json| json.len() <= MOST_OF_VALUE)?;
        match json.as_bytes().first()? {
            b'"' => serde_json::from_str(json).ok(),
            b'{' | b'[' | b'n' => None,
            _ => Some(json.to_owned()),
        }
    }

    /// Sets one key; nothing changes where there is no room.
    ///
    /// # Errors
    /// When the context would be above `limit` bytes.
    pub fn set(&mut self, key: Key, value: Box<RawValue>, limit: usize) -> Result<(), TooLarge> {
        self.merge(Entries::default().with(key, value), limit)
    }

    /// Sets some keys: all, or none where there is no room for all.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn merge(&mut self, entries: Entries, limit: usize) -> Result<(), TooLarge> {
        *self = self.clone().with(entries, limit)?;
        Ok(())
    }

    /// The user's part, to be set elsewhere.
    #[must_use]
    pub fn into_entries(self) -> Entries {
        let users = self.all().filter(|(key, _)| !key.starts_with(RESERVED));
        Entries(users.map(|(key, value)| (Key(key.clone()), value.clone())).collect())
    }

    /// Replaces the user's part; reserved keys stay.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn replace(&mut self, entries: Entries, limit: usize) -> Result<(), TooLarge> {
        let mut next = Self::default();
        let kept = self.all().filter(|(key, _)| key.starts_with(RESERVED));
        kept.for_each(|(key, value)| next.put(key.clone(), value.clone()));
        *self = next.with(entries, limit)?;
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&Box<str>, &Box<RawValue>)> {
        self.entries.iter().flat_map(|entries| entries.iter())
    }

    fn put(&mut self, key: Box<str>, value: Box<RawValue>) {
        self.bytes += key.len() + value.get().len();
        let length = key.len();
        let entries = Arc::make_mut(self.entries.get_or_insert_default());
        if let Some(before) = entries.insert(key, value) {
            self.bytes -= length + before.get().len();
        }
    }

    /// What does not fit is not put together first: a request may have a hundred thousand keys, and clients wait meanwhile.
    fn with(mut self, entries: Entries, limit: usize) -> Result<Self, TooLarge> {
        if entries.bytes() > limit {
            return Err(TooLarge(limit));
        }
        entries.0.into_iter().for_each(|(key, value)| self.put(key.0, value));
        if self.bytes > limit { Err(TooLarge(limit)) } else { Ok(self) }
    }
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.all() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn entries(json: &str) -> Result<Entries, GridError> {
        Entries::read(&raw(json))
    }

    fn shown(context: &Context) -> String {
        serde_json::to_string(context).unwrap()
    }

    #[test]
    fn values_keep_their_digits_and_replacing_keeps_what_is_reserved() {
        let mut context = Context::default();
        context.put("__node".into(), raw("7"));
        context.merge(entries(r#"{"user_id":10000000000000000001,"name":"a"}"#).unwrap(), 1000).unwrap();
        context.set(Key::new("name").unwrap(), raw("\"b\""), 1000).unwrap();
        assert_eq!(shown(&context), r#"{"__node":7,"name":"b","user_id":10000000000000000001}"#);
        context.replace(entries(r#"{"room":1}"#).unwrap(), 1000).unwrap();
        assert_eq!(shown(&context), r#"{"__node":7,"room":1}"#);
        assert_eq!((context.text("room").as_deref(), context.text("name")), (Some("1"), None));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut context = Context::default();
        context.merge(entries(r#"{"a":"123"}"#).unwrap(), 6).unwrap();
        assert_eq!(context.merge(entries(r#"{"b":1,"a":"1234"}"#).unwrap(), 6), Err(TooLarge(6)));
        assert_eq!(context.replace(entries(r#"{"b":"12345"}"#).unwrap(), 6), Err(TooLarge(6)));
        assert_eq!(shown(&context), r#"{"a":"123"}"#);
    }

    /// When each key was looked for among all before it, this took minutes, under the lock that publishers wait for.
    #[test]
    fn a_million_keys_are_refused_at_once_and_as_many_as_fit_are_put_in_quickly() {
        let map = |keys: u32| {
            let all: Vec<String> = (0..keys).map(|n| format!(r#""{n}":1"#)).collect();
            entries(&format!("{{{}}}", all.join(","))).unwrap()
        };
        let mut context = Context::default();
        assert_eq!(context.merge(map(1_000_000), 16 << 10), Err(TooLarge(16 << 10)));
        assert_eq!(context.replace(map(1_000_000), 16 << 10), Err(TooLarge(16 << 10)));
        context.replace(map(500_000), 16 << 20).unwrap();
        let before = context.clone();
        context.set(Key::new("7").unwrap(), raw("22"), 16 << 20).unwrap();
        assert_eq!((context.bytes, before.text("7").as_deref()), (before.bytes + 1, Some("1")));
    }

    #[test]
    fn reserved_and_absurd_keys_are_refused() {
        for json in [r#"{"__x":1}"#, r#"{"":1}"#, "[]", "1", &format!(r#"{{"{}":1}}"#, "k".repeat(256))] {
            assert!(entries(json).is_err(), "{json}");
        }
    }
}
