//! The connections to one address of a partner.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use crds::PeerAddress;
use http::{Request, Uri, uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_core::Body;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Progress, bundle,
    exchange::{Undone, alert_from},
    health::{Health, SLOW},
    http2::{ask, h2_builder, no_http},
    lane::{Connections, Counted, Lane, Sender, Shared},
    pool::Pool,
    pulse::{Arrival, Felt, Pulse, Watched},
    slip::{Kind, Place, Slip, instance_of},
    state::AddressState,
};
use crate::{
    RouteError,
    bundle::CALLS_OF_A_BUNDLE,
    dial::{Address, CONNECT, CONNECT_OF_SEVERAL, Failure, Link, Proxy, Target, shown, socket_of},
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
/// What a health check waits for the answer (PTP section 11.4).
const CHECK: Duration = Duration::from_secs(10);
/// One address.
pub(super) struct Member {
    place: Place,
    label: String,
    address: Result<Address, RouteError>,
    authority: String,
    /// The address's own; before the route's.
    proxy: Option<Result<Proxy, RouteError>>,
    server_name: String,
    instance: ArcSwapOption<Arc<str>>,
    health: Arc<Mutex<Health>>,
    /// The last dial, if it failed.
    failed: Arc<Mutex<Option<Failed>>>,
    brief: Way,
    small: Way,
    large: Way,
    idle: Mutex<Vec<Single>>,
    speaks_h1: AtomicBool,
    /// Whether its last check failed, which is said once.
    is_ill: AtomicBool,
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
    pub(super) fn new(given: &PeerAddress, longest_rest: Duration) -> Self {
        let address = Address::parse(&given.address);
        let proxy = address.as_ref().ok().and_then(|address| address.tags.proxy.as_deref()).map(Proxy::parse);
        Self {
            place: Place::new(&given.address),
            label: shown(&given.address),
            authority: address.as_ref().map(Address::authority).unwrap_or_default(),
            address,
            proxy,
            server_name: given.server_name.clone(),
            instance: ArcSwapOption::empty(),
            health: Arc::new(Mutex::new(Health::new(Instant::now(), longest_rest))),
            failed: Arc::default(),
            brief: Way::default(),
            small: Way::default(),
            large: Way::default(),
            idle: Mutex::default(),
            speaks_h1: AtomicBool::new(false),
            is_ill: AtomicBool::new(false),
            knows_bundles: AtomicBool::new(true),
        }
    }

    /// The address as the route has it.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The address as callers remember it, with the process that answered there last.
    pub(super) fn place(&self) -> Place {
        self.place.of_instance(self.instance.load_full().map(|instance| (*instance).clone()))
    }

    /// What is asked for: `:authority` and `Host`.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The Host of a request here: our own word for the address, unless the address passes the caller's on (tag `d`).
    pub(super) fn host<'r>(&'r self, asked: Option<&'r str>) -> &'r str {
        match self.address.as_ref().ok().and_then(|address| address.tags.domain.as_deref()) {
            Some(domain) => asked.unwrap_or(domain),
            None => &self.authority,
        }
    }

    /// Whether calls for this subset go here first (tag `s`).
    pub(super) fn is_of_subset(&self, subset: &str) -> bool {
        let own = self.address.as_ref().ok().and_then(|address| address.tags.subset.as_deref());
        own.is_some_and(|own| own == subset)
    }

    pub(super) fn health(&self) -> Health {
        *self.health.lock()
    }

    pub(super) fn answered(&self) {
        let mut health = self.health.lock();
        if health.is_failing() || !health.has_answered() {
            health.answered();
        }
        health.heard(Instant::now());
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
        if lane == Lane::Alone {
            return Ok((self.dial(lane, pool).await?, Freshness::New));
        }
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
            Lane::Large | Lane::Alone => &self.large,
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
        let target = self.target(pool)?;
        pool.metrics.dials.inc();
        let began = Instant::now();
        // In a box: a handshake is larger than the call that waits for it.
        let offer = match lane {
            Lane::Brief => &pool.tls.bundle,
            Lane::Small | Lane::Large => &pool.tls.http,
            Lane::Alone => &pool.tls.http1,
        };
        let dialling = Box::pin(pool.dialler.dial(target, &self.server_name, offer, &pool.trust));
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
                self.suspect(at, began);
                Err(error)
            }
        }
    }

    /// It failed, a dial or a check that began then.
    fn suspect(&self, now: Instant, began: Instant) {
        self.health.lock().failed(now, now - began, rand::rng().random());
    }

    /// Asks `/stats` where nobody has called for a while: what does not answer is known before somebody calls.
    pub(super) async fn check(self: &Arc<Self>, pool: &Arc<Pool>) {
        let began = Instant::now();
        self.health.lock().heard(began);
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = Uri::from_static("/stats");
        let (slip, progress) = (Slip::default(), Progress::default());
        let asked = timeout(CHECK, self.exchange(pool, request, &slip, &progress)).await;
        let error = match asked {
            Ok(Ok(answer)) if answer.is_success() => {
                if self.is_ill.swap(false, Ordering::Relaxed) {
                    tracing::info!(address = self.label, "healthy again");
                }
                return;
            }
            // A dial that failed has said so by itself.
            Ok(Err(Undone { error, .. })) if !progress.has_left() => {
                tracing::debug!(address = self.label, "not healthy: {error}");
                return;
            }
            Ok(Err(Undone { error, .. })) => error,
            Ok(Ok(_)) => self.error(Failure::Unreachable("no success to /stats".to_owned()), pool),
            Err(_) => self.error(Failure::Unreachable(format!("no answer to /stats in {} s", CHECK.as_secs())), pool),
        };
        let at = Instant::now();
        if self.is_ill.swap(true, Ordering::Relaxed) {
            tracing::debug!(address = self.label, "still not healthy: {error}");
        } else {
            tracing::info!(address = self.label, "not healthy: {error}");
        }
        *self.failed.lock() = Some(Failed { at, error });
        self.suspect(at, began);
        // What keeps silent is not used again.
        self.forget();
    }

    /// What is known of it: nothing, that it answers, or why not.
    pub(super) fn state(&self) -> AddressState {
        let health = self.health();
        let failed = self.failed.lock().as_ref().filter(|_| health.is_failing()).map(|failed| failed.error.clone());
        AddressState { address: self.label.clone(), answered: health.has_answered(), error: failed }
    }

    /// Where it is, and on which way it is reached.
    pub(super) fn target<'m>(&'m self, pool: &'m Pool) -> Result<Target<'m>, RouteError> {
        let address = self.address.as_ref().map_err(Clone::clone)?;
        let proxy = match self.proxy.as_ref().or(pool.proxy.as_ref()) {
            Some(proxy) => Some(proxy.as_ref().map_err(Clone::clone)?),
            None => None,
        };
        let connect = if pool.members.len() > 1 { CONNECT_OF_SEVERAL } else { CONNECT };
        Ok(Target { address, static_ips: &pool.route().config.static_ips, proxy, given: pool.given, connect })
    }

    async fn open(&self, link: Link, lane: Lane, pool: &Arc<Pool>) -> Result<Ticket, Failure> {
        let ends = Instant::now() + AGE.mul_f64(rand::rng().random_range(0.9..1.1));
        // Ended by itself, or with its pool.
        let dead = pool.close.child_token();
        if lane != Lane::Alone {
            self.speaks_h1.store(link.agreed == Agreed::H1, Ordering::Relaxed);
        }
        if lane == Lane::Brief {
            self.knows_bundles.store(link.agreed == Agreed::Bundle, Ordering::Relaxed);
        }
        let arrival = Arrival::of(socket_of(link.stream.get_ref().0));
        if link.agreed == Agreed::Bundle {
            return self.open_bundle(link, arrival, (ends, dead), pool).await;
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
            Ok(answer) => {
                let answer = answer?;
                self.instance.store(instance_of(&answer).map(Arc::new));
                (Kind::of_stats(&answer), ends)
            }
            Err(_) => (Kind::Other, Instant::now() + SILENT_AGE),
        };
        let calls = Arc::default();
        if kind == Kind::Ours && !was_offered {
            // It may have learnt of them.
            self.knows_bundles.store(true, Ordering::Relaxed);
        }
        if kind == Kind::Ours && lane == Lane::Small {
            let (sender, calls) = (sender.clone(), Arc::downgrade(&calls));
            let given_up = self.given_up(pool);
            tokio::spawn(Watched { pulse, sender, calls, stats, dead, given_up, arrival }.watch());
        }
        let sender = Sender::H2(sender);
        Ok(self.way(lane).shared.keep(Shared { sender, room, calls, ends, kind }))
    }

    /// Only our own kind agrees on it, so nobody is asked.
    async fn open_bundle(
        &self,
        link: Link,
        arrival: Arrival,
        (ends, dead): (Instant, CancellationToken),
        pool: &Arc<Pool>,
    ) -> Result<Ticket, Failure> {
        let begun = timeout(STATS, bundle::begin(link.stream, arrival)).await;
        let begun = begun.map_err(|_| Failure::Unreachable("it agreed on a bundle and keeps silent".to_owned()))?;
        let (handle, carrier) = begun.map_err(|e| {
            alert_from(&e).map_or_else(|| Failure::Unreachable(format!("no bundle there: {e}")), Failure::Refused)
        })?;
        let given_up = self.given_up(pool);
        let carried = async {
            let done = carrier.run().await;
            if done.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::TimedOut) {
                given_up();
            }
            done
        };
        run(pool, carried, dead);
        let (room, calls) = (Arc::new(AtomicUsize::new(CALLS_OF_A_BUNDLE)), Arc::default());
        let one = Shared { sender: Sender::Bundle(handle), room, calls, ends, kind: Kind::Ours };
        Ok(self.brief.shared.keep(one))
    }

    /// What is done when a connection keeps silent: calls go elsewhere, and do not wait for a dial here to be swallowed too.
    fn given_up(&self, pool: &Pool) -> Box<dyn FnOnce() + Send> {
        let (health, failed) = (Arc::clone(&self.health), Arc::clone(&self.failed));
        let error = self.error(Failure::Unreachable("a connection keeps silent".to_owned()), pool);
        Box::new(move || {
            let at = Instant::now();
            *failed.lock() = Some(Failed { at, error });
            health.lock().failed(at, SLOW, rand::rng().random());
        })
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
