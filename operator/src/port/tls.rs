//! A certificate as TLS shows it: read at each handshake, so that a renewed one needs no restart.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use mesh_pki::{PkiError, parse_certificates, parse_key};
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// What is shown; nothing before the Secret was read for the first time.
#[derive(Debug, Default)]
pub(crate) struct Shown(ArcSwapOption<CertifiedKey>);

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// It is none.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Its key cannot sign.
    #[error("the key is of no kind that TLS uses: {0}")]
    Key(rustls::Error),
}

impl Shown {
    /// Shows this one from the next handshake on.
    pub(crate) fn show(&self, chain_pem: &str, key_pem: &str) -> Result<(), Unfit> {
        let key = ring::sign::any_supported_type(&parse_key(key_pem)?).map_err(Unfit::Key)?;
        self.0.store(Some(Arc::new(CertifiedKey::new(parse_certificates(chain_pem)?, key))));
        Ok(())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// TLS for API servers, which call webhooks over HTTP/1.1, and for what speaks as they do.
///
/// # Errors
/// When the provider lacks the versions of TLS that it is asked for.
pub(crate) fn config(shown: Arc<Shown>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
