//! A control plane on loopback, and clients of it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use mesh_core::{Drain, store::Store};
use mesh_pki::{parse_certificates, parse_key};
use parking_lot::Mutex;
use proto::{
    nc::{
        CheckConnResponse, CheckConnStateRequest, GetBootStrapTokenRequest, GetBootStrapTokenResponse,
        GetRegistedIpRequest, GetRegistedIpResponse, GetTokenRequest, GetTokenResponse, UnRegisterRequest,
        UnRegisterResponse, lite_kube_nc_bootstrap_service_client::LiteKubeNcBootstrapServiceClient,
        lite_kube_nc_service_client::LiteKubeNcServiceClient,
    },
    tunnel::administration_client::AdministrationClient,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::super::{Certificates, Control, FrontDesk, Port, Ports, Roles, Setup};
use crate::{
    authority::{Authority, Issued, Places},
    ledger::{Change, Shelf, StoreShelf, Unwritten},
    seam::{Cut, Desk as _, Figures, Moved, PeerId, Route, Sessions},
};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a client shows.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl From<&Issued> for Credentials {
    fn from(issued: &Issued) -> Self {
        Self { certificate: issued.certificate.clone(), key: issued.key.expose().into() }
    }
}

/// A hub that remembers whom it was told to cut.
#[derive(Default)]
pub(super) struct Hub(Mutex<Vec<(PeerId, Cut)>>, Mutex<Vec<String>>);

impl Hub {
    pub(super) fn cuts(&self) -> Vec<(PeerId, Cut)> {
        self.0.lock().clone()
    }

    /// The authorities whose nodes it was told to cut.
    pub(super) fn cut_authorities(&self) -> Vec<String> {
        self.1.lock().clone()
    }
}

impl Sessions for Hub {
    fn cut(&self, peer: PeerId, why: Cut) {
        self.0.lock().push((peer, why));
    }

    fn cut_of(&self, authority: &str) -> Vec<PeerId> {
        self.1.lock().push(authority.to_owned());
        vec![PeerId(7)]
    }

    fn part(&self, peer: PeerId, why: Cut) {
        self.0.lock().push((peer, why));
    }

    fn reroute(&self) {}

    fn routes(&self) -> Vec<Route> {
        Vec::new()
    }

    fn figures(&self) -> Vec<Figures> {
        Vec::new()
    }

    fn moved(&self) -> Moved {
        Moved { packets_in: 3, bytes_out: 1400, dropped: vec![("spoofed", 2)], ..Moved::default() }
    }

    fn device_is_up(&self) -> Option<bool> {
        None
    }
}

/// A disk that is full when it is told to be.
struct Full(StoreShelf, Arc<AtomicBool>);

impl Shelf for Full {
    fn all(&self) -> Result<Vec<(String, serde_json::Value)>, Unwritten> {
        self.0.all()
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), Unwritten> {
        if self.1.load(Ordering::SeqCst) {
            return Err(Unwritten::new(&"no space left on device"));
        }
        self.0.write(changes)
    }
}

pub(super) struct Stage {
    home: tempfile::TempDir,
    _drain: Drain,
    pub(super) control: Arc<Control>,
    pub(super) desk: FrontDesk,
    pub(super) hub: Arc<Hub>,
    pub(super) disk_is_full: Arc<AtomicBool>,
    pub(super) register: SocketAddr,
    pub(super) bootstrap: SocketAddr,
    /// Of the register plane, made when its authority was a year and more old.
    pub(super) expired: Credentials,
    /// The same of the join plane, without its key.
    pub(super) expired_joiner: String,
}

/// As a node starts it, with these changes.
pub(super) fn stage(change: impl FnOnce(&mut Setup)) -> Stage {
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(home.path()).unwrap());
    let [register, bootstrap] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    for listener in [&register, &bootstrap] {
        listener.set_nonblocking(true).unwrap();
    }
    let [register_at, bootstrap_at] = [&register, &bootstrap].map(|listener| listener.local_addr().unwrap());
    let mut setup = Setup {
        home: home.path().to_owned(),
        places: Places {
            advertise: Ipv4Addr::new(203, 0, 113, 7),
            subnet: "10.1.1.1/24".parse().unwrap(),
            bound: vec![Ipv4Addr::LOCALHOST.into()],
        },
        ports: Ports { tunnel: 6441, register: register_at.port(), bootstrap: bootstrap_at.port() },
        roles: Roles::Joint,
        certificates: Certificates::Optional,
        address_lease: None,
        limits: crds::TunnelLimits::default(),
    };
    change(&mut setup);
    let past = SystemTime::now() - 400 * DAY;
    let old = Authority::open(Arc::clone(&store), &setup.places, past).unwrap();
    let (expired, expired_joiner) = old.for_legacy_node(past + DAY).unwrap();
    let disk_is_full = Arc::new(AtomicBool::new(false));
    let shelf = Full(StoreShelf(Arc::clone(&store)), Arc::clone(&disk_is_full));
    let control = Arc::new(Control::on(setup, &store, Box::new(shelf)).unwrap());
    let (drain, hub) = (Drain::new(), Arc::new(Hub::default()));
    control.set_sessions(Arc::clone(&hub) as Arc<dyn Sessions>);
    control.serve(Port::Register, register, &drain.handle()).unwrap();
    control.serve(Port::Bootstrap, bootstrap, &drain.handle()).unwrap();
    let desk = FrontDesk::new(Arc::clone(&control), drain.handle()).unwrap();
    Stage {
        home,
        _drain: drain,
        control,
        desk,
        hub,
        disk_is_full,
        register: register_at,
        bootstrap: bootstrap_at,
        expired: Credentials::from(&expired),
        expired_joiner: expired_joiner.certificate,
    }
}

/// The strings of an answer that stand for its verdict.
pub(super) trait Judged {
    fn verdict(&self) -> (&str, &str);
}

macro_rules! judged {
    ($($answer:ty),*) => {
        $(impl Judged for $answer {
            fn verdict(&self) -> (&str, &str) {
                (&self.code, &self.message)
            }
        })*
    };
}
judged!(GetBootStrapTokenResponse, GetTokenResponse, CheckConnResponse, UnRegisterResponse, GetRegistedIpResponse);

impl Stage {
    /// What the files of the administrator hold.
    pub(super) fn admin(&self) -> Credentials {
        let read = |name: &str| std::fs::read_to_string(self.home.path().join("tunnel/admin").join(name)).unwrap();
        Credentials { certificate: read("client.pem"), key: read("client-key.pem") }
    }

    /// Connects, and has said and heard something: in TLS 1.3 a client is refused after its handshake.
    pub(super) async fn channel(&self, at: SocketAddr, shows: Option<&Credentials>) -> Result<Channel, tonic::Status> {
        let connector = TlsConnector::from(Arc::new(self.tls(shows)));
        let connect = Dialler { connector, at };
        let channel = Endpoint::from_static("http://127.0.0.1").connect_with_connector(connect).await;
        channel.map_err(|e| tonic::Status::unavailable(e.to_string()))
    }

    pub(super) fn tls(&self, shows: Option<&Credentials>) -> ClientConfig {
        self.tls_of(rustls::ALL_VERSIONS, shows)
    }

    /// The same in these versions.
    pub(super) fn tls_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        shows: Option<&Credentials>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for plane in [&self.control.authority().register, &self.control.authority().join] {
            for der in parse_certificates(&plane.authority_pem()).unwrap() {
                roots.add(der).unwrap();
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            None => config.with_no_client_auth(),
            Some(shown) => config
                .with_client_auth_cert(parse_certificates(&shown.certificate).unwrap(), parse_key(&shown.key).unwrap())
                .unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// Connects to the register plane through a node's tunnel. Answers the kind of the first frame that comes back.
    pub(super) async fn greets_through(&self, peer: PeerId, shows: &Credentials) -> u8 {
        self.greets_from([10, 1, 1, 3], peer, shows).await
    }

    /// The same from this address.
    pub(super) async fn greets_from(&self, from: [u8; 4], peer: PeerId, shows: &Credentials) -> u8 {
        let (near, far) = tokio::io::duplex(64 << 10);
        self.desk.register_plane(Box::new(far), peer, (from, 40_000).into());
        let connector = TlsConnector::from(Arc::new(self.tls(Some(shows))));
        let name = ServerName::from(std::net::IpAddr::from([10, 1, 1, 1]));
        let mut stream = connector.connect(name, near).await.unwrap();
        // The preface and empty settings.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        head[3]
    }

    pub(super) async fn register_as(&self, shows: &Credentials) -> LiteKubeNcServiceClient<Channel> {
        LiteKubeNcServiceClient::new(self.channel(self.register, Some(shows)).await.unwrap())
    }

    pub(super) async fn as_admin(&self) -> LiteKubeNcServiceClient<Channel> {
        self.register_as(&self.admin()).await
    }

    pub(super) async fn administration(&self, shows: &Credentials) -> AdministrationClient<Channel> {
        AdministrationClient::new(self.channel(self.register, Some(shows)).await.unwrap())
    }

    pub(super) async fn stranger(&self) -> LiteKubeNcBootstrapServiceClient<Channel> {
        LiteKubeNcBootstrapServiceClient::new(self.channel(self.bootstrap, None).await.unwrap())
    }

    /// A bootstrap token for any number of nodes.
    pub(super) async fn minted(&self) -> String {
        mint(&mut self.as_admin().await, 10).await.boot_strap_token
    }

    /// A node that joined as legacy clients do.
    pub(super) async fn joined(&self) -> GetTokenResponse {
        let token = self.minted().await;
        let joined = get_token(&mut self.stranger().await, &token).await;
        assert_eq!(joined.verdict(), ("200", "ok"));
        joined
    }

    pub(super) fn peer(&self, joined: &GetTokenResponse) -> PeerId {
        self.control.ledger().by_token(&joined.token).unwrap().peer
    }
}

#[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
async fn dial(connector: TlsConnector, at: SocketAddr) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(at).await?;
    Ok(TokioIo::new(connector.connect(ServerName::from(at.ip()), stream).await?))
}

type Dialled = futures::future::BoxFuture<'static, std::io::Result<TokioIo<TlsStream<TcpStream>>>>;

struct Dialler {
    connector: TlsConnector,
    at: SocketAddr,
}

impl tower_service::Service<http::Uri> for Dialler {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Dialled;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Dialled {
        Box::pin(dial(self.connector.clone(), self.at))
    }
}

pub(super) async fn mint(client: &mut LiteKubeNcServiceClient<Channel>, minutes: i64) -> GetBootStrapTokenResponse {
    client.get_boot_strap_token(GetBootStrapTokenRequest { expire_time: minutes }).await.unwrap().into_inner()
}

pub(super) async fn get_token(
    client: &mut LiteKubeNcBootstrapServiceClient<Channel>,
    bootstrap: &str,
) -> GetTokenResponse {
    client.get_token(GetTokenRequest { boot_strap_token: bootstrap.into() }).await.unwrap().into_inner()
}

pub(super) async fn check(client: &mut LiteKubeNcServiceClient<Channel>, token: &str) -> CheckConnResponse {
    client.check_conn_state(CheckConnStateRequest { token: token.into() }).await.unwrap().into_inner()
}

pub(super) async fn unregister(client: &mut LiteKubeNcServiceClient<Channel>, token: &str) -> UnRegisterResponse {
    client.un_register(UnRegisterRequest { token: token.into() }).await.unwrap().into_inner()
}

pub(super) async fn ip_of(client: &mut LiteKubeNcServiceClient<Channel>, token: &str) -> GetRegistedIpResponse {
    client.get_registed_ip(GetRegistedIpRequest { token: token.into() }).await.unwrap().into_inner()
}
