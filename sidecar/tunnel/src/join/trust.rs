//! Which servers a node speaks with.

use std::{sync::Arc, time::Duration};

use mesh_network::{ByChain, Judge, Shown};
use mesh_pki::{CertificateInfo, Role, TrustAnchors, encode_certificate, parse_certificates, parse_key};
use rustls::{
    CertificateError, ClientConfig, Error, client::verify_server_name, crypto::ring, server::ParsedCertificate,
};
use rustls_pki_types::CertificateDer;

use super::{JoinError, member::Papers};

/// Whom to believe.
#[derive(Debug)]
pub(super) enum Trust {
    /// Whose chain ends in this authority.
    Authority(TrustAnchors),
    /// Whose chain has an authority with this SHA-256 in it, and ends there.
    Pin(String),
    /// Everybody, as legacy clients do on 6439: their tokens name no authority.
    Anybody,
}

impl Trust {
    /// That of an authority, PEM.
    pub(super) fn authority(pem: &str) -> Result<Self, JoinError> {
        TrustAnchors::from_pems(&[pem])
            .map(Self::Authority)
            .map_err(|e| JoinError::Local(format!("the authority that this node was given: {e}")))
    }

    /// How to speak TLS so: with these papers, where there are any, and these protocols.
    pub(super) fn config(self, papers: Option<&Papers>, alpn: &[&str]) -> Result<Arc<ClientConfig>, JoinError> {
        let local = |e: &dyn std::fmt::Display| JoinError::Local(format!("the certificate of this node: {e}"));
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(ByChain::new(self, &provider));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|e| local(&e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match papers {
            None => builder.with_no_client_auth(),
            Some(papers) => {
                let chain = parse_certificates(&papers.certificate).map_err(|e| local(&e))?;
                let key = parse_key(&papers.key).map_err(|e| local(&e))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| local(&e))?
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl Judge for Trust {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        match self {
            Self::Anybody => Ok(()),
            Self::Authority(anchors) => verified(anchors, shown),
            Self::Pin(pin) => {
                let is_pinned =
                    |der: &&CertificateDer<'_>| CertificateInfo::from_der(der).is_ok_and(|info| info.sha256 == *pin);
                let pinned = shown.above.iter().find(is_pinned).ok_or(UNKNOWN)?;
                let anchors = TrustAnchors::from_pems(&[encode_certificate(pinned)]).map_err(|_| UNKNOWN)?;
                verified(&anchors, shown)
            }
        }
    }
}

const UNKNOWN: Error = Error::InvalidCertificate(CertificateError::UnknownIssuer);

fn verified(anchors: &TrustAnchors, shown: &Shown<'_>) -> Result<(), Error> {
    let chain: Vec<_> =
        std::iter::once(shown.leaf).chain(shown.above).map(|der| CertificateDer::from(der.as_ref())).collect();
    let now = std::time::UNIX_EPOCH + Duration::from_secs(shown.now.as_secs());
    anchors.verify(&chain, Role::Server, now).map_err(|problem| {
        tracing::debug!("the server's certificate is refused: {problem}");
        UNKNOWN
    })?;
    verify_server_name(&ParsedCertificate::try_from(shown.leaf)?, shown.name)
}
