//! What the grid refuses: the codes of Grid section 3, and the stable words beside them.

use crate::{names::NoName, wire::CloseCode};

/// Why a backend's request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// There is no such method.
    #[error(
        "unknown method {0}: see mesh.send, mesh.publish, conn.call, queue.pop, queue.unpop, queue.ack, queue.nack, server.ping"
    )]
    UnknownMethod(String),
    /// A request that cannot be read, or a parameter that is missing or wrong.
    #[error("{0}")]
    Invalid(String),
    /// The topic cannot be consumed.
    #[error("{topic} cannot be consumed: {reason}")]
    NotConsumed {
        /// The topic.
        topic: String,
        /// Why.
        reason: &'static str,
    },
    /// This connection consumes the topic already.
    #[error("{0} is consumed by this connection already: queue.unpop first")]
    AlreadyConsumed(String),
    /// Nothing is consumed, and that is an error here.
    #[error("nothing of this is consumed by this connection")]
    NotConsuming,
    /// A call of a function of a connection failed.
    #[error("{0}")]
    CallFailed(String),
    /// A message was not sent.
    #[error("{} {}", .0.text(), .1)]
    NotSent(Unsent, String),
    /// The caller may not do that.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// The node ends, or has not begun.
    #[error("this node takes no more calls: it is about to end")]
    Draining,
    /// More than there is room for, or at a time.
    #[error("too much at a time: {0}")]
    RateLimited(String),
    /// No such delivery.
    #[error("{0} is no delivery tag that this connection has not acknowledged")]
    UnknownTag(u64),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

/// Why a message was not sent (G-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// The client is unknown or closed.
    Gone,
    /// Its queue is full.
    Slow,
    /// Its node cannot be reached.
    Unreachable,
    /// The message is above its listener's limit.
    TooLarge,
}

impl Unsent {
    /// The stable word `k`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Slow => "slow",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too_large",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Gone => "no such client:",
            Self::Slow => "the queue is full of client",
            Self::Unreachable => "the node cannot be reached of client",
            Self::TooLarge => "the message is above the limit of client",
        }
    }

    /// The HTTP status where the listener maps codes to statuses (G-7).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Gone => 410,
            Self::Slow => 429,
            Self::Unreachable => 503,
            Self::TooLarge => 413,
        }
    }
}

impl GridError {
    /// The code of Grid section 3.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::UnknownMethod(_) => 100,
            Self::Invalid(_) => 101,
            Self::NotConsumed { .. } => 201,
            Self::AlreadyConsumed(_) => 202,
            Self::NotConsuming => 203,
            Self::CallFailed(_) => 301,
            Self::NotSent(..) => 401,
            Self::NotPermitted(_) => 501,
            Self::Draining => 502,
            Self::RateLimited(_) => 503,
            Self::UnknownTag(_) => 504,
            Self::Internal(_) => 505,
        }
    }

    /// The stable word beside the code, where there is one.
    #[must_use]
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::NotSent(unsent, _) => Some(unsent.word()),
            _ => None,
        }
    }

    /// Whether the request itself is at fault: ten of them in a row end a connection (G-4).
    #[must_use]
    pub const fn is_protocol_error(&self) -> bool {
        matches!(self, Self::UnknownMethod(_) | Self::Invalid(_))
    }

    /// A parameter that is missing or wrong.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl From<NoName> for GridError {
    fn from(e: NoName) -> Self {
        Self::Invalid(e.to_string())
    }
}

/// What a connection that made too many protocol errors is closed with.
pub const TOO_MANY_ERRORS: CloseCode = CloseCode::POLICY;
