//! YAML in and out, here and nowhere else, so that a change of library touches one file.
//!
//! In by `serde-saphyr`, which bounds depth and aliases; out by `serde_yaml`, which is archived but writes what
//! Kubernetes' own tools write.

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
    serde_yaml::to_string(value).map_err(|e| YamlError(e.to_string()))
}
