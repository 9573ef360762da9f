//! Ports 6440 and 6439: TLS, HTTP/2, and the bounds of both. What is asked is the services' business.
//!
//! tonic serves the messages, which are small; a connection belongs to one task of its own, also one that came through the tunnel.

use std::{convert::Infallible, fmt, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::Drained;
use proto::{
    health::health_server::HealthServer,
    nc::{
        lite_kube_nc_bootstrap_service_server::LiteKubeNcBootstrapServiceServer,
        lite_kube_nc_service_server::LiteKubeNcServiceServer,
    },
    tunnel::{administration_server::AdministrationServer, enrolment_server::EnrolmentServer},
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;
use tonic::{Status, body::Body, service::Routes};
use tower_service::Service as _;

use super::{
    Control, ControlError,
    administration::AdministrationDesk,
    bootstrap::BootstrapPlane,
    caller::{Caller, Shown},
    enrol::EnrolmentDesk,
    health::Watched,
    register::RegisterPlane,
};
use crate::seam::{PeerId, Stream};

/// A machine that needs longer for a handshake is none that joins.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// No call takes as long; the longest waits for the disk. Legacy clients set no limit of their own, so the server always answers.
const CALL: Duration = Duration::from_secs(30);
/// A token, or two requests for certificates with RSA keys, are far below.
const MOST_OF_MESSAGE: usize = 64 << 10;
/// Connections of a port. A node has one of them, for seconds.
const CONNECTIONS: usize = 4096;
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
    connections: Arc<Semaphore>,
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
        Ok(Self { control, port, routes, connections: Arc::new(Semaphore::new(CONNECTIONS)), drained })
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
        let Ok(_place) = Arc::clone(&self.connections).try_acquire_owned() else {
            tracing::warn!(port = ?self.port, "{CONNECTIONS} connections are open: another one is refused");
            return;
        };
        let planes = &self.control.authority;
        let tls = match self.port {
            Port::Register => planes.register.requiring(),
            Port::Bootstrap => planes.register.verifying(),
        };
        let stream = match timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(port = ?self.port, %source, "no handshake: {error}"),
            Err(_) => return tracing::debug!(port = ?self.port, %source, "no handshake within {HANDSHAKE:?}"),
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let shown = certificates.and_then(|chain| chain.first()).and_then(Shown::of);
        let stays = if shown.is_some() { None } else { Some(STRANGERS_STAY) };
        let caller = Caller { source: SocketAddr::new(source.ip().to_canonical(), source.port()), through, shown };
        let routes = self.routes.clone();
        let service = service_fn(move |request| answer(routes.clone(), caller.clone(), request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADERS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ending = async {
            match stays {
                Some(stay) => {
                    tokio::select! { () = self.drained.asked() => {} () = tokio::time::sleep(stay) => {} }
                }
                None => self.drained.asked().await,
            }
        };
        tokio::select! {
            ended = connection.as_mut() => return note(ended),
            () = ending => connection.as_mut().graceful_shutdown(),
        }
        if let Ok(ended) = timeout(LAST_CALLS, connection).await {
            note(ended);
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

async fn answer(mut routes: Routes, caller: Caller, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(caller);
    match timeout(CALL, routes.call(request)).await {
        Ok(answered) => answered,
        Err(_) => Ok(Status::deadline_exceeded("the call took too long").into_http()),
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({:?})", self.port)
    }
}
