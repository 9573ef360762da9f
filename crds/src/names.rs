//! What the names of our resources may be: other names and files are made of them.

use serde_json::{Value, json};

use crate::{MeshNode, MeshRoute, ServiceRegistration, pattern};

/// The law about a kind's `metadata.name`: a DNS label of bounded length.
pub(crate) trait Named {
    /// The longest name.
    const LONGEST: usize;
}

impl Named for MeshNode {
    // Objects are named `mesh-<name>-...`: labels of at most 63 characters, of which a StatefulSet's pods need 11 for
    // the revision, and our own prefix and suffixes 12.
    const LONGEST: usize = 40;
}

impl Named for MeshRoute {
    // Files of the snapshot are named `client-<name>.crt`, which are keys of a Secret; metrics carry it as a label.
    const LONGEST: usize = 63;
}

impl Named for ServiceRegistration {
    const LONGEST: usize = 63;
}

/// The law as the schema has it.
pub(crate) fn schema<K: Named>() -> Value {
    json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": K::LONGEST, "pattern": pattern::LABEL}},
    })
}

/// The law in words, if `name` breaks it.
pub(crate) fn broken_by<K: Named>(name: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let edges = bytes.first().is_some_and(|b| plain(*b)) && bytes.last().is_some_and(|b| plain(*b));
    let good = edges && bytes.len() <= K::LONGEST && bytes.iter().all(|b| plain(*b) || *b == b'-');
    let longest = K::LONGEST;
    (!good).then(|| format!("must be at most {longest} lower-case letters, digits and hyphens, no hyphen at an end"))
}
