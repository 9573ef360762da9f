//! How things stand with the backplane.

use std::time::Instant;

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Ids may be issued that are older than this, in milliseconds since 1970.
    pub ids_until: u64,
    /// Since when the servers are away; `None`: they are there.
    pub away_since: Option<Instant>,
    /// Another gateway has our number: nothing of ours holds any more.
    pub is_fenced: bool,
}

impl Standing {
    pub(crate) fn joined(ids_until: u64) -> Self {
        Self { ids_until, away_since: None, is_fenced: false }
    }
}
