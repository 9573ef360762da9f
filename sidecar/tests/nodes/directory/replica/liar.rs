//! Somebody between a sidecar and its gateway who has the gateway's certificate, and says something else than it does.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use rustls::{ServerConfig, crypto::ring};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Bank, Client, over_tls};

/// What is said of the directory instead of what its gateway says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// Nothing.
    None,
    /// Words that mean nothing, under 200.
    Garbage,
    /// No answer, for as long as this is the lie.
    Silence,
    /// An answer without end.
    Endless,
    /// The bodies of entries, each with one byte changed.
    Body,
    /// Something long in place of the bodies of entries.
    Flood,
}

/// The liar.
pub(super) struct Liar {
    pub(super) at: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    bank: Arc<Bank>,
    gateway: Mutex<Option<SocketAddr>>,
    lies: Mutex<Lies>,
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

impl Liar {
    pub(super) async fn new(bank: &Arc<Bank>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (at, acceptor) = (listener.local_addr().unwrap(), acceptor(bank));
        let (gateway, lies) = (Mutex::default(), Mutex::new(Lies::None));
        let shared = Arc::new(Shared { bank: Arc::clone(bank), gateway, lies });
        let served = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&served));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { at, shared }
    }

    /// Whose gateway is lied about.
    pub(super) fn of(&self, gateway: SocketAddr) {
        *self.shared.gateway.lock() = Some(gateway);
    }

    pub(super) fn says(&self, lies: Lies) {
        *self.shared.lies.lock() = lies;
    }
}

fn acceptor(bank: &Bank) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let chain = mesh_pki::parse_certificates(&bank.leaf.chain_pem).unwrap();
    let mut config = config.with_single_cert(chain, mesh_pki::parse_key(bank.leaf.key.expose()).unwrap()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    let is_of_the_directory = path.starts_with("/datanet/");
    let lie = if is_of_the_directory { *shared.lies.lock() } else { Lies::None };
    Ok(match lie {
        Lies::Garbage => whole(StatusCode::OK, Bytes::from_static(b"\0garbage{")),
        Lies::Endless => {
            let piece = || Ok(Frame::data(Bytes::from(vec![b'x'; 16 << 10])));
            Response::new(StreamBody::new(stream::repeat_with(piece)).boxed())
        }
        Lies::Silence => {
            while *shared.lies.lock() == Lies::Silence {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            whole(StatusCode::BAD_GATEWAY, Bytes::new())
        }
        Lies::Flood if path.contains("/log/body/") => whole(StatusCode::OK, Bytes::from(vec![b'x'; 300_000])),
        Lies::None | Lies::Body | Lies::Flood => {
            passed(shared, request, lie == Lies::Body && path.contains("/log/body/")).await
        }
    })
}

/// What the gateway answers, as far as there is one.
async fn passed(shared: Arc<Shared>, request: Request<Incoming>, is_changed: bool) -> Reply {
    let away = || whole(StatusCode::BAD_GATEWAY, Bytes::new());
    let Some(gateway) = *shared.gateway.lock() else { return away() };
    let (mut head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return away() };
    head.version = http::Version::HTTP_11;
    head.uri = head.uri.path_and_query().unwrap().to_string().parse().unwrap();
    let request = Request::from_parts(head, Full::new(body.to_bytes()));
    // Where it is dead, the task ends.
    let asked = tokio::spawn(async move { over_tls(gateway, Client::Pair(&shared.bank.member), request).await });
    let Ok(answer) = asked.await else { return away() };
    let mut bytes = answer.body.to_vec();
    if let Some(byte) = bytes.get_mut(7).filter(|_| is_changed) {
        *byte ^= 1;
    }
    let mut reply = whole(answer.status, bytes.into());
    reply.headers_mut().extend(answer.headers.into_iter().filter(|(name, _)| {
        name.as_ref()
            .is_some_and(|name| !["content-length", "connection", "transfer-encoding"].contains(&name.as_str()))
    }));
    reply
}

fn whole(status: StatusCode, bytes: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(bytes).boxed());
    *reply.status_mut() = status;
    reply
}
