//! Whether a key, its certificate and the chain above it belong together. Time is not asked here.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use crate::armor::parse_certificates;
use crate::error::PkiError;
use crate::info::{CertificateInfo, decode, subject};
use crate::key::SigningKey;

/// A leaf, two or three intermediates, cross certificates of a root roll, and room. Peers of our kind read no more, because
/// every certificate costs signature checks, which a stranger can ask for.
pub(crate) const CHAIN_MAX: usize = 10;

/// Reads a chain and a key; the key must be that of the first certificate, and each further certificate must have signed one
/// before it (PTP section 12.1): usually the last one, but two cross certificates stand side by side. A root at the end is fine.
///
/// # Errors
/// Which of these does not hold.
pub fn check_pair(chain_pem: &str, key_pem: &str) -> Result<Vec<CertificateInfo>, PkiError> {
    let ders = parse_certificates(chain_pem)?;
    let chain = decode_all(&ders)?;
    check_key(&chain, &SigningKey::from_pem(key_pem)?)?;
    check_order(&chain)?;
    Ok(chain.iter().zip(&ders).map(|(certificate, der)| CertificateInfo::of(certificate, der)).collect())
}

pub(crate) fn decode_all<'a>(ders: &'a [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'a>>, PkiError> {
    ders.iter().enumerate().map(|(at, der)| decode(der, at + 1)).collect()
}

/// The key is that of the first certificate.
pub(crate) fn check_key(chain: &[X509Certificate<'_>], key: &SigningKey) -> Result<(), PkiError> {
    match chain.first() {
        Some(first) if key.belongs_to(first.public_key()) => Ok(()),
        Some(first) => Err(PkiError::KeyMismatch { subject: subject(first) }),
        None => Err(PkiError::NotPem { what: "certificate", reason: "there is no block" }),
    }
}

/// Each certificate signed one before it.
pub(crate) fn check_order(chain: &[X509Certificate<'_>]) -> Result<(), PkiError> {
    if chain.len() > CHAIN_MAX {
        return Err(PkiError::TooLarge { what: "chain", limit: "10 certificates" });
    }
    for (at, upper) in chain.iter().enumerate().skip(1) {
        if !chain.iter().take(at).any(|lower| signed(lower, upper)) {
            return Err(PkiError::ChainOrder { position: at + 1, subject: subject(upper) });
        }
    }
    Ok(())
}

/// Whether `upper` signed `lower`, by name and by signature.
pub(crate) fn signed(lower: &X509Certificate<'_>, upper: &X509Certificate<'_>) -> bool {
    lower.issuer().as_raw() == upper.subject().as_raw() && lower.verify_signature(Some(upper.public_key())).is_ok()
}
