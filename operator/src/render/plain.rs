//! Secrets and ConfigMaps as people write them, read as strictly as our own kinds.

use std::collections::BTreeMap;

use crds::{Violation, read::lenient};
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Map, Value};

use crate::node::Keys;

/// What every document has.
pub(super) fn metadata(document: &Value) -> Result<ObjectMeta, Vec<Violation>> {
    let given = document.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let (metadata, unknown) =
        lenient::<ObjectMeta>(given).map_err(|e| vec![broken("metadata", &format!("cannot be read: {e}"))])?;
    let mut found: Vec<_> = unknown.iter().map(|member| broken(&format!("metadata.{member}"), "is unknown")).collect();
    if metadata.name.as_deref().unwrap_or_default().is_empty() {
        found.push(broken("metadata.name", "is missing"));
    }
    if found.is_empty() { Ok(metadata) } else { Err(found) }
}

/// The content of a Secret: `data` is base64, `stringData` wins over it as at the API server.
pub(super) fn secret(document: &Value) -> Result<Keys, Vec<Violation>> {
    let mut found = unknown(document, &["type", "data", "stringData", "immutable"]);
    let mut keys = BTreeMap::new();
    for (key, text) in strings(document, "data", &mut found) {
        let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        match serde_json::from_value::<ByteString>(Value::String(compact)) {
            Ok(bytes) => _ = keys.insert(key, bytes.0),
            Err(_) => found.push(broken(&format!("data.{key}"), "is no base64: encode it, or put it under stringData")),
        }
    }
    keys.extend(strings(document, "stringData", &mut found).into_iter().map(|(key, text)| (key, text.into_bytes())));
    if found.is_empty() { Ok(Keys(keys)) } else { Err(found) }
}

/// The texts of a ConfigMap. Its `binaryData` may stand there; nothing here refers to it.
pub(super) fn config_map(document: &Value) -> Result<BTreeMap<String, String>, Vec<Violation>> {
    let mut found = unknown(document, &["data", "binaryData", "immutable"]);
    let texts = strings(document, "data", &mut found);
    if found.is_empty() { Ok(texts) } else { Err(found) }
}

fn unknown(document: &Value, known: &[&str]) -> Vec<Violation> {
    let members = document.as_object().into_iter().flat_map(Map::keys);
    let odd = members.filter(|member| !["apiVersion", "kind", "metadata"].contains(&member.as_str()));
    odd.filter(|member| !known.contains(&member.as_str())).map(|member| broken(member, "is unknown")).collect()
}

fn strings(document: &Value, member: &str, found: &mut Vec<Violation>) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    match document.get(member) {
        None | Some(Value::Null) => {}
        Some(Value::Object(entries)) => {
            for (key, value) in entries {
                match value {
                    Value::String(text) => _ = texts.insert(key.clone(), text.clone()),
                    Value::Null => {}
                    _ => found.push(broken(&format!("{member}.{key}"), "must be a text: put it in quotes")),
                }
            }
        }
        Some(_) => found.push(broken(member, "must be a map of texts")),
    }
    texts
}

fn broken(field: &str, rule: &str) -> Violation {
    Violation { field: field.to_owned(), rule: rule.to_owned() }
}
