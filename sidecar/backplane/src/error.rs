//! Why the backplane cannot be used, and what to do.

/// Why the backplane cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackplaneError {
    /// The settings lead nowhere, whatever the servers do.
    #[error("the backplane's settings: {0}")]
    Settings(String),
    /// The servers do not answer, or not as they should. Trying again may help.
    #[error("NATS: {0}")]
    Away(String),
    /// No number is free.
    #[error("all numbers of gateways are taken: 1024 gateways of one node were there within {0} minutes")]
    Full(u64),
    /// Another gateway has our number.
    #[error("another gateway has the number {0}: this one was away for too long")]
    Fenced(u16),
}

impl BackplaneError {
    /// Whether trying again may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Full(_))
    }

    /// What a server or the library said.
    pub(crate) fn away(e: impl std::fmt::Display) -> Self {
        Self::Away(e.to_string())
    }
}
