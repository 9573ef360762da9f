//! Whom a collector behind `https://` is known by: roots that are named, or else those of the machine.

use std::fs;

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{Options, TracesError};

/// How a TLS connection to the collector is checked.
///
/// # Errors
/// Roots that are named and cannot be read, or are none.
pub(crate) fn tls(options: &Options) -> Result<ClientTlsConfig, TracesError> {
    let plain = ClientTlsConfig::new();
    Ok(match named(options)? {
        Some(pem) => plain.ca_certificate(Certificate::from_pem(pem)),
        None => plain.with_native_roots(),
    })
}

/// The roots that somebody named, as PEM.
fn named(options: &Options) -> Result<Option<Vec<u8>>, TracesError> {
    let (whence, pem) = match (&options.root, &options.certificate) {
        (Some(root), _) => ("MESH_COLLECTOR_ROOT".to_owned(), root.clone().into_bytes()),
        (None, Some(path)) => {
            let read = fs::read(path);
            (path.clone(), read.map_err(|e| TracesError::Root { whence: path.clone(), reason: e.to_string() })?)
        }
        (None, None) => return Ok(None),
    };
    let refused = |reason: String| TracesError::Root { whence: whence.clone(), reason };
    let mut certificates = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|e| refused(e.to_string()))?;
        certificates = certificates.saturating_add(1);
    }
    if certificates == 0 { Err(refused("no certificate in it".into())) } else { Ok(Some(pem)) }
}
