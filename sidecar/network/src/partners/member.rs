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
use http::{Request, Uri, uri};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::Body;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    bundle,
    exchange::{alert_from, alert_in},
    health::Health,
    lane::{Connections, Counted, Lane, Sender, Shared},
    pool::Pool,
    pulse::{Felt, Pulse, Watched},
    slip::{Kind, Place},
};
use crate::{
    RouteError,
    bundle::MOST_CALLS,
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
/// What `/stats` gets on a new connection, which says what answers there: two round trips of the slowest link.
const STATS: Duration = Duration::from_secs(5);
/// Whoever keeps silent about its kind is taken for another kind, and asked again this soon, on another connection.
const SILENT_AGE: Duration = Duration::from_secs(30);
/// HTTP/2 pings after this silence while a call waits: a third of the 60 s after which middle boxes cut.
const PING: Duration = Duration::from_secs(20);

/// One address.
pub(super) struct Member {
    place: Place,
    label: String,
    address: Result<Address, RouteError>,
    server_name: String,
    health: Mutex<Health>,
    /// The last dial, if it failed.
    failed: Mutex<Option<Failed>>,
    brief: Way,
    small: Way,
    large: Way,
    idle: Mutex<Vec<Single>>,
    speaks_h1: AtomicBool,
    /// As far as is known: what our kind did not agree on at the last dial, it may the next time.
    knows_bundles: AtomicBool,
}

/// The connections of one lane.
#[derive(Default)]
struct Way {
    shared: Connections,
    /// One dial at a time while a connection may be shared.
    dialling: tokio::sync::Mutex<()>,
}

/// A dial that failed.
struct Failed {
    at: Instant,
    error: RouteError,
}

/// An HTTP/1.1 connection: one call at a time.
pub(super) struct Single {
    pub(super) sender: http1::SendRequest<Body>,
    ends: Instant,
    since: Instant,
}

/// The right to send one request on a connection.
pub(super) enum Ticket {
    Shared(Sender, Counted, Kind),
    H1(Single),
}

impl Member {
    pub(super) fn new(given: &PeerAddress) -> Self {
        Self {
            place: Place::new(&given.address),
            label: given.address.clone(),
            address: Address::parse(&given.address),
            server_name: given.server_name.clone(),
            health: Mutex::default(),
            failed: Mutex::default(),
            brief: Way::default(),
            small: Way::default(),
            large: Way::default(),
            idle: Mutex::default(),
            speaks_h1: AtomicBool::new(false),
            knows_bundles: AtomicBool::new(true),
        }
    }

    /// The address as the route has it.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The address as callers remember it.
    pub(super) fn place(&self) -> &Place {
        &self.place
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
        self.brief.shared.forget();
        self.small.shared.forget();
        self.large.shared.forget();
        self.idle.lock().clear();
    }

    /// A connection with room for one more call; says whether it is a new one.
    pub(super) async fn checkout(&self, lane: Lane, pool: &Arc<Pool>) -> Result<(Ticket, Freshness), RouteError> {
        if let Some(ticket) = self.ready(lane).await {
            return Ok((ticket, Freshness::Used));
        }
        if let Some(error) = self.rests() {
            return Err(error);
        }
        // Whoever waits for somebody else's dial finds its connection here, or shares its failure: calls to an address that
        // swallows everything must not wait for one another. Over HTTP/1.1 everybody needs a connection of his own.
        let asked = Instant::now();
        let speaks_h1 = self.speaks_h1.load(Ordering::Relaxed);
        let turn = if speaks_h1 { None } else { Some(self.way(lane).dialling.lock().await) };
        if turn.is_some() {
            if let Some(ticket) = self.ready(lane).await {
                return Ok((ticket, Freshness::Used));
            }
            if let Some(failed) = self.failed.lock().as_ref().filter(|failed| failed.at > asked) {
                return Err(failed.error.clone());
            }
        }
        Ok((self.dial(lane, pool).await?, Freshness::New))
    }

    /// Why the address is not even dialled: it let the last dial wait, and rests.
    fn rests(&self) -> Option<RouteError> {
        if !self.health().refuses(Instant::now()) {
            return None;
        }
        self.failed.lock().as_ref().map(|failed| failed.error.clone())
    }

    fn way(&self, lane: Lane) -> &Way {
        match lane {
            Lane::Brief => &self.brief,
            Lane::Small => &self.small,
            Lane::Large => &self.large,
        }
    }

    /// Dials on the side and keeps the connection.
    pub(super) async fn probe(&self, pool: &Arc<Pool>) {
        if let Ok(Ticket::H1(single)) = self.dial(Lane::Small, pool).await {
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

    async fn ready(&self, lane: Lane) -> Option<Ticket> {
        let now = Instant::now();
        if let Some(ticket) = self.way(lane).shared.ticket(lane, now) {
            return Some(ticket);
        }
        if lane == Lane::Brief
            && !self.knows_bundles.load(Ordering::Relaxed)
            && let Some(ticket) = self.small.shared.ticket(Lane::Small, now)
        {
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

    async fn dial(&self, lane: Lane, pool: &Arc<Pool>) -> Result<Ticket, RouteError> {
        let address = self.address.as_ref().map_err(Clone::clone)?;
        if let Some(proxy) = pool.proxy() {
            let rule = "it is a proxy, and this version does not dial through one: take it out of the route";
            return Err(RouteError::BadAddress { address: proxy.to_owned(), rule });
        }
        pool.metrics.dials.inc();
        let began = Instant::now();
        // In a box: a handshake is larger than the call that waits for it.
        let offer = if lane == Lane::Brief { &pool.tls.bundle } else { &pool.tls.http };
        let dialling = Box::pin(pool.dialler.dial(address, &self.server_name, pool.given, offer, &pool.trust));
        let opened = match dialling.await {
            Ok(link) => self.open(link, lane, pool).await,
            Err(failure) => Err(failure),
        };
        match opened {
            Ok(ticket) => {
                self.answered();
                Ok(ticket)
            }
            Err(failure) => {
                pool.metrics.dials_failed.inc();
                let (error, at) = (self.error(failure, pool), Instant::now());
                *self.failed.lock() = Some(Failed { at, error: error.clone() });
                self.health.lock().failed(at, at - began);
                Err(error)
            }
        }
    }

    async fn open(&self, link: Link, lane: Lane, pool: &Arc<Pool>) -> Result<Ticket, Failure> {
        let ends = Instant::now() + AGE.mul_f64(rand::rng().random_range(0.9..1.1));
        // Ended by itself, or with its pool.
        let dead = pool.close.child_token();
        self.speaks_h1.store(link.agreed == Agreed::H1, Ordering::Relaxed);
        if lane == Lane::Brief {
            self.knows_bundles.store(link.agreed == Agreed::Bundle, Ordering::Relaxed);
        }
        if link.agreed == Agreed::Bundle {
            return self.open_bundle(link, (ends, dead), pool).await;
        }
        let was_offered = lane == Lane::Brief;
        // Those who do not know bundles get brief calls like any other small ones.
        let lane = if lane == Lane::Brief { Lane::Small } else { lane };
        let pulse = Pulse::default();
        let io = TokioIo::new(Felt::new(link.stream, &pulse, &dead));
        if link.agreed == Agreed::H1 {
            let (sender, connection) = http1::handshake(io).await.map_err(|e| no_http(&e))?;
            run(pool, connection.with_upgrades(), dead);
            return Ok(Ticket::H1(Single { sender, ends, since: Instant::now() }));
        }
        let (mut sender, mut connection) = h2_builder().handshake(io).await.map_err(|e| no_http(&e))?;
        let room = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let shown = Arc::clone(&room);
        run(
            pool,
            std::future::poll_fn(move |cx| {
                let done = Pin::new(&mut connection).poll(cx);
                shown.store(connection.current_max_send_streams(), Ordering::Relaxed);
                done
            }),
            dead.clone(),
        );
        let stats = self.stats()?;
        let (kind, ends) = match timeout(STATS, ask(&mut sender, &stats)).await {
            Ok(kind) => (kind?, ends),
            Err(_) => (Kind::Other, Instant::now() + SILENT_AGE),
        };
        let calls = Arc::default();
        if kind == Kind::Ours && !was_offered {
            // It may have learnt of them.
            self.knows_bundles.store(true, Ordering::Relaxed);
        }
        if kind == Kind::Ours && lane == Lane::Small {
            let (sender, calls) = (sender.clone(), Arc::downgrade(&calls));
            tokio::spawn(Watched { pulse, sender, calls, stats, dead }.watch());
        }
        let sender = Sender::H2(sender);
        Ok(self.way(lane).shared.keep(Shared { sender, room, calls, ends, kind }))
    }

    /// Only our own kind agrees on it, so nobody is asked.
    async fn open_bundle(
        &self,
        link: Link,
        (ends, dead): (Instant, CancellationToken),
        pool: &Arc<Pool>,
    ) -> Result<Ticket, Failure> {
        let begun = timeout(STATS, bundle::begin(link.stream)).await;
        let begun = begun.map_err(|_| Failure::Unreachable("it agreed on a bundle and keeps silent".to_owned()))?;
        let (handle, carrier) = begun.map_err(|e| {
            alert_from(&e).map_or_else(|| Failure::Unreachable(format!("no bundle there: {e}")), Failure::Refused)
        })?;
        run(pool, carrier.run(), dead);
        let (room, calls) = (Arc::new(AtomicUsize::new(MOST_CALLS)), Arc::default());
        let one = Shared { sender: Sender::Bundle(handle), room, calls, ends, kind: Kind::Ours };
        Ok(self.brief.shared.keep(one))
    }

    fn stats(&self) -> Result<Uri, Failure> {
        let uri =
            Uri::builder().scheme(uri::Scheme::HTTPS).authority(self.authority()).path_and_query("/stats").build();
        uri.map_err(|e| Failure::Unreachable(format!("{}: {e}", self.authority())))
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

/// What answers on a new connection. Over HTTP/1.1 nobody is asked: our kind agrees on HTTP/2.
async fn ask(sender: &mut http2::SendRequest<Body>, stats: &Uri) -> Result<Kind, Failure> {
    let mut request = Request::new(Body::Empty);
    request.uri_mut().clone_from(stats);
    let answer = sender.send_request(request).await.map_err(|e| no_http(&e))?;
    Ok(Kind::of_stats(&answer))
}

/// Why a new connection carries nothing: in TLS 1.3 a refusal of our certificate arrives only now.
fn no_http(error: &hyper::Error) -> Failure {
    alert_in(error).map_or_else(|| Failure::Unreachable(format!("no HTTP there: {error}")), Failure::Refused)
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

/// Lets a connection work until it is over or `dead`.
fn run<C, E>(pool: &Arc<Pool>, connection: C, dead: CancellationToken)
where
    C: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send,
{
    let (node, open) = (pool.node.clone(), pool.metrics.connections.clone());
    open.inc();
    tokio::spawn(async move {
        tokio::select! {
            done = connection => {
                if let Err(e) = done {
                    tracing::debug!(%node, "connection to the partner ended: {e}");
                }
            }
            () = dead.cancelled() => {}
        }
        open.dec();
    });
}
