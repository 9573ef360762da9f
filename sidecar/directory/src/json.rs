//! JSON as the directory reads it, and as it is signed (RFC 8785).
//!
//! Two readers that disagree about a document are two directories: so a key that comes twice is refused, and a number is what a
//! double can hold, as every implementation of RFC 8785 has it.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep documents may be: parameters of 16 levels (leniency 14) within a body, a list and an object, and some to spare.
pub(crate) const DEEPEST: u8 = 24;

/// Values of the largest message that is taken: some 430 MiB of them. The longest snapshot has 200 000 items, each with 30 of them as
/// they are counted here.
pub(crate) const MOST_VALUES: usize = 6_000_000;

/// What an object takes before its first member, in values: its map begins with places for some.
const OBJECT: usize = 4;

/// What a list takes with its first item, in values: it begins with so many places.
const LIST: usize = 4;

/// The largest whole number that all readers agree about: 2^53 - 1.
pub const LARGEST_WHOLE: u64 = (1 << 53) - 1;

/// Reads a document.
///
/// # Errors
/// What is no JSON, has a key twice in one object, is deeper than 24 levels, or has a number that no double holds.
pub fn read(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    // What was kept once is read again, however much it is.
    read_within(bytes, &Room::new(usize::MAX))
}

/// The same as long as there is room for it: a list of zeros takes forty times its bytes when it is read.
///
/// # Errors
/// As [`read`]; and where there is no room, as [`Room::is_short`] says then.
pub(crate) fn read_within(bytes: &[u8], room: &Room) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Reader { left: DEEPEST, room }.deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// How many values may still be read.
#[derive(Debug)]
pub(crate) struct Room(Cell<Option<usize>>);

impl Room {
    pub(crate) const fn new(values: usize) -> Self {
        Self(Cell::new(Some(values)))
    }

    /// Whether more came than there was room for.
    pub(crate) const fn is_short(&self) -> bool {
        self.0.get().is_none()
    }

    fn take<E: serde::de::Error>(&self, values: usize) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(values)));
        if self.is_short() { Err(E::custom("more values than are taken")) } else { Ok(()) }
    }
}

/// The form of a value that is hashed and signed.
///
/// # Errors
/// None for a value that [`read`] gave or that has no number beyond a double; said all the same, as the library does.
pub fn canonical(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    if plain(value, &mut bytes)? { Ok(bytes) } else { serde_json_canonicalizer::to_vec(value) }
}

/// Writes a value whose form is never in doubt, and a tenth of the time is enough: keys of ASCII in their order, and whole numbers
/// that all readers hold. Answers whether it is such a value; else what was written is of no use.
fn plain(value: &Value, out: &mut Vec<u8>) -> Result<bool, serde_json::Error> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => serde_json::to_writer(out, value)?,
        Value::Number(number) => {
            if number.as_i64().is_none_or(|whole| whole.unsigned_abs() > LARGEST_WHOLE) {
                return Ok(false);
            }
            serde_json::to_writer(out, value)?;
        }
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                out.extend((n > 0).then_some(b','));
                if !plain(item, out)? {
                    return Ok(false);
                }
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut before = None;
            out.push(b'{');
            for (key, member) in members {
                if !key.is_ascii() || before.is_some_and(|before| before >= key) {
                    return Ok(false);
                }
                out.extend(before.is_some().then_some(b','));
                before = Some(key);
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                if !plain(member, out)? {
                    return Ok(false);
                }
            }
            out.push(b'}');
        }
    }
    Ok(true)
}

/// How deep a value is: 0 for what is neither list nor object.
#[must_use]
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Reads one value with so many levels left below it.
#[derive(Clone, Copy)]
struct Reader<'r> {
    left: u8,
    room: &'r Room,
}

impl Reader<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        left.map(|left| Self { left, ..self }).ok_or_else(|| E::custom(format!("deeper than {DEEPEST} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A whole number that not all readers hold becomes the double that they take it for.
#[expect(clippy::cast_precision_loss, reason = "that is what is meant")]
fn whole(number: i128) -> Value {
    let fits = i64::try_from(number).ok().filter(|whole| whole.unsigned_abs() <= LARGEST_WHOLE);
    fits.map_or_else(|| Number::from_f64(number as f64).map_or(Value::Null, Value::Number), Value::from)
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(whole(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // 4.0 and 4 are signed alike, so they are alike: else a replay would not see what changed.
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 53 bits")]
        if value.fract() == 0.0 && value.abs() <= LARGEST_WHOLE as f64 {
            return Ok(Value::from(value as i64));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that no double holds"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            self.room.take(if list.is_empty() { LIST } else { 1 })?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            // Itself, and its key beside it.
            self.room.take(if object.is_empty() { OBJECT + 2 } else { 2 })?;
            let value = members.next_value_seed(inside)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} comes twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed(text: &str) -> String {
        String::from_utf8(canonical(&read(text.as_bytes()).unwrap()).unwrap()).unwrap()
    }

    /// RFC 8785, sections 3.2.2 and 3.2.3.
    #[test]
    fn the_examples_of_the_rfc_are_written_so() {
        let literals = r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        assert_eq!(
            signed(literals),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
        // Keys are sorted by UTF-16 units: an emoji before a letter of the private use area's other side.
        let keys = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
            "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let sorted: Vec<String> =
            signed(keys).split("\",\"").map(|member| member.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(sorted.len(), 7);
        assert!(sorted[0].contains("\\r") && sorted[1].starts_with('1') && sorted[5].starts_with('😀'), "{sorted:?}");
    }

    #[test]
    fn numbers_are_those_of_a_double() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("9007199254740991", "9007199254740991"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551615", "18446744073709552000"),
            ("-9223372036854775808", "-9223372036854776000"),
            ("1e21", "1e+21"),
            ("100000000000000000000", "100000000000000000000"),
        ] {
            assert_eq!(signed(text), expected, "{text}");
        }
        assert!(read(b"1e400").is_err());
    }

    /// A snapshot with 4.0 in the place of 4 changes nothing, for the directory and for who replays its log.
    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for (one, other) in
            [("4.0", "4"), ("-0", "0"), ("-0.0", "0"), ("1e2", "100"), ("9007199254740993", "9007199254740992")]
        {
            assert_eq!(read(one.as_bytes()).unwrap(), read(other.as_bytes()).unwrap(), "{one}");
        }
        assert_ne!(read(b"4.5").unwrap(), read(b"4").unwrap());
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_is_refused() {
        for wrong in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"a":{"b":[{"c":1,"c":2}]}}"#,
            br#"{"a":1,"\u0061":2}"#,
            b"\"\\ud800\"",
            b"\"\xff\"",
            b"{\"a\":\"\x01\"}",
            b"{} {}",
            b"{\"a\":1,}",
            b"",
            b"nul",
            b"NaN",
            b"01",
        ] {
            assert!(read(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn what_takes_too_much_memory_is_not_read() {
        assert!(size_of::<Value>() <= 72, "MOST_VALUES counts on it");
        for (text, values) in [
            ("1", 0),
            ("[]", 0),
            ("{}", 0),
            ("[0,0,0]", LIST + 2),
            // Each of them has its places, however little stands there.
            ("[[[[0]]]]", 4 * LIST),
            ("[[0],[],[0]]", 3 * LIST + 2),
            (r#"{"a":0,"b":[0]}"#, OBJECT + 4 + LIST),
            (r#"[{"a":0},{"a":0}]"#, 2 * OBJECT + LIST + 5),
        ] {
            let room = Room::new(values);
            assert!(read_within(text.as_bytes(), &room).is_ok() && !room.is_short(), "{text}");
            assert_eq!(room.0.get(), Some(0), "{text}");
            let Some(fewer) = values.checked_sub(1) else { continue };
            let room = Room::new(fewer);
            assert!(read_within(text.as_bytes(), &room).is_err() && room.is_short(), "{text}");
        }
        let room = Room::new(LIST);
        assert!(read_within(b"[0", &room).is_err() && !room.is_short(), "what is broken is not too much");
    }

    #[test]
    fn depth_has_its_bound() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(read(nested(24).as_bytes()).map(|value| depth(&value)).ok(), Some(24));
        assert!(read(nested(25).as_bytes()).is_err());
        assert!(read("[".repeat(1 << 20).as_bytes()).is_err());
        assert!(read(r#"{"a":"#.repeat(1 << 18).as_bytes()).is_err());
    }

    proptest! {
        /// The short way and the library's come to the same bytes, or two directories would sign differently.
        #[test]
        fn what_is_never_in_doubt_is_written_as_the_library_writes_it(
            texts in proptest::collection::vec(".{0,12}", 0..6),
            keys in proptest::collection::vec("[ -~\u{80}-\u{10ffff}]{0,4}", 0..6),
            whole in -(LARGEST_WHOLE as i64)..=LARGEST_WHOLE as i64,
        ) {
            let list = serde_json::json!([texts, whole, null, true, {}, []]);
            let object: Map<String, Value> = keys.into_iter().map(|key| (key, list.clone())).collect();
            for value in [list, Value::Object(object), Value::from(0.5), Value::from(u64::MAX)] {
                prop_assert_eq!(canonical(&value).unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap());
            }
        }

        #[test]
        fn what_is_signed_is_read_again_to_the_same_bytes(number: f64, text in "\\PC{0,12}", key in ".{0,6}") {
            prop_assume!(number.is_finite());
            let value = serde_json::json!({ key: [number, text, null] });
            let first = canonical(&value).unwrap();
            let second = canonical(&read(&first).unwrap()).unwrap();
            prop_assert_eq!(String::from_utf8(first), String::from_utf8(second));
        }
    }
}
