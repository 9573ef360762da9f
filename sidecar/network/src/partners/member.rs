//! The connections to one address of a partner.

mod check;
mod welcome;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use crds::PeerAddress;
use http::{Uri, uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_core::Body;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::welcome::Welcome;
use super::{
    bundle,
    exchange::alert_from,
    gathered::Gathered,
    health::{Health, SLOW},
    http1::{Asked, Single, Singles},
    http2::{ask, h2_builder, no_http},
    lane::{Connections, Counted, Lane, Sender, Shared},
    pool::Pool,
    pulse::{Arrival, Felt, Pulse, Watched},
    slip::{Kind, Place, instance_of},
    state::AddressState,
    stats,
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
/// What `/stats` gets on a new connection, which says what answers there: two round trips of the slowest link.
const STATS: Duration = Duration::from_secs(5);
/// Whoever keeps silent about its kind is taken for another kind, and asked again this soon, on another connection.
const SILENT_AGE: Duration = Duration::from_secs(30);
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
    /// When the certificate that was shown last ends.
    certificate_ends: Mutex<Option<SystemTime>>,
    /// The last dial, if it failed.
    failed: Arc<Mutex<Option<Failed>>>,
    brief: Way,
    small: Way,
    large: Way,
    singles: Singles,
    speaks_h1: AtomicBool,
    /// Whether its last check failed, which is said once.
    is_ill: AtomicBool,
    /// Whether the last check was answered by something that is no node. It answers calls too, which says nothing: only another
    /// check takes that back.
    is_foreign: AtomicBool,
    welcome: Mutex<Welcome>,
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

/// The right to send one request on a connection.
pub(super) enum Ticket {
    Shared(Sender, Counted, Kind),
    H1(Single),
}

/// A new connection.
enum Opened {
    Ready(Ticket),
    /// It said what answers there, and takes no call after that.
    Spent(Kind),
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
            certificate_ends: Mutex::default(),
            failed: Arc::default(),
            brief: Way::default(),
            small: Way::default(),
            large: Way::default(),
            singles: Singles::default(),
            speaks_h1: AtomicBool::new(false),
            is_ill: AtomicBool::new(false),
            is_foreign: AtomicBool::new(false),
            welcome: Mutex::default(),
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
        let is_news = health.is_failing() || !health.has_answered();
        if is_news && !self.is_foreign.load(Ordering::Relaxed) {
            health.answered();
        }
        health.heard(Instant::now());
    }

    /// It answered a call as a proxy does that reaches nobody, or a node whose service is away: which of them, a check tells.
    pub(super) fn doubted(&self) {
        self.health.lock().ask_soon();
    }

    /// Drops all connections that no call uses.
    pub(super) fn forget(&self) {
        self.brief.shared.forget();
        self.small.shared.forget();
        self.large.shared.forget();
        self.singles.forget();
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

    /// Takes an HTTP/1.1 connection back whose answer was read to its end.
    pub(super) fn give_back(&self, single: Single) {
        self.singles.give_back(single);
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
        self.singles.take().await.map(Ticket::H1)
    }

    async fn dial(&self, lane: Lane, pool: &Arc<Pool>) -> Result<Ticket, RouteError> {
        let began = Instant::now();
        // A connection that asks for an upgrade carries nothing else.
        let known = if lane == Lane::Alone { Some(Kind::Other) } else { self.singles.known(began) };
        let opened = match self.connect(self.target(pool)?, lane, known, pool).await {
            Ok(Opened::Spent(kind)) => self.connect(self.target(pool)?, lane, Some(kind), pool).await,
            opened => opened,
        };
        let unused = || Failure::Unreachable("it takes no call behind the first".to_owned());
        let opened = opened.and_then(|opened| match opened {
            Opened::Ready(ticket) => Ok(ticket),
            Opened::Spent(_) => Err(unused()),
        });
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

    /// What is known of it: nothing, that it answers, or why not.
    pub(super) fn state(&self) -> AddressState {
        let health = self.health();
        let failed = self.failed.lock().as_ref().filter(|_| health.is_failing()).map(|failed| failed.error.clone());
        AddressState {
            address: self.label.clone(),
            answered: health.has_answered(),
            error: failed,
            refused: self.welcome.lock().refused().map(str::to_owned),
            certificate_ends: *self.certificate_ends.lock(),
        }
    }

    /// Where it is, and on which way it is reached.
    pub(super) fn target<'m>(&'m self, pool: &'m Pool) -> Result<Target<'m>, RouteError> {
        let address = self.address.as_ref().map_err(Clone::clone)?;
        let proxy = match self.proxy.as_ref().or(pool.proxy.as_ref()) {
            Some(proxy) => Some((proxy.as_ref().map_err(Clone::clone)?, pool.given)),
            None => None,
        };
        let connect = if pool.members.len() > 1 { CONNECT_OF_SEVERAL } else { CONNECT };
        Ok(Target { address, static_ips: &pool.route().config.static_ips, proxy, given: pool.given, connect })
    }

    async fn connect(
        &self,
        target: Target<'_>,
        lane: Lane,
        known: Option<Kind>,
        pool: &Arc<Pool>,
    ) -> Result<Opened, Failure> {
        pool.metrics.dials.inc();
        let offer = match lane {
            Lane::Brief => &pool.tls.bundle,
            Lane::Small | Lane::Large => &pool.tls.http,
            Lane::Alone => &pool.tls.http1,
        };
        // In a box: a handshake is larger than the call that waits for it.
        let dialling = Box::pin(pool.dialler.dial(target, &self.server_name, offer, &pool.trust));
        let link = dialling.await?;
        *self.certificate_ends.lock() = link.certificate_ends;
        self.open(link, lane, known, pool).await
    }

    async fn open(&self, link: Link, lane: Lane, known: Option<Kind>, pool: &Arc<Pool>) -> Result<Opened, Failure> {
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
            return self.open_bundle(link, arrival, (ends, dead), pool).await.map(Opened::Ready);
        }
        let was_offered = lane == Lane::Brief;
        // Those who do not know bundles get brief calls like any other small ones.
        let lane = if lane == Lane::Brief { Lane::Small } else { lane };
        let pulse = Pulse::default();
        let stream = Felt::new(link.stream, &pulse, &dead);
        if link.agreed == Agreed::H1 {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| no_http(&e))?;
            pool.run(connection.with_upgrades(), dead);
            return self.open_single(sender, ends, known).await;
        }
        let io = TokioIo::new(Gathered::new(stream));
        let (mut sender, mut connection) = h2_builder().handshake(io).await.map_err(|e| no_http(&e))?;
        let room = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let shown = Arc::clone(&room);
        pool.run(
            std::future::poll_fn(move |cx| {
                let done = Pin::new(&mut connection).poll(cx);
                shown.store(connection.current_max_send_streams(), Ordering::Relaxed);
                done
            }),
            dead.clone(),
        );
        let place = self.stats()?;
        let asked = timeout(STATS, async {
            let answer = ask(&mut sender, &place).await?;
            self.instance.store(instance_of(&answer).map(Arc::new));
            stats::read(answer).await.or_else(|unlike| {
                let may_be = !unlike.is_no_node();
                may_be.then_some(Kind::Other).ok_or_else(|| Failure::Unreachable(unlike.to_string()))
            })
        });
        let (kind, ends) = match asked.await {
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
            let given_up = self.given_up(pool);
            tokio::spawn(Watched { pulse, sender, calls, stats: place, dead, given_up, arrival }.watch());
        }
        let sender = Sender::H2(sender);
        Ok(Opened::Ready(self.way(lane).shared.keep(Shared { sender, room, calls, ends, kind })))
    }

    async fn open_single(
        &self,
        mut sender: http1::SendRequest<Body>,
        ends: Instant,
        known: Option<Kind>,
    ) -> Result<Opened, Failure> {
        if let Some(kind) = known {
            return Ok(Opened::Ready(Ticket::H1(Single::new(sender, kind, ends))));
        }
        let Asked { kind, instance, is_ready } = self.singles.ask(&mut sender, self.host(None), STATS).await?;
        self.instance.store(instance.map(Arc::new));
        let single = Single::new(sender, kind, ends);
        Ok(if is_ready { Opened::Ready(Ticket::H1(single)) } else { Opened::Spent(kind) })
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
        pool.run(carried, dead);
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
