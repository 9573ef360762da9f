//! A TLS client that believes every server: what is tested is what the server believes of the client.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use mesh_pki::Pair;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::http::{Answer, connect, exchange};

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
        .with_custom_certificate_verifier(Arc::new(BelievesAll));
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

#[derive(Debug)]
struct BelievesAll;

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
