//! What a certificate says, as plain values for conditions, metrics, status and comparison.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use crate::armor::parse_certificates;
use crate::der::from_unix_seconds;
use crate::error::PkiError;
use crate::identity::node_dns_name;

/// Names come from strangers and end in conditions, which Kubernetes bounds.
const NAME_MAX: usize = 512;

/// The public content of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Whose it is, for people.
    pub subject: String,
    /// Who signed it, for people.
    pub issuer: String,
    /// The start of its life.
    pub not_before: SystemTime,
    /// The last second of its life.
    pub not_after: SystemTime,
    /// The DNS names it speaks for.
    pub dns_names: Vec<String>,
    /// The addresses it speaks for.
    pub ips: Vec<IpAddr>,
    /// The URIs it speaks for.
    pub uris: Vec<String>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// SHA-256 of the certificate, lower-case hex.
    pub sha256: String,
    /// The serial number, lower-case hex.
    pub serial: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), lower-case hex: the same in every certificate of one key.
    pub spki_sha256: String,
    /// The subject key identifier, lower-case hex.
    pub key_id: Option<String>,
    /// The identifier of the issuer's key, lower-case hex: tells roots of one name apart.
    pub issuer_key_id: Option<String>,
}

impl CertificateInfo {
    /// Of the first certificate in a text.
    ///
    /// # Errors
    /// What [`parse_certificates`] and [`from_der`](Self::from_der) refuse.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        match parse_certificates(pem)?.first() {
            Some(der) => Self::from_der(der),
            None => Err(PkiError::NotPem { what: "certificate", reason: "there is no block" }),
        }
    }

    /// Of one certificate.
    ///
    /// # Errors
    /// [`PkiError::BadCertificate`] when it is not X.509.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, PkiError> {
        Ok(Self::of(&decode(der, 1)?, der))
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Self {
        let (dns_names, ips, uris) = alt_names(certificate);
        Self {
            subject: subject(certificate),
            issuer: display(certificate.issuer()),
            not_before: from_unix_seconds(certificate.validity().not_before.timestamp()),
            not_after: from_unix_seconds(certificate.validity().not_after.timestamp()),
            dns_names,
            ips,
            uris,
            is_ca: certificate.is_ca(),
            sha256: sha256(der),
            serial: hex(certificate.raw_serial()),
            spki_sha256: sha256(certificate.public_key().raw),
            key_id: key_id(certificate),
            issuer_key_id: issuer_key_id(certificate),
        }
    }

    /// Whether it names this node as the standard does: `<node_id>.trustbe.cn` among its DNS names, in any case (PTP section 12.4).
    pub fn names_node(&self, node_id: &str) -> bool {
        let wanted = node_dns_name(node_id);
        self.dns_names.iter().any(|name| name.eq_ignore_ascii_case(&wanted))
    }
}

/// Reads one certificate; `position` counts from 1 and is for the error.
pub(crate) fn decode<'a>(der: &'a [u8], position: usize) -> Result<X509Certificate<'a>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(PkiError::BadCertificate { position, reason: "bytes follow its end".to_owned() }),
        Err(_) => Err(PkiError::BadCertificate { position, reason: "it is not X.509 in DER".to_owned() }),
    }
}

fn key_id(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex(id.0)),
        _ => None,
    })
}

fn issuer_key_id(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| hex(id.0)),
        _ => None,
    })
}

fn alt_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>, Vec<String>) {
    let (mut dns, mut ips, mut uris) = (Vec::new(), Vec::new(), Vec::new());
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return (dns, ips, uris) };
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(text) => dns.push(clean(text)),
            GeneralName::IPAddress(bytes) => ips.extend(address(bytes)),
            GeneralName::URI(text) => uris.push(clean(text)),
            _ => {}
        }
    }
    (dns, ips, uris)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whose a certificate is, for people.
pub(crate) fn subject(certificate: &X509Certificate<'_>) -> String {
    display(certificate.subject())
}

fn display(name: &X509Name<'_>) -> String {
    clean(&name.to_string())
}

/// Bounded, and without control characters: the text goes into logs.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(NAME_MAX).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
