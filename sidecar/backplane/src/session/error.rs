//! Why a session cannot be used here, and whether trying again may help.

/// Why a session cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It was released, and is refused until then.
    #[error("the session was released")]
    Released {
        /// In milliseconds since 1970.
        until: u64,
    },
    /// Another gateway owns it now, or this one gave it up. Nothing was done: whoever looks again finds the next owner.
    #[error("another gateway owns the session now")]
    Moved,
    /// `JetStream` has no room. Nothing was done.
    #[error("JetStream has no room: {0}")]
    Full(String),
    /// The servers are away. Nothing was done.
    #[error("NATS: {0}")]
    Away(String),
    /// Whether it is done nobody knows: the servers went away, or another gateway took over, while it was under way.
    #[error("it is not known whether JetStream has kept it")]
    Unsure,
    /// Whoever asked gave up before anything was done.
    #[error("nobody waits for it any more")]
    Withdrawn,
    /// What is kept of it cannot be read.
    #[error("what is kept of the session cannot be read: {0}")]
    Damaged(String),
}

impl SessionError {
    /// What a server or the library said.
    pub(crate) fn away(e: impl std::fmt::Display) -> Self {
        Self::Away(e.to_string())
    }
}
