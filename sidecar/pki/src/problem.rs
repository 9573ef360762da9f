//! What is wrong with a chain that a peer showed, and what to do about it.

use std::time::SystemTime;

use crate::der::readable;
use crate::trust::Role;

/// Why a peer's chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainProblem {
    /// No certificate was shown.
    #[error("no certificate was shown: the partner must present its leaf")]
    Missing,
    /// More certificates than a chain has.
    #[error(
        "the chain has {length} certificates, more than the {limit} that are read: the partner should show only its leaf and what leads to its root"
    )]
    TooLong {
        /// How many were shown.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// A certificate of the chain is past its life.
    #[error("the certificate expired at {}: the partner must renew it", readable(*.not_after))]
    Expired {
        /// The end of its life.
        not_after: SystemTime,
    },
    /// A certificate of the chain is before its life.
    #[error("the certificate is valid only from {}: check the clocks on both sides", readable(*.not_before))]
    NotYetValid {
        /// The start of its life.
        not_before: SystemTime,
    },
    /// The chain holds, but the root that it ends in is past its life.
    #[error("the trusted root {subject} expired at {}: get the partner's new root", readable(*.not_after))]
    RootExpired {
        /// The root's subject.
        subject: String,
        /// The end of its life.
        not_after: SystemTime,
    },
    /// The chain holds, but the root that it ends in is before its life.
    #[error("the trusted root {subject} is valid only from {}: check this machine's clock", readable(*.not_before))]
    RootNotYetValid {
        /// The root's subject.
        subject: String,
        /// The start of its life.
        not_before: SystemTime,
    },
    /// No trusted root leads to it.
    #[error("{issuer} is not a trusted root: add the partner's root certificate to its route")]
    UnknownIssuer {
        /// Who signed the last certificate that was shown.
        issuer: String,
    },
    /// It names somebody else.
    #[error("the certificate speaks for [{}] and not for {expected}: dial the right address, or have it issued for that name", found.join(", "))]
    NotACertificateOf {
        /// Whom it should name.
        expected: String,
        /// Whom it names.
        found: Vec<String>,
    },
    /// A signature does not fit.
    #[error(
        "a signature in the chain does not fit the trusted root of that name: the partner may have a new root; get it"
    )]
    BadSignature,
    /// What was said under it was signed by another key, or is another text.
    #[error(
        "the statement was not signed with the key of the certificate that is shown for it: get it anew from its node"
    )]
    BadStatement,
    /// It was issued for another use.
    #[error("the certificate was not issued for TLS {role}s: have it issued with that extended key usage")]
    WrongPurpose {
        /// What the peer was on this connection.
        role: Role,
    },
    /// The bytes are not a certificate.
    #[error("the certificate cannot be read ({reason}): have it issued again")]
    Malformed {
        /// What the reader stumbled on.
        reason: String,
    },
    /// A rule of X.509 that the chain breaks, or a feature that we do not have.
    #[error("the chain cannot be accepted ({0}): have it issued again without that")]
    Unsupported(String),
}
