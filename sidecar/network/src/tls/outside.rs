//! TLS as client of what is no partner: services (`https://` and `grpcs://` addresses) and proxies. The certificate must end in a
//! root of this machine's store (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else the system's) or of this node, and carry the name that was
//! dialled.
//!
//! No certificate of ours is shown. `PLUGIN_PROXY_INSECURE_SKIP` leaves the name out, never the chain.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use mesh_core::Live;
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    NameCheck, provider,
    signatures::{ByChain, Judge, Shown},
};

/// What a connection is to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, and nothing else.
    Http2,
    /// Either: whoever only looks whether something is there.
    Either,
}

/// Whose roots count beside this machine's and the node's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Nobodys,
    /// Those of the partners too.
    Partners,
}

/// Makes TLS connections to what is no partner.
pub struct Outside {
    live: Arc<Live>,
    names: NameCheck,
    whose: Whose,
    /// The roots of this machine, read when the first connection needs them.
    machine: OnceCell<Vec<CertificateDer<'static>>>,
    ready: ArcSwapOption<Ready>,
}

/// What new connections use, for as long as the node's roots stay as they are.
struct Ready {
    roots_pem: String,
    http1: TlsConnector,
    http2: TlsConnector,
    either: TlsConnector,
}

impl Outside {
    /// With the roots of the node in `live`.
    #[must_use]
    pub fn new(live: Arc<Live>, names: NameCheck) -> Self {
        Self { live, names, whose: Whose::Nobodys, machine: OnceCell::new(), ready: ArcSwapOption::empty() }
    }

    /// With the roots of the partners beside: for what is asked of their nodes without any secret, under an address of its own.
    #[must_use]
    pub fn with_partners(live: Arc<Live>, names: NameCheck) -> Self {
        Self { whose: Whose::Partners, ..Self::new(live, names) }
    }

    /// Goes on by TLS on a connection to `host`.
    ///
    /// # Errors
    /// Why the other side is not whom we dialled, in words.
    pub async fn connect<S>(&self, stream: S, host: &str, offer: Offer) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let ready = self.ready().await?;
        let connector = match offer {
            Offer::Http1 => &ready.http1,
            Offer::Http2 => &ready.http2,
            Offer::Either => &ready.either,
        };
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        let agreed = stream.get_ref().1.alpn_protocol();
        match offer {
            Offer::Http2 if agreed != Some(b"h2") => Err("it does not offer HTTP/2 (ALPN h2)".into()),
            _ => Ok(stream),
        }
    }

    async fn ready(&self) -> Result<Arc<Ready>, String> {
        let roots_pem = self.roots_pem();
        if let Some(ready) = self.ready.load_full().filter(|ready| ready.roots_pem == roots_pem) {
            return Ok(ready);
        }
        let machine = self.machine.get_or_init(machine_roots).await;
        let ready = Ready::new(&roots_pem, machine, self.names).map_err(|e| e.to_string())?;
        let ready = Arc::new(ready);
        self.ready.store(Some(Arc::clone(&ready)));
        Ok(ready)
    }

    fn roots_pem(&self) -> String {
        let snapshot = self.live.snapshot();
        let mut pem = snapshot.node.roots_pem.clone();
        if self.whose == Whose::Partners {
            for root in snapshot.routes().iter().flat_map(|route| &route.config.roots) {
                pem.push('\n');
                pem.push_str(root);
            }
        }
        pem
    }
}

/// The roots that this machine trusts. What cannot be read is named once; the node's own roots count in any case.
async fn machine_roots() -> Vec<CertificateDer<'static>> {
    let read = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let read = read.unwrap_or_default();
    for error in &read.errors {
        tracing::warn!(%error, "a root of this machine cannot be read; what needs it will not be reached");
    }
    read.certs
}

impl Ready {
    fn new(roots_pem: &str, machine: &[CertificateDer<'static>], names: NameCheck) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::pem_slice_iter(roots_pem.as_bytes()).filter_map(Result::ok);
        roots.add_parsable_certificates(own.chain(machine.iter().cloned()));
        let provider = provider();
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = chain.map_err(|e| Error::General(e.to_string()))?;
        let verifier = Arc::new(ByChain::new(ByStore { chain, names }, &provider));
        let connector = |alpn: &[&[u8]]| connector(&provider, &verifier, alpn);
        Ok(Self {
            roots_pem: roots_pem.to_owned(),
            http1: connector(&[b"http/1.1"])?,
            http2: connector(&[b"h2"])?,
            either: connector(&[b"h2", b"http/1.1"])?,
        })
    }
}

fn connector(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<ByChain<ByStore>>,
    alpn: &[&[u8]],
) -> Result<TlsConnector, Error> {
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
struct ByStore {
    chain: Arc<WebPkiServerVerifier>,
    names: NameCheck,
}

impl Judge for ByStore {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        // The name comes last in this check: what fails over it has passed everything else.
        match self.chain.verify_server_cert(shown.leaf, shown.above, shown.name, &[], shown.now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.names == NameCheck::Skipped => Ok(()),
            verdict => verdict.map(|_| ()),
        }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("names", &self.names).finish_non_exhaustive()
    }
}
