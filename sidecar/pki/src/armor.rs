//! PEM in and out: what people paste, what editors and templates do to it, and what we write.
//!
//! Accepts on input what PTP section 12.3 lists. Decoding is rustls-pki-types' job; here lines are trimmed, the one
//! mislabelled block is renamed, and what is not wanted is refused by its label, never by quoting it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::error::PkiError;

/// No Kubernetes object can carry more (etcd's limit), and all our PEM comes out of one or fits into one.
const TEXT_MAX: usize = 1 << 20;

/// A system-wide bundle has about 150 roots; nobody's partner list or chain has more certificates in one text.
const CERTIFICATES_MAX: usize = 256;

/// Lines of 64 characters, as RFC 7468 asks of writers.
const LINE: usize = 64;

/// One decoded block.
type Block = (SectionKind, Zeroizing<Vec<u8>>);

/// Every certificate in a text, in order. Text between blocks, CRLF, indentation and trailing blanks are fine; a private key
/// among them is refused, because a file that holds keys is not one to hand to partners.
///
/// # Errors
/// [`PkiError::NotPem`] when there is no block or one that does not decode, else what is found in place of certificates.
pub fn parse_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    const WHAT: &str = "certificate";
    let mut found = Vec::new();
    for (kind, der) in blocks(pem, WHAT)? {
        if kind != SectionKind::Certificate {
            return Err(PkiError::WrongBlock { expected: WHAT, found: called(kind) });
        }
        found.push(CertificateDer::from(der.to_vec()));
    }
    if found.len() > CERTIFICATES_MAX {
        return Err(PkiError::TooLarge { what: WHAT, limit: "256 certificates" });
    }
    Ok(found)
}

/// The first private key in a text: PKCS#1, PKCS#8 or SEC1, also under the label `ECDSA PRIVATE KEY` (PTP section 12.3).
/// Blocks beside it (parameters, certificates) are passed over.
///
/// # Errors
/// [`PkiError::NotPem`] when there is no block, [`PkiError::WrongBlock`] when none is a key.
pub fn parse_key(pem: &str) -> Result<PrivateKeyDer<'static>, PkiError> {
    const WHAT: &str = "private key";
    let mut other = None;
    for (kind, der) in blocks(pem, WHAT)? {
        let der = der.to_vec();
        match kind {
            SectionKind::RsaPrivateKey => return Ok(PrivateKeyDer::Pkcs1(der.into())),
            SectionKind::PrivateKey => return Ok(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::EcPrivateKey => return Ok(PrivateKeyDer::Sec1(der.into())),
            _ => other = other.or(Some(kind)),
        }
    }
    Err(PkiError::WrongBlock { expected: WHAT, found: other.map_or("nothing", called) })
}

/// The one certificate request in a text, DER.
///
/// # Errors
/// [`PkiError::NotPem`] when there is no block, [`PkiError::WrongBlock`] when the first is something else.
pub(crate) fn parse_request(pem: &str) -> Result<Vec<u8>, PkiError> {
    const WHAT: &str = "certificate request";
    match blocks(pem, WHAT)?.into_iter().next() {
        Some((SectionKind::Csr, der)) => Ok(der.to_vec()),
        other => Err(PkiError::WrongBlock { expected: WHAT, found: other.map_or("nothing", |(kind, _)| called(kind)) }),
    }
}

/// Writes one block.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / LINE + 2 * label.len() + 40);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Writes one certificate.
pub fn encode_certificate(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

fn blocks(pem: &str, what: &'static str) -> Result<Vec<Block>, PkiError> {
    if pem.len() > TEXT_MAX {
        return Err(PkiError::TooLarge { what, limit: "1 MiB of text" });
    }
    if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(PkiError::BadKey { reason: "it is encrypted with a passphrase; decrypt it first" });
    }
    let text = tidy(pem);
    let mut found = Vec::new();
    for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        // The reader's own error quotes the line it stumbled on, and that line may be part of a key.
        let (kind, der) =
            block.map_err(|_| PkiError::NotPem { what, reason: "a block is cut off or is not base64" })?;
        found.push((kind, Zeroizing::new(der)));
    }
    if found.is_empty() {
        return Err(PkiError::NotPem { what, reason: "there is no block" });
    }
    Ok(found)
}

/// Lines without blanks at their ends, and the label that some tools give to SEC1 keys set right.
fn tidy(pem: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(pem.len() + 1));
    for line in pem.trim_start_matches('\u{feff}').lines() {
        let line = line.trim();
        match line {
            "-----BEGIN ECDSA PRIVATE KEY-----" => text.push_str("-----BEGIN EC PRIVATE KEY-----"),
            "-----END ECDSA PRIVATE KEY-----" => text.push_str("-----END EC PRIVATE KEY-----"),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn called(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Certificate => "certificate",
        SectionKind::PublicKey => "public key",
        SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => "private key",
        SectionKind::Crl => "revocation list",
        SectionKind::Csr => "certificate request",
        _ => "block of another kind",
    }
}
