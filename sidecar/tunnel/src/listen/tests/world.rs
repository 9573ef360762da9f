//! A server on loopback, and nodes that join it.

#![allow(clippy::disallowed_methods, reason = "loopback, in tests")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crds::Tunnel;
use mesh_core::{Drain, Workers};
use mesh_pki::{Algorithm, Identity, LeafRequest, Root, parse_certificates, parse_key};
use mesh_websocket::{Close, Data, Opcode, Part, Read, Reader, Reading, Sender, Texts, put_masked};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring::default_provider};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    addresses::Subnet,
    hub::Hub,
    testing::{Office, tunnel},
};

/// Longer than anything may take on a busy machine; under a paused clock it means that nothing comes.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A server with its control plane.
pub(crate) struct World {
    pub(crate) office: Arc<Office>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    roots: RootCertStore,
}

/// A tunnel in which nodes reach each other.
pub(crate) fn open() -> Tunnel {
    Tunnel { interconnection: true, ..tunnel() }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(&open(), Subnet::new(Ipv4Addr::new(10, 1, 1, 1), 24).unwrap()).await
    }

    pub(crate) async fn of(tunnel: &Tunnel, subnet: Subnet) -> Self {
        let office = Office::of(subnet);
        let (server, roots) = tls();
        assert!(office.tls.set(server).is_ok());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, drain) = (listener.local_addr().unwrap(), Drain::new());
        let hub = Hub::new(Arc::clone(&office) as Arc<_>, tunnel);
        tokio::spawn(super::super::serve(listener, Arc::clone(&hub), Workers::here(), drain.handle()));
        Self { office, hub, address, drain, roots }
    }

    /// A TLS connection that offers these protocols.
    pub(crate) async fn dial(&self, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let config =
            ClientConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into()), tcp)
            .await
    }

    /// Asks for a tunnel with a token, as a legacy client does.
    pub(crate) async fn ask(&self, token: &str) -> (String, Node) {
        self.request(&request(&format!("Node-Token: {token}\r\n"))).await
    }

    /// Sends a head, and reads the head of the answer.
    pub(crate) async fn request(&self, head: impl AsRef<[u8]>) -> (String, Node) {
        let mut stream = self.dial(&[]).await.unwrap();
        stream.write_all(head.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(LONG, stream.read_u8()).await.expect("an answer").expect("an answer"));
        }
        (String::from_utf8(answer).unwrap(), Node { stream, reader: Reader::default() })
    }

    /// A node that has its address.
    pub(crate) async fn join(&self, token: &str) -> (Ipv4Addr, Node) {
        let (answer, mut node) = self.ask(token).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let address = node.greet().await;
        (address, node)
    }

    /// A new node that has its address.
    pub(crate) async fn newcomer(&self, id: u64) -> (Ipv4Addr, Node) {
        let token = self.office.issue(id);
        self.join(&token).await
    }
}

/// The head of a legacy client's request with these headers beside those that are always there.
pub(crate) fn request(more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n{more}\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
    )
}

fn tls() -> (Arc<ServerConfig>, RootCertStore) {
    let now = SystemTime::now();
    let identity = Identity { node_id: "LX0000010000280".into(), name: "tunnel".into() };
    let root = Root::generate(&identity, Algorithm::EcdsaP256, Duration::from_secs(3600), now).unwrap();
    let request = LeafRequest {
        identity,
        algorithm: Algorithm::EcdsaP256,
        lifetime: Duration::from_secs(1800),
        extra_dns: Vec::new(),
        extra_ips: vec![[127, 0, 0, 1].into()],
    };
    let pair = root.issue(&request, now).unwrap();
    let chain = parse_certificates(&pair.chain_pem).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(chain, parse_key(pair.key.expose()).unwrap()).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(parse_certificates(root.certificate_pem()).unwrap().remove(0)).unwrap();
    (Arc::new(config), roots)
}

/// A node's end of a tunnel.
pub(crate) struct Node {
    pub(crate) stream: TlsStream<TcpStream>,
    reader: Reader,
}

impl Node {
    /// Asks for the address, and reads it.
    pub(crate) async fn greet(&mut self) -> Ipv4Addr {
        self.text(br#"{"connectionState":2,"payload":null}"#).await;
        let reply: serde_json::Value = serde_json::from_slice(&self.packet().await).unwrap();
        assert_eq!(reply["connectionState"], 2);
        let cidr =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, reply["payload"].as_str().unwrap());
        let cidr = String::from_utf8(cidr.unwrap()).unwrap();
        cidr.split_once('/').unwrap().0.parse().unwrap()
    }

    /// Sends a text message.
    pub(crate) async fn text(&mut self, payload: &[u8]) {
        self.frame(Opcode::Text, payload).await;
    }

    /// Sends a frame.
    pub(crate) async fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        put_masked(&mut frame, opcode, payload, [1, 2, 3, 4]);
        self.raw(&frame).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Read> {
        let reading = Reading { texts: Texts::Bytes, sender: Sender::Server, ..Reading::messages(1 << 20) };
        loop {
            if let Some(read) = self.reader.next(reading).expect("the server keeps to the protocol") {
                return Some(read);
            }
            let mut bytes = vec![0; 16 * 1024];
            match timeout(LONG, self.stream.read(&mut bytes)).await.expect("something comes") {
                Ok(0) | Err(_) => return None,
                Ok(size) => self.reader.extend(&bytes[..size]),
            }
        }
    }

    /// The next packet. The server's pings are answered.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        loop {
            match self.next().await {
                Some(Read::Part(Part { opcode: Opcode::Text, data: Data::Binary(packet), fin: true })) => {
                    return packet.to_vec();
                }
                Some(Read::Ping(payload)) => self.frame(Opcode::Pong, &payload).await,
                other => panic!("no packet: {other:?}"),
            }
        }
    }

    /// The close that comes. Pings are answered, and packets passed over.
    pub(crate) async fn close(&mut self) -> Close {
        loop {
            match self.next().await {
                Some(Read::Close(close)) => return close,
                Some(Read::Ping(payload)) => self.frame(Opcode::Pong, &payload).await,
                Some(_) => {}
                None => panic!("the connection ended without a close"),
            }
        }
    }

    /// Its code and its reason.
    pub(crate) async fn farewell(&mut self) -> (u16, String) {
        let close = self.close().await;
        (close.code.map_or(1005, mesh_websocket::CloseCode::get), close.reason.into_owned())
    }
}
