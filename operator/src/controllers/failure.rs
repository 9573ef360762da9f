//! Why a reconcile is to be tried again.

use std::time::Duration;

/// A reconcile of a thousand routes takes seconds; after this an API call has been lost, and nobody waits for it for ever.
pub(super) const LONGEST: Duration = Duration::from_secs(120);
/// Such a reconcile has waited long enough already.
const AFTER_SILENCE: Duration = Duration::from_secs(1);

/// Why a reconcile is to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The word that conditions, Events and metrics carry.
    pub(crate) reason: &'static str,
    /// What happened and what to do.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) again: Duration,
}

impl Failure {
    /// The API server did not answer.
    pub(super) fn silence() -> Self {
        let message = format!("the API server did not answer within {} s", LONGEST.as_secs());
        Self { reason: "TimedOut", message, again: AFTER_SILENCE }
    }
}
