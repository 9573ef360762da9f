//! What is wrong with a resource: which field, which rule.

use std::fmt;

/// A rule that a resource breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field as Kubernetes writes it: `spec.services[0].urn`.
    pub field: String,
    /// The rule, in the words of the schema's rule where it is one.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}

/// The violation of `rule` at `field`.
pub(crate) fn broken(field: &str, rule: String) -> Violation {
    Violation { field: field.trim_start_matches('.').to_owned(), rule }
}
