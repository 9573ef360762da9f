//! Why the directory refuses a call: the code of the protocol family, what HTTP says of it, and whether trying again may help.

use std::{fmt, time::Instant};

use crate::seldom::Seldom;

/// The codes that the directory answers with (contract section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// 200
    Success,
    /// 7001
    AddressNotFound,
    /// 7002
    AccessDenied,
    /// 7101
    ClassNotFound,
    /// 7300
    BadRequest,
    /// 7310
    InvalidCentralSystem,
    /// 7311
    InvalidClass,
    /// 7312
    InvalidDataSystem,
    /// 7313
    InvalidSearch,
    /// 7314
    Internal,
}

impl Code {
    /// The number that goes over the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::AddressNotFound => 7001,
            Self::AccessDenied => 7002,
            Self::ClassNotFound => 7101,
            Self::BadRequest => 7300,
            Self::InvalidCentralSystem => 7310,
            Self::InvalidClass => 7311,
            Self::InvalidDataSystem => 7312,
            Self::InvalidSearch => 7313,
            Self::Internal => 7314,
        }
    }
}

/// What was wrong, as far as callers decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The call itself.
    Malformed,
    /// What it asks for is not there.
    Missing,
    /// Somebody else has it, or it changed meanwhile.
    Conflict,
    /// The caller may not.
    Denied,
    /// The caller did not say who it is.
    Unauthenticated,
    /// The path takes these methods only.
    Method(&'static str),
    /// A coding of the body that is not read.
    Coding,
    /// More than is taken.
    TooLarge,
    /// More slowly than is waited for.
    TooSlow,
    /// More often than is taken.
    TooOften,
    /// More at once than is taken.
    Busy,
    /// The directory failed.
    Internal,
}

/// What callers are told of a store that fails: the reason has paths of this machine, and is for whoever runs it.
pub(crate) const STORE_FAILED: &str =
    "the directory's disk fails at this: its log and its status say why to whoever runs it";

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryError {
    /// The protocol's code.
    pub code: Code,
    /// What was wrong.
    pub why: Why,
    /// For people: what, with what, and what to do.
    pub message: String,
}

impl DirectoryError {
    /// A refusal with the words for people.
    #[must_use]
    pub fn new(code: Code, why: Why, message: impl Into<String>) -> Self {
        Self { code, why, message: message.into() }
    }

    /// A call that cannot be read.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, Why::Malformed, message)
    }

    /// A call that the store failed at. The reason goes to the log alone, once a minute.
    #[must_use]
    pub fn of_store(reason: &impl fmt::Display) -> Self {
        static SAID: Seldom = Seldom::new();
        let reason = reason.to_string();
        if let Some(due) = SAID.due(&reason, Instant::now()) {
            tracing::error!(times = due.times, "a call of the directory failed: {reason}");
        }
        Self::new(Code::Internal, Why::Internal, STORE_FAILED)
    }

    /// What HTTP says where its status mirrors the code (contract section 2).
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self.why {
            Why::Malformed => 400,
            Why::Unauthenticated => 401,
            Why::Denied => 403,
            Why::Missing => 404,
            Why::Conflict => 409,
            Why::Method(_) => 405,
            Why::Coding => 415,
            Why::TooSlow => 408,
            Why::TooLarge => 413,
            Why::TooOften => 429,
            Why::Busy => 503,
            Why::Internal => 500,
        }
    }

    /// Whether the same call may succeed later without being changed.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        matches!(self.why, Why::Internal | Why::Busy | Why::TooOften | Why::TooSlow | Why::Missing)
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.number(), self.message)
    }
}

impl std::error::Error for DirectoryError {}
