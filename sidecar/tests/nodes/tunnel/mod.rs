//! The network controller of a real node: its control plane as legacy clients, administrators and people use it.

mod certificates;
mod commands;
mod contract;
mod crashes;
mod device;
mod joined;
mod moving;
mod original;
mod ours;

use std::net::{Ipv4Addr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper_util::rt::TokioIo;
use mesh_pki::{Pair, PrivateKeyPem};
use proto::nc::{
    GetTokenRequest, GetTokenResponse, lite_kube_nc_bootstrap_service_client::LiteKubeNcBootstrapServiceClient,
    lite_kube_nc_service_client::LiteKubeNcServiceClient,
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Client, Node, Socket, configure_as, free_port, tls};

pub(crate) type Tls = TlsStream<TcpStream>;

/// A node with a network controller.
pub(crate) struct Stage {
    node: Node,
    pub(crate) tunnel: SocketAddr,
    register: SocketAddr,
    bootstrap: SocketAddr,
}

impl Stage {
    async fn new() -> Self {
        Self::beside(&[]).await
    }

    /// The same with more variables.
    pub(crate) async fn beside(more: &[(&str, &str)]) -> Self {
        let variables = [&[("MESH_TUNNEL_ADVERTISE", "127.0.0.1")], more].concat();
        Self::made_by(async |ports| Node::with(&[&variables, ports].concat()).await).await
    }

    /// The same with more members of the section `tunnel`, as YAML.
    async fn with(members: &str) -> Self {
        let section = format!("tunnel: {{advertise: 127.0.0.1, {members}}}\n");
        Self::made_by(async |ports| {
            Node::run(free_port(), ports, |home, mesh| {
                configure_as(home, &section);
                mesh
            })
            .await
        })
        .await
    }

    async fn made_by(make: impl AsyncFnOnce(&[(&str, &str)]) -> Node) -> Self {
        let [tunnel, register, bootstrap] = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let at = [tunnel, register, bootstrap].map(|at| at.to_string());
        let node = make(&[
            ("MESH_TUNNEL_LISTEN", &at[0]),
            ("MESH_TUNNEL_GRPC_LISTEN", &at[1]),
            ("MESH_TUNNEL_BOOTSTRAP_LISTEN", &at[2]),
        ])
        .await;
        Self { node, tunnel, register, bootstrap }
    }

    /// The administrator's pair, as `ncadm` is given it.
    fn admin(&self) -> Pair {
        let read = |name: &str| std::fs::read_to_string(self.node.home().join("tunnel/admin").join(name)).unwrap();
        Pair { chain_pem: read("client.pem"), key: PrivateKeyPem::new(read("client-key.pem")) }
    }

    async fn as_admin(&self) -> LiteKubeNcServiceClient<Channel> {
        let pair = self.admin();
        LiteKubeNcServiceClient::new(channel(tls(self.register, Client::Pair(&pair), &["h2"]).await).await)
    }

    pub(crate) async fn joins(&self, bootstrap: &str) -> GetTokenResponse {
        self.tries(bootstrap).await.unwrap()
    }

    /// The same for a node that may be gone at any moment.
    async fn tries(&self, bootstrap: &str) -> Result<GetTokenResponse, tonic::Status> {
        let channel = channel(tls(self.bootstrap, Client::Nothing, &["h2"]).await).await;
        let ask = GetTokenRequest { boot_strap_token: bootstrap.into() };
        LiteKubeNcBootstrapServiceClient::new(channel).get_token(ask).await.map(tonic::Response::into_inner)
    }

    /// Opens a node's tunnel, as legacy clients do. Answers its address with the length of the network's prefix.
    pub(crate) async fn opens(&self, token: &str) -> (Socket<Tls>, String) {
        let stream = tls(self.tunnel, Client::Nothing, &[]).await;
        let mut socket = Socket::over(stream, "ws://127.0.0.1/ws", &[("Node-Token", token)]).await.unwrap();
        let address = greeted(&mut socket).await;
        (socket, address)
    }

    fn command(&self, args: &[&str]) -> std::process::Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        command.args(args).env("MESH_HOME", self.node.home()).env("MESH_ADMIN_LISTEN", self.node.admin.to_string());
        command.output().unwrap()
    }

    /// What a command that succeeds prints.
    pub(crate) fn mesh(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.mesh(&[args, &["-o", "json"]].concat())).unwrap()
    }
}

/// Asks for the address, and reads it.
async fn greeted(socket: &mut Socket<Tls>) -> String {
    socket.says(r#"{"connectionState":2,"payload":null}"#).await;
    let reply: Value = serde_json::from_slice(&socket.next().await.into_data()).unwrap();
    assert_eq!(reply["connectionState"], 2);
    let cidr = STANDARD.decode(reply["payload"].as_str().unwrap()).unwrap();
    String::from_utf8(cidr).unwrap()
}

/// A certificate or key of an answer.
fn pem(field: &str) -> String {
    String::from_utf8(STANDARD.decode(field).unwrap()).unwrap()
}

/// gRPC over a connection that is there, whose TLS it does not know of; there is no second one.
async fn channel(stream: TlsStream<TcpStream>) -> Channel {
    Endpoint::from_static("http://127.0.0.1").connect_with_connector(Once(Some(stream))).await.unwrap()
}

struct Once(Option<TlsStream<TcpStream>>);

impl tower_service::Service<http::Uri> for Once {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let gone = || std::io::Error::new(std::io::ErrorKind::NotConnected, "the connection is over");
        std::future::ready(self.0.take().map(TokioIo::new).ok_or_else(gone))
    }
}
