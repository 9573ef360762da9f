//! Why a control call is refused. Keys and certificates are never repeated in the text.

use mesh_core::{Code, Fault, ProtocolError, Retry};
use mesh_pki::{PkiError, PkiErrorKind};

use crate::RouteError;

/// Why a control call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The body is no JSON object.
    #[error("the body is no JSON object ({reason})")]
    NotJson {
        /// Where and what, without the text itself.
        reason: String,
    },
    /// A member must be there.
    #[error("{member} is missing or empty")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member is of another kind.
    #[error("{member} must be {expected}")]
    Kind {
        /// Its name.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Two names of one thing say different things.
    #[error("{one} and {other} mean the same and differ: give one of them")]
    Contradiction {
        /// One name.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error("{member}: {problem}")]
    Certificate {
        /// Where it was given.
        member: &'static str,
        /// What is wrong.
        problem: PkiError,
    },
    /// A certificate without its key, or the other way round.
    #[error("{given} was given without {missing}: they are a pair")]
    HalfPair {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// The address cannot be read.
    #[error(transparent)]
    Address(#[from] RouteError),
    /// A partner or a member of the node calls.
    #[error("{call} is open to this node's own applications only: call it from the same machine or pod over 127.0.0.1")]
    NotOpen {
        /// What was called.
        call: &'static str,
    },
    /// A stranger calls.
    #[error("{call} is not open to strangers: call it from the same machine or pod over 127.0.0.1")]
    Stranger {
        /// What was called.
        call: &'static str,
    },
}

impl ProtocolError for ControlError {
    fn code(&self) -> Code {
        match self {
            Self::NotJson { .. } | Self::Missing { .. } | Self::Kind { .. } | Self::Contradiction { .. } => {
                Code::BAD_REQUEST
            }
            // What is not PEM is 400, what does not fit is 603 (PTP section 12.1).
            Self::Certificate { problem, .. } => match problem.kind() {
                PkiErrorKind::NotPem | PkiErrorKind::BadRequest => Code::BAD_REQUEST,
                PkiErrorKind::Unfit => Code::CERTIFICATE,
                PkiErrorKind::Machine => Code::INTERNAL,
            },
            Self::HalfPair { .. } => Code::CERTIFICATE,
            Self::Address(error) => error.code(),
            Self::NotOpen { .. } => Code::NOT_PERMITTED,
            Self::Stranger { .. } => Code::UNAUTHORISED,
        }
    }

    fn fault(&self) -> Fault {
        Fault::Caller
    }

    fn retry(&self) -> Retry {
        Retry::Useless
    }
}
