//! YAML in and out, here and nowhere else, so that a change of library touches one file.
//!
//! By `serde-saphyr`, as kube itself: it bounds depth and aliases, refuses a key that stands twice, reads `yes` and `on`
//! as kubectl does, and so quotes them when they are text.

use serde::Serialize;
use serde_json::Value;

/// YAML that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// The documents of a file, without the empty ones.
///
/// # Errors
/// When the text is no YAML, or an unreasonable one (a key twice, aliases without end).
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|e| YamlError(e.to_string()))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// A value as one document.
///
/// # Errors
/// When the value has a form that YAML lacks, such as a map with structured keys.
pub fn emit<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|e| YamlError(e.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{documents, emit};

    #[test]
    fn a_file_is_its_documents_without_the_empty_ones() {
        let read = documents("---\n# nothing\n---\na: 1\n---\n---\nb: [x, null]\n");
        assert_eq!(read.unwrap(), [json!({"a": 1}), json!({"b": ["x", null]})]);
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let value = json!({"text": "a: b\n", "number": 7304, "list": ["yes", "1", ""], "nothing": null});
        assert_eq!(documents(&emit(&value).unwrap()).unwrap(), [value]);
    }

    #[test]
    fn malformed_and_malicious_text_is_refused() {
        let bomb = format!(
            "a0: &a0 [x]\n{}",
            (1..30)
                .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(",")))
                .collect::<String>()
        );
        let deep = "[".repeat(100_000);
        for text in ["a: [", "a: 1\na: 2", "a:\n\tb: 1", "\u{0}", &bomb, &deep] {
            assert!(documents(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
    }
}
