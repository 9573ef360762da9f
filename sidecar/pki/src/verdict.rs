//! webpki's verdict in our words, so that people read what to do and not what a parser thought.

use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::Error;

use crate::der::from_unix_seconds;
use crate::info::CertificateInfo;
use crate::problem::ChainProblem;
use crate::trust::Role;

pub(crate) fn translate(
    error: &Error,
    role: Role,
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
) -> ChainProblem {
    let unsupported = |what: &str| ChainProblem::Unsupported(what.to_owned());
    match error {
        Error::CertExpired { not_after, .. } => ChainProblem::Expired { not_after: moment(*not_after) },
        Error::CertNotValidYet { not_before, .. } => ChainProblem::NotYetValid { not_before: moment(*not_before) },
        Error::UnknownIssuer => ChainProblem::UnknownIssuer { issuer: last_issuer(leaf, above) },
        // A root of the same name with another kind of key fails before any signature is computed.
        Error::InvalidSignatureForPublicKey | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            ChainProblem::BadSignature
        }
        Error::RequiredEkuNotFoundContext(_) => ChainProblem::WrongPurpose { role },
        Error::CaUsedAsEndEntity => unsupported("a CA certificate is shown as leaf, and it is not the trusted root"),
        Error::EndEntityUsedAsCa => unsupported("a certificate that is no CA signed another"),
        Error::PathLenConstraintViolated => unsupported("it is longer than its CA allows"),
        Error::NameConstraintViolation => unsupported("a name is outside of what its CA may certify"),
        Error::UnsupportedCriticalExtension => unsupported("it has a critical extension that is not known here"),
        Error::UnsupportedCertVersion => unsupported("it is not X.509 version 3"),
        Error::UnsupportedSignatureAlgorithmContext(_) => {
            unsupported("its signature algorithm is outdated or unusual; use ECDSA P-256 or RSA with SHA-256")
        }
        Error::BadDer
        | Error::BadDerTime
        | Error::TrailingData(_)
        | Error::InvalidCertValidity
        | Error::InvalidSerialNumber
        | Error::ExtensionValueInvalid
        | Error::MalformedExtensions => ChainProblem::Malformed { reason: error.to_string() },
        other => ChainProblem::Unsupported(other.to_string()),
    }
}

fn last_issuer(leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> String {
    CertificateInfo::from_der(above.last().unwrap_or(leaf)).map_or_else(|_| "the issuer".to_owned(), |info| info.issuer)
}

fn moment(at: UnixTime) -> SystemTime {
    from_unix_seconds(i64::try_from(at.as_secs()).unwrap_or(i64::MAX))
}
