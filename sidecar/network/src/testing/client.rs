//! Clients that are no nodes: raw bytes, and TLS as anybody can speak it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mesh_pki::{Pair, parse_certificates, parse_key};
use rustls::{ClientConfig, crypto::ring::default_provider};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::trust_all::TrustAll;

/// A plain connection, from a given address.
pub(crate) struct Plain {
    pub(crate) tcp: TcpStream,
}

pub(crate) async fn plain_from(from: IpAddr, to: SocketAddr) -> Plain {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    Plain { tcp: socket.connect(to).await.unwrap() }
}

impl Plain {
    pub(crate) async fn to(to: SocketAddr) -> Self {
        plain_from(if to.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { "::1".parse().unwrap() }, to).await
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the other side ends.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut all = Vec::new();
        let _ = timeout(Duration::from_secs(60), self.tcp.read_to_end(&mut all)).await.expect("it ends");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The next answer with a Content-Length.
    pub(crate) async fn answer(&mut self) -> String {
        answer(&mut self.tcp).await
    }

    /// One GET, and what the service says.
    pub(crate) async fn get(&mut self, headers: &str) -> serde_json::Value {
        self.write(format!("GET /seen HTTP/1.1\r\n{headers}\r\n")).await;
        json_of(&self.answer().await)
    }
}

pub(crate) fn json_of(answer: &str) -> serde_json::Value {
    let body = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}")).1;
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}"))
}

/// Reads one head of HTTP/1.1, up to the empty line that ends it and not a byte further; `None` when the connection ends before.
pub(crate) async fn head(io: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let (mut all, mut one) = (Vec::new(), [0]);
    while !all.ends_with(b"\r\n\r\n") {
        io.read_exact(&mut one).await.ok()?;
        all.extend_from_slice(&one);
    }
    Some(String::from_utf8_lossy(&all).into_owned())
}

/// Reads one HTTP/1.1 answer.
pub(crate) async fn answer(io: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut all = Vec::new();
    let mut one = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                return text;
            }
        }
        match timeout(Duration::from_secs(60), io.read(&mut one)).await.expect("an answer comes") {
            Ok(0) | Err(_) => return text,
            Ok(n) => all.extend_from_slice(&one[..n]),
        }
    }
}

/// A TLS client that trusts everybody and shows what it is told to.
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
}

pub(crate) fn tls_client(pair: Option<&Pair>, alpn: &[&str]) -> TlsClient {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll));
    let mut config = match pair {
        Some(pair) => {
            let chain = parse_certificates(&pair.chain_pem).unwrap();
            builder.with_client_auth_cert(chain, parse_key(pair.key.expose()).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    TlsClient { config: Arc::new(config) }
}

impl TlsClient {
    pub(crate) async fn connect(&self, to: SocketAddr) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("node.example").unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, Plain::to(to).await.tcp).await.unwrap()
    }

    /// One GET over HTTP/1.1, and what the service says.
    pub(crate) async fn get(&self, to: SocketAddr, headers: &str) -> serde_json::Value {
        let mut stream = self.connect(to).await;
        Self::get_on(&mut stream, headers).await
    }

    pub(crate) async fn get_on(stream: &mut TlsStream<TcpStream>, headers: &str) -> serde_json::Value {
        stream.write_all(format!("GET /seen HTTP/1.1\r\nhost: n\r\n{headers}\r\n").as_bytes()).await.unwrap();
        json_of(&answer(stream).await)
    }
}
