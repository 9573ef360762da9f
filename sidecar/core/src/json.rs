//! Bodies in JSON are objects. In those of the control plane, as people paste them, a comma before a closing bracket, as in
//! the manual's sample for net/ack, is forgiven (PTP section 3.3).

use serde::de::{Deserialize, DeserializeOwned, Error as _};

/// Reads an object. A list would pass for one: its items fill the members in the order of their declaration.
///
/// # Errors
/// What is no JSON, no object, or not of the type.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, serde_json::Error> {
    match body.trim_ascii_start().first() {
        Some(b'[') => Err(serde_json::Error::custom("it is a list and no object")),
        _ => serde_json::from_slice(body),
    }
}

/// Reads a document. What is wrong is said of the document as it was sent.
///
/// # Errors
/// What is no JSON even without such commas, no object, or not of the type.
pub fn forgiving<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    object(body).or_else(|strict| {
        let forgiven = std::str::from_utf8(body).ok().map(without_trailing_commas);
        forgiven.and_then(|text| object(text.as_bytes()).ok()).ok_or(strict)
    })
}

/// The text without commas that only white space separates from a closing bracket.
fn without_trailing_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut comma = None;
    let (mut in_text, mut escaped) = (false, false);
    for c in text.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if matches!(c, '}' | ']') {
            // At most white space lies behind it, so little is moved.
            if let Some(at) = comma.take() {
                out.remove(at);
            }
        } else if c == ',' {
            comma = Some(out.len());
        } else if !c.is_whitespace() {
            comma = None;
            in_text = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    fn read(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
        forgiving(text.as_bytes())
    }

    #[test]
    fn one_trailing_comma_is_forgiven_and_nothing_else() {
        let map = read("{\"node_id\": \"a,}\\\"\", \"l\": [1, 2 , ],\n}").unwrap();
        assert_eq!((map["node_id"].as_str(), map["l"].as_array().map(Vec::len)), (Some("a,}\""), Some(2)));
        for wrong in ["", "[]", " [1]", "{,}x", "{\"a\":1,,}", "\"text\"", "{\"a\":", "null"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_no_object_though_its_items_would_fill_one() {
        #[derive(Debug, serde::Deserialize)]
        struct Pair {
            one: u8,
            other: u8,
        }
        let read = |text: &str| forgiving(text.as_bytes()).map(|Pair { one, other }| (one, other)).ok();
        assert_eq!(read(r#"{"one":1,"other":2,}"#), Some((1, 2)));
        for list in ["[1,2]", " \n[1,2]", "[1,2,]"] {
            assert_eq!(read(list), None, "{list}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_document_as_it_was_sent() {
        let error = read("{\"a\": [1,],\n \"b\" 2}").unwrap_err();
        assert_eq!(error.line(), 1, "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = forgiving::<Value>(&bytes);
        }

        #[test]
        fn what_is_no_trailing_comma_stays(text in "[\\[\\]{}:, \"\\\\a1]{0,40}") {
            let forgiven = without_trailing_commas(&text);
            proptest::prop_assert_eq!(text.replace(',', ""), forgiven.replace(',', ""));
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                proptest::prop_assert_eq!(Some(value), serde_json::from_str(&forgiven).ok());
            }
        }
    }
}
