//! TLS to an instance whose address begins with `https://` or `grpcs://`: its certificate must end in a root of this
//! machine's store (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else the system's) or of this node, and carry the name that was dialled.
//!
//! No certificate of ours is shown. `PLUGIN_PROXY_INSECURE_SKIP` leaves the name out, never the chain.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use crds::ServiceProto;
use mesh_core::Live;
use mesh_network::NameCheck;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Makes TLS connections to instances.
pub(crate) struct Tls {
    live: Arc<Live>,
    names: NameCheck,
    /// The roots of this machine, read when the first instance needs them.
    machine: OnceCell<Vec<CertificateDer<'static>>>,
    ready: ArcSwapOption<Ready>,
}

/// What new connections use, for as long as the node's roots stay as they are.
struct Ready {
    roots_pem: String,
    http: TlsConnector,
    grpc: TlsConnector,
    /// For whoever only looks whether the instance is there.
    either: TlsConnector,
}

impl Tls {
    pub(crate) fn new(live: Arc<Live>, names: NameCheck) -> Self {
        Self { live, names, machine: OnceCell::new(), ready: ArcSwapOption::empty() }
    }

    /// Goes on by TLS on a connection to `host`.
    ///
    /// # Errors
    /// Why the other side is not whom we dialled, in words.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        proto: Option<ServiceProto>,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let ready = self.ready().await?;
        let connector = match proto {
            Some(ServiceProto::Http) => &ready.http,
            Some(ServiceProto::Grpc) => &ready.grpc,
            None => &ready.either,
        };
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        let agreed = stream.get_ref().1.alpn_protocol();
        match proto {
            Some(ServiceProto::Grpc) if agreed != Some(b"h2") => Err("it does not offer HTTP/2 (ALPN h2)".into()),
            _ => Ok(stream),
        }
    }

    async fn ready(&self) -> Result<Arc<Ready>, String> {
        let roots_pem = &self.live.snapshot().node.roots_pem;
        if let Some(ready) = self.ready.load_full().filter(|ready| ready.roots_pem == *roots_pem) {
            return Ok(ready);
        }
        let machine = self.machine.get_or_init(machine_roots).await;
        let ready = Ready::new(roots_pem, machine, self.names).map_err(|e| e.to_string())?;
        let ready = Arc::new(ready);
        self.ready.store(Some(Arc::clone(&ready)));
        Ok(ready)
    }
}

/// The roots that this machine trusts. What cannot be read is named once; the node's own roots count in any case.
async fn machine_roots() -> Vec<CertificateDer<'static>> {
    let read = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let read = read.unwrap_or_default();
    for error in &read.errors {
        tracing::warn!(%error, "a root of this machine cannot be read; services that need it will not be ready");
    }
    read.certs
}

impl Ready {
    fn new(roots_pem: &str, machine: &[CertificateDer<'static>], names: NameCheck) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::pem_slice_iter(roots_pem.as_bytes()).filter_map(Result::ok);
        roots.add_parsable_certificates(own.chain(machine.iter().cloned()));
        let provider = Arc::new(ring::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = chain.map_err(|e| Error::General(e.to_string()))?;
        let verifier = Arc::new(Instances { chain, names });
        let connector = |alpn: &[&[u8]]| connector(&provider, &verifier, alpn);
        Ok(Self {
            roots_pem: roots_pem.to_owned(),
            http: connector(&[b"http/1.1"])?,
            grpc: connector(&[b"h2"])?,
            either: connector(&[b"h2", b"http/1.1"])?,
        })
    }
}

fn connector(provider: &Arc<CryptoProvider>, verifier: &Arc<Instances>, alpn: &[&[u8]]) -> Result<TlsConnector, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The usual check, with or without the name.
#[derive(Debug)]
struct Instances {
    chain: Arc<WebPkiServerVerifier>,
    names: NameCheck,
}

impl ServerCertVerifier for Instances {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name comes last in this check: what fails over it has passed everything else.
        match self.chain.verify_server_cert(leaf, above, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.names == NameCheck::Skipped => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("names", &self.names).finish_non_exhaustive()
    }
}
