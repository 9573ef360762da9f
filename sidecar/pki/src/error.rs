//! What can be wrong with certificates and keys of our own: what was given, what was asked for, what could not be made.
//!
//! What is wrong with a peer's chain is `problem.rs`. No text here ever quotes a key.

use std::time::SystemTime;

use crate::der::readable;

/// A certificate or key that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// There is no PEM block, or one that does not decode.
    #[error("the {what} is not PEM ({reason}): give the text from -----BEGIN to -----END")]
    NotPem {
        /// What was expected.
        what: &'static str,
        /// What the reader stumbled on.
        reason: &'static str,
    },
    /// More text or more certificates than anybody needs.
    #[error("the {what} is too large: at most {limit} are read")]
    TooLarge {
        /// What was expected.
        what: &'static str,
        /// The bound, with its unit.
        limit: &'static str,
    },
    /// PEM, but of something else.
    #[error("expected a {expected}, found a {found}: check that certificate and key are not mixed up")]
    WrongBlock {
        /// What was expected.
        expected: &'static str,
        /// What the label of the block says.
        found: &'static str,
    },
    /// The block decodes, but what is in it is no X.509 certificate.
    #[error("certificate {position} cannot be read ({reason}): export it again as X.509")]
    BadCertificate {
        /// Counted from 1.
        position: usize,
        /// What the reader stumbled on.
        reason: String,
    },
    /// The block decodes, but what is in it is no key that we can use.
    #[error("the private key cannot be used: {reason}")]
    BadKey {
        /// What is wrong and what to do; never the key.
        reason: &'static str,
    },
    /// The key is not the one that the certificate names.
    #[error(
        "the private key does not belong to the certificate of {subject}: give the key that the certificate was made for"
    )]
    KeyMismatch {
        /// The certificate's subject.
        subject: String,
    },
    /// A chain that is out of order or has a gap.
    #[error(
        "certificate {position} of the chain ({subject}) signed none of those before it: put the leaf first, then each issuer"
    )]
    ChainOrder {
        /// Counted from 1.
        position: usize,
        /// The certificate's subject.
        subject: String,
    },
    /// A certificate that may not sign others.
    #[error("{subject} is not a root: {reason}")]
    NotARoot {
        /// The certificate's subject.
        subject: String,
        /// Which mark is missing.
        reason: &'static str,
    },
    /// The time is past.
    #[error("{subject} expired at {}: replace it", readable(*.not_after))]
    Expired {
        /// The certificate's subject.
        subject: String,
        /// The end of its life.
        not_after: SystemTime,
    },
    /// The time has not come.
    #[error("{subject} is valid only from {}: wait, or check this machine's clock", readable(*.not_before))]
    NotYetValid {
        /// The certificate's subject.
        subject: String,
        /// The start of its life.
        not_before: SystemTime,
    },
    /// A cross certificate that does not lead to the root it is given with.
    #[error("the cross certificate of {subject} does not certify the root's key: sign the new root with the old one")]
    NotACrossCertificate {
        /// The certificate's subject.
        subject: String,
    },
    /// A name that cannot stand in a certificate.
    #[error("{name:?} cannot stand in a certificate: {reason}")]
    BadName {
        /// The name as given.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A certificate request that cannot be met.
    #[error("the certificate request is not met: {reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A life that no certificate can have.
    #[error("a life of {seconds} s cannot be certified: give between one second and 100 years")]
    BadLifetime {
        /// The life that was asked for.
        seconds: u64,
    },
    /// The machine refused: no randomness, or a signature that failed.
    #[error("{what} failed: check this machine's random source")]
    Machine {
        /// The step that failed.
        what: &'static str,
    },
}

/// Whose fault a [`PkiError`] is, so that callers choose their code without reading text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PkiErrorKind {
    /// Not PEM at all: `E0000000400` (PTP section 12.1).
    NotPem,
    /// PEM, but it does not fit: `E0000000603` (PTP section 12.1).
    Unfit,
    /// A request to issue that cannot be met as it stands.
    BadRequest,
    /// Our own machine's failure; trying again may help.
    Machine,
}

impl PkiError {
    /// Whose fault it is.
    pub fn kind(&self) -> PkiErrorKind {
        match self {
            Self::NotPem { .. } => PkiErrorKind::NotPem,
            Self::BadName { .. } | Self::BadLifetime { .. } | Self::BadRequest { .. } => PkiErrorKind::BadRequest,
            Self::Machine { .. } => PkiErrorKind::Machine,
            Self::TooLarge { .. }
            | Self::WrongBlock { .. }
            | Self::BadCertificate { .. }
            | Self::BadKey { .. }
            | Self::KeyMismatch { .. }
            | Self::ChainOrder { .. }
            | Self::NotARoot { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::NotACrossCertificate { .. } => PkiErrorKind::Unfit,
        }
    }

    /// Whether what was given is PEM; `false` only for [`PkiErrorKind::NotPem`].
    pub fn is_pem(&self) -> bool {
        self.kind() != PkiErrorKind::NotPem
    }
}
