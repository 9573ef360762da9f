//! TLS to the servers: by whose roots they are known, under which name, and what they are shown.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};

use super::connect::Tls;
use crate::BackplaneError;

/// The settings as the library takes them.
pub(super) fn client(tls: &Tls) -> Result<ClientConfig, BackplaneError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| BackplaneError::Settings(e.to_string()))?;
    let roots = roots(tls)?;
    let builder = if tls.server_name.is_empty() {
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Named::new(roots, &tls.server_name, provider)?)
    };
    match &tls.pair {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
            let chain = chain.map_err(|_| wrong("the certificate for the servers"))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| wrong("the key for the servers"))?;
            builder.with_client_auth_cert(chain, key).map_err(|_| wrong("the pair for the servers"))
        }
    }
}

fn roots(tls: &Tls) -> Result<RootCertStore, BackplaneError> {
    let mut roots = RootCertStore::empty();
    match &tls.roots {
        Some(pem) => {
            for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let root = root.map_err(|_| wrong("a root of the servers"))?;
                roots.add(root).map_err(|_| wrong("a root of the servers"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn wrong(what: &str) -> BackplaneError {
    BackplaneError::Settings(format!("{what} cannot be read"))
}

/// Checks as ever, by another name than the host's: servers that are dialled by addresses, or through a name of the cluster's.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    usual: Arc<WebPkiServerVerifier>,
}

impl Named {
    fn new(roots: RootCertStore, name: &str, provider: Arc<CryptoProvider>) -> Result<Arc<Self>, BackplaneError> {
        let unfit = || BackplaneError::Settings(format!("{name} is no name that certificates carry"));
        let name = ServerName::try_from(name.to_owned()).map_err(|_| unfit())?;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let usual = usual.map_err(|_| wrong("the servers' roots"))?;
        Ok(Arc::new(Self { name, usual }))
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.usual.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
