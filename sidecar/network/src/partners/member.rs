//! The connections to one address of a partner.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crds::PeerAddress;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::Body;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::{Instant, timeout};

use super::{health::Health, pool::Pool};
use crate::{
    RouteError,
    dial::{Address, Failure, Link},
    http2_sizes as sizes,
    tls::Agreed,
};

/// A connection is replaced at this age, so that calls spread again over what stands behind a partner's address; a tenth
/// more or less, so that connections made together do not end together.
const AGE: Duration = Duration::from_secs(600);
/// An HTTP/1.1 connection that was idle for longer may have been closed by the partner just now.
const IDLE: Duration = Duration::from_secs(20);
/// What hyper needs to finish the exchange before. Longer means that the partner answered early and does not read the rest.
const SETTLE: Duration = Duration::from_millis(50);
/// Idle HTTP/1.1 connections to one address.
const MOST_IDLE: usize = 64;
/// Calls on one HTTP/2 connection, if the partner permits more; then a second connection is opened.
const MOST_STREAMS: usize = 1000;
/// HTTP/2 pings after this silence while a call waits: a third of the 60 s after which middle boxes cut.
const PING: Duration = Duration::from_secs(20);

/// One address.
pub(super) struct Member {
    label: String,
    address: Result<Address, RouteError>,
    server_name: String,
    health: Mutex<Health>,
    shared: Mutex<Vec<Shared>>,
    idle: Mutex<Vec<Single>>,
    /// One dial at a time while a connection may be shared.
    dialling: tokio::sync::Mutex<()>,
    speaks_h1: AtomicBool,
}

/// An HTTP/2 connection: many calls at once.
struct Shared {
    sender: http2::SendRequest<Body>,
    /// How many calls the partner permits; it may say so at any time.
    room: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    ends: Instant,
}

/// An HTTP/1.1 connection: one call at a time.
pub(super) struct Single {
    pub(super) sender: http1::SendRequest<Body>,
    ends: Instant,
    since: Instant,
}

/// The right to send one request on a connection.
pub(super) enum Ticket {
    H2(http2::SendRequest<Body>, Counted),
    H1(Single),
}

/// Counts one call on a shared connection for as long as it lives.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Member {
    pub(super) fn new(given: &PeerAddress) -> Self {
        Self {
            label: given.address.clone(),
            address: Address::parse(&given.address),
            server_name: given.server_name.clone(),
            health: Mutex::default(),
            shared: Mutex::default(),
            idle: Mutex::default(),
            dialling: tokio::sync::Mutex::new(()),
            speaks_h1: AtomicBool::new(false),
        }
    }

    /// The address as the route has it.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// What is asked for: `:authority` and `Host`.
    pub(super) fn authority(&self) -> &str {
        let bare = self.label.split_once("://").map_or(self.label.as_str(), |(_, rest)| rest);
        bare.split(['/', '?', '#']).next().unwrap_or(bare)
    }

    pub(super) fn health(&self) -> Health {
        *self.health.lock()
    }

    pub(super) fn answered(&self) {
        let mut health = self.health.lock();
        if health.is_failing() {
            health.answered();
        }
    }

    /// Drops all connections that no call uses.
    pub(super) fn forget(&self) {
        self.shared.lock().clear();
        self.idle.lock().clear();
    }

    /// A connection with room for one more call; says whether it is a new one.
    pub(super) async fn checkout(&self, pool: &Arc<Pool>) -> Result<(Ticket, Freshness), RouteError> {
        if let Some(ticket) = self.ready().await {
            return Ok((ticket, Freshness::Used));
        }
        // Whoever waits for somebody else's dial finds its connection here; over HTTP/1.1 everybody needs one of his own.
        let turn = if self.speaks_h1.load(Ordering::Relaxed) { None } else { Some(self.dialling.lock().await) };
        if turn.is_some()
            && let Some(ticket) = self.ready().await
        {
            return Ok((ticket, Freshness::Used));
        }
        Ok((self.dial(pool).await?, Freshness::New))
    }

    /// Dials on the side and keeps the connection.
    pub(super) async fn probe(&self, pool: &Arc<Pool>) {
        if let Ok(Ticket::H1(single)) = self.dial(pool).await {
            self.give_back(single);
        }
    }

    /// Takes an HTTP/1.1 connection back whose answer was read to its end.
    pub(super) fn give_back(&self, mut single: Single) {
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE && !single.sender.is_closed() {
            single.since = Instant::now();
            idle.push(single);
        }
    }

    async fn ready(&self) -> Option<Ticket> {
        let now = Instant::now();
        if let Some(ticket) = self.shared_ticket(now) {
            return Some(ticket);
        }
        loop {
            let mut single = self.idle.lock().pop()?;
            let is_good = single.ends > now && single.since + IDLE > now;
            if is_good && matches!(timeout(SETTLE, single.sender.ready()).await, Ok(Ok(()))) {
                return Some(Ticket::H1(single));
            }
        }
    }

    fn shared_ticket(&self, now: Instant) -> Option<Ticket> {
        let mut shared = self.shared.lock();
        shared.retain(|one| !one.sender.is_closed() && one.ends > now);
        shared.iter().find_map(Shared::ticket)
    }

    async fn dial(&self, pool: &Arc<Pool>) -> Result<Ticket, RouteError> {
        let address = self.address.as_ref().map_err(Clone::clone)?;
        if let Some(proxy) = pool.proxy() {
            let rule = "it is a proxy, and this version does not dial through one: take it out of the route";
            return Err(RouteError::BadAddress { address: proxy.to_owned(), rule });
        }
        pool.metrics.dials.inc();
        // In a box: a handshake is larger than the call that waits for it.
        let dialling = Box::pin(pool.dialler.dial(address, &self.server_name, pool.given, &pool.tls, &pool.trust));
        let opened = match dialling.await {
            Ok(link) => self.open(link, pool).await,
            Err(failure) => Err(failure),
        };
        match opened {
            Ok(ticket) => {
                self.answered();
                Ok(ticket)
            }
            Err(failure) => {
                pool.metrics.dials_failed.inc();
                self.health.lock().failed(Instant::now());
                Err(self.error(failure, pool))
            }
        }
    }

    async fn open(&self, link: Link, pool: &Arc<Pool>) -> Result<Ticket, Failure> {
        let ends = Instant::now() + AGE.mul_f64(rand::rng().random_range(0.9..1.1));
        let io = TokioIo::new(link.stream);
        let broken = |e: hyper::Error| Failure::Unreachable(format!("no HTTP there: {e}"));
        if link.agreed == Agreed::H2 {
            let (sender, mut connection) = h2_builder().handshake(io).await.map_err(broken)?;
            let room = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
            let shown = Arc::clone(&room);
            run(
                pool,
                std::future::poll_fn(move |cx| {
                    let done = Pin::new(&mut connection).poll(cx);
                    shown.store(connection.current_max_send_streams(), Ordering::Relaxed);
                    done
                }),
            );
            let one = Shared { sender, room, calls: Arc::default(), ends };
            let ticket = one.always();
            self.shared.lock().push(one);
            return Ok(ticket);
        }
        self.speaks_h1.store(true, Ordering::Relaxed);
        let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
        run(pool, connection.with_upgrades());
        Ok(Ticket::H1(Single { sender, ends, since: Instant::now() }))
    }

    fn error(&self, failure: Failure, pool: &Pool) -> RouteError {
        let (node, address) = (pool.node.clone(), self.label.clone());
        match failure {
            Failure::Unreachable(reason) => RouteError::Unreachable { node, address, reason },
            Failure::Forbidden(rule) => RouteError::BadAddress { address, rule },
            Failure::Untrusted(problem) => RouteError::Untrusted { node, address, problem },
            Failure::Refused(reason) => RouteError::Refused { node, address, reason },
        }
    }
}

/// Whether a connection was made for this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    New,
    Used,
}

impl Shared {
    fn ticket(&self) -> Option<Ticket> {
        let room = self.room.load(Ordering::Relaxed).min(MOST_STREAMS);
        (self.calls.load(Ordering::Acquire) < room).then(|| self.always())
    }

    fn always(&self) -> Ticket {
        self.calls.fetch_add(1, Ordering::AcqRel);
        Ticket::H2(self.sender.clone(), Counted(Arc::clone(&self.calls)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn h2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(sizes::STREAM_WINDOW)
        .initial_connection_window_size(sizes::CONNECTION_WINDOW)
        .max_frame_size(sizes::FRAME)
        .max_send_buf_size(sizes::SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// Lets a connection work until it is over or its pool is closed.
fn run<C>(pool: &Arc<Pool>, connection: C)
where
    C: Future<Output = hyper::Result<()>> + Send + 'static,
{
    let (close, node, open) = (pool.close.clone(), pool.node.clone(), pool.metrics.connections.clone());
    open.inc();
    tokio::spawn(async move {
        tokio::select! {
            done = connection => {
                if let Err(e) = done {
                    tracing::debug!(%node, "connection to the partner ended: {e}");
                }
            }
            () = close.cancelled() => {}
        }
        open.dec();
    });
}
