//! Ports 6440 and 6439: TLS, HTTP/2, and the bounds of both. What is asked is the services' business.
//!
//! tonic serves the messages, which are small; a connection belongs to one task of its own, also one that came through the tunnel.
//! Whoever is in the TLS handshake or shows no certificate has a place among so many, where the oldest of whoever has the most gives way: a
//! node that joins is done in a second, and whoever comes only to stay keeps nobody out.

use std::{
    convert::Infallible,
    fmt,
    future::pending,
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::Drained;
use mesh_network::listen::{Handshake, Handshakes};
use parking_lot::Mutex;
use proto::{
    health::health_server::HealthServer,
    nc::{
        lite_kube_nc_bootstrap_service_server::LiteKubeNcBootstrapServiceServer,
        lite_kube_nc_service_server::LiteKubeNcServiceServer,
    },
    tunnel::{administration_server::AdministrationServer, enrolment_server::EnrolmentServer},
};
use tokio::{net::TcpListener, time::timeout};
use tokio_rustls::TlsAcceptor;
use tonic::{Status, body::Body, service::Routes};
use tower_service::Service as _;
use traces::Span;

use super::{
    Control, ControlError,
    administration::AdministrationDesk,
    bootstrap::BootstrapPlane,
    caller::{Caller, Role, Shown},
    crowd::Crowd,
    enrol::EnrolmentDesk,
    health::Watched,
    places::{Place, Places},
    register::RegisterPlane,
};
use crate::seam::{PeerId, Stream};

/// A machine that needs longer for a handshake is none that joins.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// No call takes as long; the longest waits for the disk. Legacy clients set no limit of their own, so the server always answers.
const CALL: Duration = Duration::from_secs(30);
/// A token, or two requests for certificates with RSA keys, are far below.
const MOST_OF_MESSAGE: usize = 64 << 10;
/// Calls at once on a connection.
const STREAMS: u32 = 64;
/// The metadata of a call.
const HEADERS: u32 = 16 << 10;
/// A caller that is gone without a word is noticed, and its place is free.
const PING: Duration = Duration::from_secs(30);
/// Who is asked for no certificate may not keep a connection: it is told to make another one.
const STRANGERS_STAY: Duration = Duration::from_secs(60);
/// What is under way when a connection ends may take as long as a call and a little.
const LAST_CALLS: Duration = Duration::from_secs(35);
/// When the machine has no file descriptor left, some are closed meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

const REGISTER: &[&str] =
    &["pb.LiteKubeNCService", "interconn.tunnel.v1.Enrolment", "interconn.tunnel.v1.Administration"];
const BOOTSTRAP: &[&str] = &["pb.LiteKubeNCBootstrapService", "interconn.tunnel.v1.Enrolment"];

/// What spans call the methods by that are called, and all others: paths come from outside.
const METHODS: [&str; 9] = [
    "HelloWorld",
    "HealthCheck",
    "GetBootStrapToken",
    "CheckConnState",
    "UnRegister",
    "GetRegistedIp",
    "GetToken",
    "Enrol",
    "Renew",
];
const OTHER: &str = "other";

/// One of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// 6440: a client certificate is required.
    Register,
    /// 6439: a client certificate is verified if it is given.
    Bootstrap,
}

/// What a port serves.
pub(super) struct Served {
    control: Arc<Control>,
    port: Port,
    routes: Routes,
    passing: Arc<Handshakes>,
    places: Arc<Places>,
    /// Those of administrators: nodes, however many, keep none of them out.
    administrators: Arc<Places>,
    /// Those that gave way before they showed a certificate.
    strangers: Mutex<Crowd>,
    drained: Drained,
}

/// The services of a port.
fn services(control: &Arc<Control>, port: Port, drained: &Drained) -> Result<Routes, ControlError> {
    let own = || Arc::clone(control);
    let names = match port {
        Port::Register => REGISTER,
        Port::Bootstrap => BOOTSTRAP,
    };
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure();
        let builder = builder.register_encoded_file_descriptor_set(proto::NC_DESCRIPTORS);
        names.iter().chain(&["grpc.health.v1.Health"]).fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let unfit = |e: tonic_reflection::server::Error| ControlError::Reflection(e.to_string());
    let health = Watched { names, drained: drained.clone() };
    let enrolment = EnrolmentServer::new(EnrolmentDesk(own())).max_decoding_message_size(MOST_OF_MESSAGE);
    let common = Routes::new(HealthServer::new(health).max_decoding_message_size(MOST_OF_MESSAGE))
        .add_service(reflection().build_v1().map_err(unfit)?)
        .add_service(reflection().build_v1alpha().map_err(unfit)?)
        .add_service(enrolment);
    Ok(match port {
        Port::Register => common
            .add_service(LiteKubeNcServiceServer::new(RegisterPlane(own())).max_decoding_message_size(MOST_OF_MESSAGE))
            .add_service(
                AdministrationServer::new(AdministrationDesk(own())).max_decoding_message_size(MOST_OF_MESSAGE),
            ),
        Port::Bootstrap => common.add_service(
            LiteKubeNcBootstrapServiceServer::new(BootstrapPlane(own())).max_decoding_message_size(MOST_OF_MESSAGE),
        ),
    }
    .prepare())
}

impl Control {
    /// Accepts on a port until `drained` is asked.
    ///
    /// # Errors
    /// The services do not fit together, or the listener is none of a runtime's.
    pub fn serve(
        self: &Arc<Self>,
        port: Port,
        listener: std::net::TcpListener,
        drained: &Drained,
    ) -> Result<(), ControlError> {
        let listener = TcpListener::from_std(listener).map_err(ControlError::Listener)?;
        let served = Arc::new(Served::new(Arc::clone(self), port, drained.clone())?);
        drained.spawn(served.accept(listener));
        Ok(())
    }
}

impl Served {
    pub(super) fn new(control: Arc<Control>, port: Port, drained: Drained) -> Result<Self, ControlError> {
        let routes = services(&control, port, &drained)?;
        let (passing, places, administrators, strangers) = Default::default();
        Ok(Self { control, port, routes, passing, places, administrators, strangers, drained })
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.drained.asked() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, source)) => {
                    // A message is a segment; nobody should wait for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    self.drained.spawn(Arc::clone(&self).connection(stream, source, None));
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(port = ?self.port, "cannot accept: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A connection, from its handshake to its end.
    pub(super) async fn connection<S: Stream + 'static>(
        self: Arc<Self>,
        stream: S,
        source: SocketAddr,
        through: Option<PeerId>,
    ) {
        let passing = self.passing.begin(source.ip());
        let planes = &self.control.authority;
        let tls = match self.port {
            Port::Register => planes.register.requiring(),
            Port::Bootstrap => planes.register.verifying(),
        };
        let accepted = tokio::select! {
            accepted = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)) => accepted,
            () = passing.cut() => return self.stranger_gave_way(source),
        };
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(port = ?self.port, %source, "no handshake: {error}"),
            Err(_) => return tracing::debug!(port = ?self.port, %source, "no handshake within {HANDSHAKE:?}"),
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let shown = certificates.and_then(|chain| Shown::of(chain, &planes.register));
        let Some(held) = self.held(shown.as_ref(), passing) else {
            return tracing::warn!(target: "audit", port = ?self.port, %source, "as many connections are open with one certificate, or with all, as may be: another one is refused");
        };
        self.control.recognise(through, source, shown.as_ref()).await;
        let caller = Caller { source: SocketAddr::new(source.ip().to_canonical(), source.port()), through, shown };
        let routes = self.routes.clone();
        let control = Arc::clone(&self.control);
        let service =
            service_fn(move |request| answer(routes.clone(), (caller.clone(), control.span("tunnel/rpc")), request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADERS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .serve_connection(TokioIo::new(stream), service);
        let served = async {
            let mut connection = pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => return note(ended),
                () = self.drained.asked() => {}
                () = held.stayed() => {}
            }
            connection.as_mut().graceful_shutdown();
            if let Ok(ended) = timeout(LAST_CALLS, connection).await {
                note(ended);
            }
        };
        tokio::select! {
            () = served => {}
            () = held.cut() => self.gave_way(&held, source),
        }
    }

    /// What a connection holds from its handshake on; `None`: there is no place for it.
    pub(super) fn held(&self, shown: Option<&Shown>, passing: Handshake) -> Option<Held> {
        match shown {
            None => Some(Held::Passing(passing)),
            Some(Shown { key, role: Role::Admin, .. }) => self.administrators.take(key).map(Held::Place),
            Some(Shown { key, .. }) => self.places.take(key).map(Held::Place),
        }
    }

    fn gave_way(&self, held: &Held, source: SocketAddr) {
        match held {
            Held::Passing(_) => self.stranger_gave_way(source),
            Held::Place(place) => {
                tracing::warn!(target: "audit", port = ?self.port, %source, key = place.key(), "all connections are taken: the oldest of the certificate that has the most gives way");
            }
        }
    }

    fn stranger_gave_way(&self, source: SocketAddr) {
        if let Some(gone) = self.strangers.lock().gave_way(Instant::now()) {
            tracing::warn!(target: "audit", port = ?self.port, %source, gone, "too many connections are in their handshake or show no certificate: the oldest of the address that has the most gives way");
        }
    }
}

/// What a connection holds.
pub(super) enum Held {
    /// A holder of a certificate its place.
    Place(Place),
    /// A stranger what it had in its handshake.
    Passing(Handshake),
}

impl Held {
    /// Waits until it has been there for as long as it may.
    async fn stayed(&self) {
        match self {
            Self::Place(_) => pending().await,
            Self::Passing(_) => tokio::time::sleep(STRANGERS_STAY).await,
        }
    }

    /// Waits until it has to give way.
    pub(super) async fn cut(&self) {
        match self {
            Self::Place(place) => place.cut().await,
            Self::Passing(passing) => passing.cut().await,
        }
    }
}

fn note(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!("a connection of the control plane broke: {error}");
    }
}

/// Whoever broke off before it was accepted is no trouble of ours.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn answer(
    mut routes: Routes,
    (caller, span): (Caller, Option<Span>),
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(caller);
    if let Some(mut span) = span {
        span.set(
            "rpc.method",
            METHODS.into_iter().find(|known| is_called(known, request.uri().path())).unwrap_or(OTHER),
        );
        return span.around(called(&mut routes, request)).await;
    }
    called(&mut routes, request).await
}

async fn called(routes: &mut Routes, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    match timeout(CALL, routes.call(request)).await {
        Ok(answered) => answered,
        Err(_) => Ok(Status::deadline_exceeded("the call took too long").into_http()),
    }
}

/// Whether a path is that of a method: what stands behind its last slash.
fn is_called(method: &str, path: &str) -> bool {
    path.rsplit('/').next() == Some(method)
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({:?})", self.port)
    }
}
