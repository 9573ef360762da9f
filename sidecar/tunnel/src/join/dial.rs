//! A connection with TLS to one of a server's ports.

use std::{io, sync::Arc, time::Duration};

use mesh_network::dial::{Given, Patience, Resolver, open_first};
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Name servers answer in milliseconds or not at all.
const RESOLVE: Duration = Duration::from_secs(10);
/// How long the server is waited for: a few lost SYNs, as on a radio link.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(10), acknowledge: Duration::from_secs(45) };
/// How long its TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Whether the server denies this node's certificate, on a connection whose handshake is done: TLS 1.3 says it behind that, and
/// the server has proved who it is by then. Before, anybody on the way can say so.
pub(super) fn is_denied(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(AlertDescription::CertificateRevoked)))
}

/// Connects to `host:port` and speaks TLS as `config` says.
pub(super) async fn tls(host: &str, port: u16, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no host name"))?;
    let tcp = tcp(host, port).await?;
    let done = timeout(HANDSHAKE, TlsConnector::from(config).connect(name, tcp)).await;
    match done {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(format!("TLS with {host}:{port}: {e}")),
        Err(_) => Err(format!("TLS with {host}:{port} takes more than {HANDSHAKE:?}")),
    }
}

/// Connects to `host:port`.
pub(super) async fn tcp(host: &str, port: u16) -> Result<TcpStream, String> {
    let ips = timeout(RESOLVE, Resolver::default().resolve(host)).await;
    let ips = ips.map_err(|_| format!("the name servers do not answer for {host}"))??;
    let opened = open_first(ips, port, &[], Given::ByOperator, PATIENCE).await;
    opened.map_err(|last| match last {
        Some((to, why)) => format!("{to}: {why:?}"),
        None => format!("{host} has no address"),
    })
}

/// The two parts of `host:port`, brackets of IPv6 taken off.
pub(super) fn split(place: &str) -> Option<(&str, u16)> {
    let (host, port) = place.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}
