//! Joining: with the one rpc of ours, by which keys stay where they were made; or with the legacy one, at a server that has no other.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_pki::RequestedKey;
use proto::{
    nc::{GetTokenRequest, GetTokenResponse, lite_kube_nc_bootstrap_service_client::LiteKubeNcBootstrapServiceClient},
    tunnel::{EnrolRequest, EnrolResponse, enrolment_client::EnrolmentClient},
};
use tonic::{Code, Status, body::Body};

use super::{JoinError, Member, Ticket, dial, member::Papers, trust::Trust};
use crate::seam::Stream;

/// How long an answer may take: the server makes keys, and writes to its disk.
const ANSWER: Duration = Duration::from_secs(30);

/// Joins with a token, once.
///
/// # Errors
/// See [`JoinError`].
pub async fn enrol(ticket: &Ticket) -> Result<Member, JoinError> {
    let (host, _) = place(ticket)?;
    join(&calls(ticket).await?, ticket, host).await
}

fn place(ticket: &Ticket) -> Result<(&str, u16), JoinError> {
    let none = || JoinError::Local("the token names no server: put @HOST:PORT behind it, or give --server".into());
    ticket.at.as_ref().map(|(host, port)| (host.as_str(), *port)).ok_or_else(none)
}

/// A connection to the bootstrap port, to a server that the token believes.
pub(super) async fn calls(ticket: &Ticket) -> Result<Calls, JoinError> {
    let (host, port) = place(ticket)?;
    let trust = ticket.pin.clone().map_or(Trust::Anybody, Trust::Pin);
    let stream = dial::tls(host, port, trust.config(None, &["h2"])?).await.map_err(JoinError::Unreachable)?;
    Calls::begin(stream).await.map_err(|e| JoinError::Unreachable(format!("{host}:{port}: {e}")))
}

async fn join(calls: &Calls, ticket: &Ticket, host: &str) -> Result<Member, JoinError> {
    let local = |e: &dyn std::fmt::Display| JoinError::Local(format!("a key for this node: {e}"));
    let (register_request, register_key) = RequestedKey::ask().map_err(|e| local(&e))?;
    let (join_request, join_key) = RequestedKey::ask().map_err(|e| local(&e))?;
    let ask = EnrolRequest { bootstrap_token: ticket.secret.clone(), register_request, join_request };
    let mut ours = EnrolmentClient::with_origin(calls.clone(), origin(host)?);
    match in_time(ours.enrol(ask)).await {
        Ok(joined) => Ok(enrolled(joined, register_key.expose(), join_key.expose())),
        // A pinned authority is ours, and so is its server.
        Err(status) if status.code() == Code::Unimplemented && ticket.pin.is_none() => {
            legacy(calls, ticket, host).await
        }
        Err(status) => Err(refused(&status)),
    }
}

fn enrolled(joined: EnrolResponse, register_key: &str, join_key: &str) -> Member {
    let papers = |authority, certificate, key: &str| Papers { authority, certificate, key: key.to_owned() };
    Member {
        token: joined.token,
        node: joined.node,
        tunnel: joined.tunnel_address,
        register: joined.register_address,
        join: papers(joined.join_ca, joined.join_certificate, join_key),
        registered: papers(joined.register_ca, joined.register_certificate, register_key),
    }
}

async fn legacy(calls: &Calls, ticket: &Ticket, host: &str) -> Result<Member, JoinError> {
    read_legacy(get_token(calls, ticket, host).await?)
}

pub(super) async fn get_token(calls: &Calls, ticket: &Ticket, host: &str) -> Result<GetTokenResponse, JoinError> {
    let mut theirs = LiteKubeNcBootstrapServiceClient::with_origin(calls.clone(), origin(host)?);
    let ask = GetTokenRequest { boot_strap_token: ticket.secret.clone() };
    in_time(theirs.get_token(ask)).await.map_err(|status| refused(&status))
}

/// What a legacy server gave.
pub(super) fn read_legacy(joined: GetTokenResponse) -> Result<Member, JoinError> {
    // 200 to 299 is success to LiteKube (NC section 2).
    if !joined.code.parse().is_ok_and(|code: u16| (200..300).contains(&code)) {
        return Err(JoinError::Refused(format!("the server refused: {} {}", joined.code, shown(&joined.message))));
    }
    let pem = |name: &str, text: &str| {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        bytes.ok_or_else(|| JoinError::Unreachable(format!("the server's {name} is no PEM in base64")))
    };
    let place = |ip: &str, port: &str| {
        let place = ip.parse().ok().zip(port.parse().ok()).map(|(ip, port)| SocketAddr::new(ip, port).to_string());
        place.ok_or_else(|| JoinError::Unreachable("the server tells no addresses".into()))
    };
    Ok(Member {
        tunnel: place(&joined.network_server_ip, &joined.network_server_port)?,
        register: place(&joined.grpc_server_ip, &joined.grpc_server_port)?,
        join: Papers {
            authority: pem("networkCaCert", &joined.network_ca_cert)?,
            certificate: pem("networkClientCert", &joined.network_client_cert)?,
            key: pem("networkClientKey", &joined.network_client_key)?,
        },
        registered: Papers {
            authority: pem("grpcCaCert", &joined.grpc_ca_cert)?,
            certificate: pem("grpcClientCert", &joined.grpc_client_cert)?,
            key: pem("grpcClientKey", &joined.grpc_client_key)?,
        },
        token: joined.token,
        node: String::new(),
    })
}

pub(super) fn origin(host: &str) -> Result<Uri, JoinError> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let uri = Uri::builder().scheme("https").authority(host.as_str()).path_and_query("/").build();
    uri.map_err(|_| JoinError::Local(format!("{host} is no host name")))
}

pub(super) async fn in_time<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER, call).await {
        Ok(answered) => answered.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

fn refused(status: &Status) -> JoinError {
    let text = shown(status.message());
    match status.code() {
        Code::PermissionDenied | Code::InvalidArgument | Code::AlreadyExists | Code::Unimplemented => {
            JoinError::Refused(format!("the server refused: {text}"))
        }
        _ => JoinError::Unreachable(format!("the server did not let this node join: {text}")),
    }
}

/// A foreign text, for a line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A connection of HTTP/2 as tonic's clients want it.
#[derive(Clone)]
pub(super) struct Calls(SendRequest<Body>);

impl Calls {
    /// Over a connection with TLS.
    pub(super) async fn begin<S: Stream + 'static>(stream: S) -> Result<Self, hyper::Error> {
        let begun = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (calls, connection) = begun?;
        // It ends with the last call.
        tokio::spawn(connection);
        Ok(Self(calls))
    }
}

impl tower_service::Service<Request<Body>> for Calls {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
