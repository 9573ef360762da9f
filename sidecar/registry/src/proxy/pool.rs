//! The connections to one instance: HTTP/1.1 ones that wait for their next call, and one of HTTP/2.
//!
//! A connection is taken out, used for one call, and put back when the answer has ended. A call whose request surely was
//! not sent comes back whole, so that it may go elsewhere.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::ServiceProto;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_network::dial::Given;
use parking_lot::Mutex;

use super::body::Outgoing;
use crate::{
    Address,
    dial::{DialProblem, Dialer},
};

/// Node and uvicorn close idle connections after 5 s; a call that meets such a close may be lost, so ours go before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// More than this many waiting connections to one instance only cost memory.
const MOST_IDLE: usize = 128;
/// How many waiting connections are looked at for one that is ready before a new one is made.
const LOOKED_AT: usize = 8;
/// hyper's own default for what a head may take; stated because `huge heads` is a test.
const LONGEST_HEAD: usize = 400 * 1024;
/// Room for 64 MiB messages at datacentre delays: 4 MiB per stream keeps 10 Gb/s at 3 ms.
const STREAM_WINDOW: u32 = 4 << 20;
/// Four busy streams at once.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// A dead HTTP/2 connection is found within two of these.
const PING: Duration = Duration::from_secs(20);

/// The connections to one instance.
#[derive(Debug)]
pub(crate) struct Pool {
    address: Address,
    given: Given,
    dialer: Dialer,
    idle: Arc<Idle>,
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Outgoing>>>,
}

/// HTTP/1.1 connections that wait for their next call, the last used one on top.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<(http1::SendRequest<Outgoing>, Instant)>>);

/// A connection that was taken out.
pub(crate) enum Connection {
    /// For this call alone.
    Http1(http1::SendRequest<Outgoing>),
    /// Shared with other calls.
    Http2(http2::SendRequest<Outgoing>),
}

/// Brings an HTTP/1.1 connection back when the answer has ended; dropped without, the connection closes.
#[derive(Debug)]
pub(crate) struct Return {
    connection: http1::SendRequest<Outgoing>,
    idle: Arc<Idle>,
}

/// What became of a request.
pub(crate) enum Sent {
    /// The head of the answer, and how its connection comes back.
    Answered(Response<Incoming>, Option<Return>),
    /// Not one byte of it left; it may go elsewhere.
    Back(Box<Request<Outgoing>>),
    /// It may have arrived.
    Lost(hyper::Error),
}

impl Pool {
    pub(crate) fn new(address: Address, given: Given, dialer: Dialer) -> Self {
        Self { address, given, dialer, idle: Arc::default(), shared: tokio::sync::Mutex::new(None) }
    }

    /// A connection for one call: a waiting one, or a new one.
    ///
    /// # Errors
    /// Why no connection could be made.
    pub(crate) async fn take(&self, proto: ServiceProto) -> Result<Connection, DialProblem> {
        match proto {
            ServiceProto::Http => match self.idle.take() {
                Some(waiting) => Ok(Connection::Http1(waiting)),
                None => self.connect_http1().await.map(Connection::Http1),
            },
            ServiceProto::Grpc => self.http2().await.map(Connection::Http2),
        }
    }

    /// Sends a request over a connection that [`Self::take`] gave.
    pub(crate) async fn send(&self, connection: Connection, request: Request<Outgoing>) -> Sent {
        match connection {
            Connection::Http1(mut connection) => match connection.try_send_request(request).await {
                Ok(answer) => Sent::Answered(answer, Some(Return { connection, idle: self.idle.clone() })),
                Err(mut failed) => sent_back(failed.take_message(), failed.into_error()),
            },
            Connection::Http2(mut connection) => match connection.try_send_request(request).await {
                Ok(answer) => Sent::Answered(answer, None),
                Err(mut failed) => sent_back(failed.take_message(), failed.into_error()),
            },
        }
    }

    /// Connects and closes again: whether the instance accepts connections.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn check(&self) -> Result<(), DialProblem> {
        self.dialer.connect(&self.address, self.given).await.map(drop)
    }

    /// Closes what has waited for too long.
    pub(crate) fn sweep(&self) {
        self.idle.0.lock().retain(|(connection, since)| since.elapsed() < IDLE_TIMEOUT && !connection.is_closed());
    }

    async fn connect_http1(&self) -> Result<http1::SendRequest<Outgoing>, DialProblem> {
        let stream = self.dialer.connect(&self.address, self.given).await?;
        let handshake = http1::Builder::new().max_buf_size(LONGEST_HEAD).handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            handshake.map_err(|e| DialProblem::Handshake(self.address.clone(), e.to_string()))?;
        // The connection's own end is told to the call that uses it; nobody else wants to know.
        tokio::spawn(async move { connection.with_upgrades().await.ok() });
        Ok(sender)
    }

    /// The lock is held while a connection is made, so that a hundred first calls make one.
    async fn http2(&self) -> Result<http2::SendRequest<Outgoing>, DialProblem> {
        let mut shared = self.shared.lock().await;
        if let Some(open) = shared.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let stream = self.dialer.connect(&self.address, self.given).await?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) =
            handshake.map_err(|e| DialProblem::Handshake(self.address.clone(), e.to_string()))?;
        tokio::spawn(async move { connection.await.ok() });
        Ok(shared.insert(sender).clone())
    }
}

fn sent_back(message: Option<Request<Outgoing>>, error: hyper::Error) -> Sent {
    match message {
        Some(request) => Sent::Back(Box::new(request)),
        None => Sent::Lost(error),
    }
}

impl Idle {
    /// The last used connection that is ready. One that still finishes its last call is left for later.
    fn take(&self) -> Option<http1::SendRequest<Outgoing>> {
        let mut waiting = self.0.lock();
        let mut at = waiting.len();
        for _ in 0..LOOKED_AT {
            at = at.checked_sub(1)?;
            let (connection, since) = waiting.get(at)?;
            if connection.is_closed() || since.elapsed() >= IDLE_TIMEOUT {
                waiting.remove(at);
            } else if connection.is_ready() {
                return Some(waiting.remove(at).0);
            }
        }
        None
    }

    fn put(&self, connection: http1::SendRequest<Outgoing>) {
        let mut waiting = self.0.lock();
        if waiting.len() < MOST_IDLE && !connection.is_closed() {
            waiting.push((connection, Instant::now()));
        }
    }
}

impl Return {
    /// The answer has ended: the connection may take the next call.
    pub(crate) fn give(self) {
        self.idle.put(self.connection);
    }
}
