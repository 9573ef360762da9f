//! What stops a run: every fault with its file, document, field and rule, all at once.

use std::{fmt, path::PathBuf, sync::Arc};

use crds::Violation;

use crate::node::Problem;

/// A document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file as it was named.
    pub(super) file: Arc<PathBuf>,
    /// Which of its documents, counted from 1 without the empty ones.
    pub(super) document: usize,
    /// Kind and name, where they can be told: `MeshRoute demo/bank-b`.
    pub(super) subject: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}", self.file.display(), self.document)?;
        if self.subject.is_empty() { Ok(()) } else { write!(f, " ({})", self.subject) }
    }
}

/// One line about what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault(pub(super) String);

impl Fault {
    /// A rule that a document breaks; `rule` begins with its field.
    pub(super) fn at(place: &Place, rule: impl fmt::Display) -> Self {
        Self(format!("{place}: {rule}"))
    }

    /// Each broken rule on a line of its own.
    pub(super) fn all(place: &Place, violations: &[Violation]) -> Vec<Self> {
        violations.iter().map(|violation| Self::at(place, violation)).collect()
    }

    /// What is wrong with a file or directory as such.
    pub(super) fn file(path: &std::path::Path, rule: impl fmt::Display) -> Self {
        Self(format!("{}: {rule}", path.display()))
    }

    /// A problem that the node's own judgement found.
    pub(super) fn problem(place: &Place, problem: &Problem) -> Vec<Self> {
        match problem {
            Problem::Invalid(violations) => Self::all(place, violations),
            other => vec![Self::at(place, other)],
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
