//! Bytes between two TLS connections, as they come: what no hub that reads packets can beat. The tokens of the handshakes say who
//! belongs together, 2n and 2n + 1; nothing else of them is looked at.

use std::{collections::HashMap, net::Ipv4Addr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustls::{ServerConfig, crypto::ring};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::client::find;

/// As much as a relay that is made for bulk would take.
const COPY: usize = 64 * 1024;

type Waiting = Arc<Mutex<HashMap<u32, TlsStream<TcpStream>>>>;

/// Serves until it is killed.
pub(super) fn serve(port: &str, folder: &str) -> Result<()> {
    let acceptor = acceptor(Path::new(folder))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
        let waiting = Waiting::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(paired(acceptor.clone(), stream, Arc::clone(&waiting)));
        }
    })
}

fn acceptor(folder: &Path) -> Result<TlsAcceptor> {
    let text = |name| std::fs::read_to_string(folder.join(name)).context(name);
    let (chain, key) = (mesh_pki::parse_certificates(&text("chain.pem")?)?, mesh_pki::parse_key(&text("key.pem")?)?);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn paired(acceptor: TlsAcceptor, stream: TcpStream, waiting: Waiting) -> Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while find(&head, b"\r\n\r\n").is_none() {
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "no handshake");
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let (_, token) = text.split_once("node-token: ").context("no token")?;
    let token: u32 = token.split("\r\n").next().unwrap_or_default().parse()?;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await?;
    stream.flush().await?;
    let other = waiting.lock().remove(&(token ^ 1));
    match other {
        Some(mut other) => drop(copy_bidirectional_with_sizes(&mut stream, &mut other, COPY, COPY).await?),
        None => drop(waiting.lock().insert(token, stream)),
    }
    Ok(())
}
