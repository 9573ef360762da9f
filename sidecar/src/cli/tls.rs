//! TLS of the command line: a node is believed whose certificate stands under the roots of a file, and has the name that was asked for.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::exit::Exit;

/// A connection to a node, in plain text or not.
pub(crate) type Stream = Box<dyn Wire>;

/// What a connection is, whatever it goes over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Whom to believe.
pub(crate) struct Tls {
    connector: TlsConnector,
    name: Option<String>,
}

impl Tls {
    /// Believes whose chain ends in a certificate of the file `roots`, PEM. `name`: what its certificate has to be for, where that is
    /// not the host of its address.
    pub(crate) fn read(roots: &Path, name: Option<&str>) -> Result<Self, Exit> {
        let wrong = |e: &dyn std::fmt::Display| Exit::local(roots.display(), e);
        let pem = std::fs::read(roots).map_err(|e| wrong(&e))?;
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&pem) {
            store.add(root.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
        }
        if store.is_empty() {
            return Err(wrong(&"it has no certificate"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(&e))?;
        let mut config = config.with_root_certificates(store).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name: name.map(str::to_owned) })
    }

    /// Speaks it over a connection to `host`.
    pub(super) async fn over(&self, tcp: TcpStream, host: &str, limit: Duration) -> Result<Stream, String> {
        let name = self.name.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name} is no name of a server"))?;
        match timeout(limit, self.connector.connect(server, tcp)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(e)) => Err(format!("it does not prove that it is {name}: {e}")),
            Err(_) => Err(format!("no TLS within {} s", limit.as_secs())),
        }
    }
}
