//! Half of a bare mTLS tunnel: rustls on one side, plain TCP on the other, bytes copied both ways.

use std::{net::Ipv4Addr, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::NAME;

/// As much as a relay that is made for bulk would take.
const COPY: usize = 256 * 1024;

/// Serves until it is killed: `side` is `out` (plain in, TLS out) or `in`.
pub(super) fn serve(port: &str, side: &str, to: &str, folder: &str) -> Result<()> {
    let (to, pair) = (to.parse()?, Material::read(Path::new(folder))?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
        match side {
            "out" => outward(listener, to, pair.client()?).await,
            "in" => inward(listener, to, pair.server()?).await,
            other => bail!("a relay is `in` or `out`, not {other}"),
        }
    })
}

async fn outward(listener: TcpListener, to: SocketAddr, connector: TlsConnector) -> Result<()> {
    loop {
        let (near, _) = listener.accept().await?;
        let connector = connector.clone();
        tokio::spawn(async move {
            near.set_nodelay(true)?;
            let far = connector.connect(ServerName::try_from(NAME)?, connect(to).await?).await?;
            copy(near, far).await
        });
    }
}

async fn inward(listener: TcpListener, to: SocketAddr, acceptor: TlsAcceptor) -> Result<()> {
    loop {
        let (near, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            near.set_nodelay(true)?;
            let near = acceptor.accept(near).await?;
            copy(near, connect(to).await?).await
        });
    }
}

async fn connect(to: SocketAddr) -> Result<TcpStream> {
    #[allow(clippy::disallowed_methods, reason = "a relay of the bench, to its own server on loopback")]
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn copy(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<()> {
    copy_bidirectional_with_sizes(&mut near, &mut far, COPY, COPY).await?;
    Ok(())
}

/// What both sides show and trust.
struct Material {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Material {
    fn read(folder: &Path) -> Result<Self> {
        let text = |name| std::fs::read_to_string(folder.join(name)).context(name);
        let mut roots = RootCertStore::empty();
        for root in mesh_pki::parse_certificates(&text("root.pem")?)? {
            roots.add(root)?;
        }
        let (chain, key) =
            (mesh_pki::parse_certificates(&text("chain.pem")?)?, mesh_pki::parse_key(&text("key.pem")?)?);
        Ok(Self { roots: Arc::new(roots), chain, key })
    }

    fn client(self) -> Result<TlsConnector> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots)
            .with_client_auth_cert(self.chain, self.key)?;
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn server(self) -> Result<TlsAcceptor> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots, Arc::clone(&provider)).build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain, self.key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
