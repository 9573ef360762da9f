//! Whom a certificate speaks for: the host that was dialled, or the partner's node (PTP section 12.4).

use rustls_pki_types::{CertificateDer, DnsName, ServerName};
use webpki::EndEntityCert;

use crate::error::PkiError;
use crate::identity::node_dns_name;
use crate::info::CertificateInfo;
use crate::problem::ChainProblem;

/// A server's certificate must name the dialled host or the partner's node identity: the root is pinned per partner, so the
/// identity is what counts, and an address that changes or is a bare IP does not break the link (PTP section 12.4).
///
/// # Errors
/// [`ChainProblem::NotACertificateOf`] with the names that it does carry.
pub fn require_name(leaf: &CertificateDer<'_>, node_id: &str, host: Option<&str>) -> Result<(), ChainProblem> {
    let info = CertificateInfo::from_der(leaf).map_err(|e| ChainProblem::Malformed { reason: e.to_string() })?;
    if info.names_node(node_id) || host.is_some_and(|host| names_host(leaf, host)) {
        return Ok(());
    }
    let node = node_dns_name(node_id);
    let expected = host.map_or_else(|| node.clone(), |host| format!("{node} or {host}"));
    let found = info.dns_names.into_iter().chain(info.ips.iter().map(ToString::to_string)).collect();
    Err(ChainProblem::NotACertificateOf { expected, found })
}

fn names_host(leaf: &CertificateDer<'_>, host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let Ok(name) = ServerName::try_from(bare) else { return false };
    EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

/// Refuses a name that no verifier could match. A leading `*.` is allowed.
pub(crate) fn check_dns(name: &str) -> Result<(), PkiError> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    match DnsName::try_from(host) {
        Ok(_) if !host.ends_with('.') => Ok(()),
        _ => Err(PkiError::BadName { name: name.to_owned(), reason: "it is not a DNS name" }),
    }
}
