//! References from one object to another in the same namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// An object of the same namespace, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
}

/// One key of a ConfigMap of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
    /// The key within it.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::KEY))]
    #[serde(default = "ca_crt")]
    pub key: String,
}

/// Where the Kubernetes world and our own `<name>-root` keep a root certificate.
fn ca_crt() -> String {
    "ca.crt".into()
}

/// One key of a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
    /// The key within it; empty: the key that the field's description names.
    #[schemars(length(max = 253), regex(pattern = pattern::KEY_OR_EMPTY))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
}
