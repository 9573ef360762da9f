//! The document of node/refresh: seeds 000 and 001 spell its members differently (PTP section 12.1).

use mesh_core::config::NodeIdentity;
use mesh_pki::{Pair, PrivateKeyPem, check_pair, parse_certificates, parse_key};

use super::{ControlError, document::Document};

pub(super) fn read(document: &Document) -> Result<NodeIdentity, ControlError> {
    let name = document.alias("name", "inst_name")?.ok_or(ControlError::Missing { member: "name" })?;
    let certificate = document.alias("host_root", "root_crt")?;
    let key = document.alias("host_key", "root_key")?;
    Ok(NodeIdentity {
        node_id: document.required("node_id")?.to_owned(),
        inst_id: document.required("inst_id")?.to_owned(),
        name: name.to_owned(),
        version: document.text("version")?.unwrap_or_default().to_owned(),
        address: address(document)?,
        root: pair(("root_crt", certificate), ("root_key", key))?,
    })
}

/// Kept as it is: what partners dial may be a name that this node cannot resolve.
fn address(document: &Document) -> Result<String, ControlError> {
    let Some(address) = document.text("address")? else { return Ok(String::new()) };
    crate::dial::Address::parse_list(address)?;
    Ok(address.to_owned())
}

/// A certificate and its key; neither, or both.
pub(super) fn pair(
    (of_certificate, certificate): (&'static str, Option<&str>),
    (of_key, key): (&'static str, Option<&str>),
) -> Result<Option<Pair>, ControlError> {
    // Each by itself first: what is no PEM is another mistake than what does not fit.
    if let Some(certificate) = certificate {
        parse_certificates(certificate)
            .map_err(|problem| ControlError::Certificate { member: of_certificate, problem })?;
    }
    if let Some(key) = key {
        parse_key(key).map_err(|problem| ControlError::Certificate { member: of_key, problem })?;
    }
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(ControlError::HalfPair { given: of_certificate, missing: of_key }),
        (None, Some(_)) => Err(ControlError::HalfPair { given: of_key, missing: of_certificate }),
        (Some(certificate), Some(key)) => {
            check_pair(certificate, key)
                .map_err(|problem| ControlError::Certificate { member: of_certificate, problem })?;
            Ok(Some(Pair { chain_pem: certificate.to_owned(), key: PrivateKeyPem::new(key.to_owned()) }))
        }
    }
}
