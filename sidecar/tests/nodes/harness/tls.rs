//! A TLS client that believes every server: what is tested is what the server believes of the client.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use mesh_pki::Pair;
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::trust_all::TrustAll;
use super::http::{Answer, connect, exchange};

#[path = "../../../network/src/testing/trust_all.rs"]
mod trust_all;

/// What a client shows.
#[derive(Clone, Copy)]
pub(crate) enum Client<'p> {
    /// No certificate.
    Nothing,
    /// A pair.
    Pair(&'p Pair),
}

/// One exchange over TLS.
pub(crate) async fn over_tls(to: SocketAddr, client: Client<'_>, request: Request<Full<Bytes>>) -> Answer {
    exchange(tls(to, client, &[]).await, to, request).await
}

/// A TLS connection that offers these protocols.
pub(crate) async fn tls(to: SocketAddr, client: Client<'_>, alpn: &[&str]) -> TlsStream<TcpStream> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll));
    let mut config = match client {
        Client::Nothing => config.with_no_client_auth(),
        Client::Pair(pair) => config
            .with_client_auth_cert(
                mesh_pki::parse_certificates(&pair.chain_pem).unwrap(),
                mesh_pki::parse_key(pair.key.expose()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = connect(Ipv4Addr::LOCALHOST, to).await;
    let name = ServerName::try_from("node.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}
