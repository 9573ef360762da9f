//! Calls to partners: one pool of connections for each partner and TLS identity, its addresses in order.
//!
//! ```text
//! mod.rs       which pool, whether the route is open, the deadline
//! pool.rs      one partner: addresses in order of preference, failover
//! member.rs    one address: one dial at a time, what answers there -> member/check.rs
//! http1.rs     its connections of one call each, and what they are asked first
//! http2.rs     how HTTP/2 is set up
//! lane.rs      its shared connections: small calls and large bodies apart
//! bundle.rs    carries small calls to our own kind     -> calls.rs
//! pulse.rs     whether a partner of our kind still answers there
//! slip.rs      what goes with a request: what our own kind is told, and where it went
//! exchange.rs  one request on one connection, and what its failure means
//! gateway.rs   how a sidecar's calls wait for its gateway
//! health.rs    which addresses rest (pure)
//! traced.rs    a call in a span of its own, where traces are on
//! tend.rs      closes what is disabled, tries resting addresses again, asks idle ones
//! stats.rs     whether what answers there is a node
//! state.rs     what is known of addresses, for status
//! ```

mod bundle;
mod calls;
mod exchange;
mod gateway;
mod gathered;
mod health;
mod held;
mod http1;
mod http2;
mod lane;
mod member;
mod metrics;
mod pool;
mod pulse;
mod slip;
mod state;
pub(crate) mod stats;
mod tend;
mod traced;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use mesh_core::{Body, Drained, Live, NodeId, Route, Snapshot};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use traces::SpanKind;

use crate::{
    Circulation, LoopGuard, NameCheck, RouteError, Sent,
    dial::{Address, Dialler, Egress, Given, Resolver, Target},
    listen::OwnAddresses,
    route::require_open,
    sharing::Sharing,
    tls::Outside,
};
use exchange::Undone;
pub use exchange::was_not_processed;
use gateway::Wait;
pub use gateway::WaitUntil;
use metrics::Metrics;
use pool::{Identity, Pool};
pub use slip::{Kind, Place, Slip, Went};
pub use state::{AddressState, ShownAddress};

/// Health checks at once: 2000 partners are asked within their 12 s, and a network that is gone costs no more than this.
const MOST_CHECKS: usize = 64;

/// How calls to partners are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This running instance's own id, for the loop guard: not the same in any two processes.
    pub instance: String,
    /// Whether calls may go round in circles.
    pub circulation: Circulation,
    /// Whether certificates must carry the partner's name.
    pub names: NameCheck,
    /// Where this process listens.
    pub own: OwnAddresses,
}

/// The way to all partners.
pub struct Partners {
    live: Arc<Live>,
    guard: LoopGuard,
    names: NameCheck,
    dialler: Dialler,
    pools: Mutex<HashMap<NodeId, Arc<Pool>>>,
    /// The pools of this node's other gateways, by their addresses, and when they were used last.
    gateways: Mutex<HashMap<String, (Arc<Pool>, Instant)>>,
    /// Of the last snapshot that somebody asked about.
    sharing: Mutex<Option<Arc<Sharing>>>,
    metrics: Metrics,
    /// Health checks that may be under way at once.
    checks: Arc<Semaphore>,
}

/// How far a call has come, for the error that a deadline makes of it.
#[derive(Debug, Default)]
struct Progress {
    left: AtomicBool,
}

impl Partners {
    /// Starts without connections; they are made by the first calls. A task that `drained` knows closes those of routes that
    /// are no longer open.
    #[must_use]
    pub fn new(live: Arc<Live>, settings: Settings, registry: &mut Registry, drained: &Drained) -> Arc<Self> {
        let Settings { instance, circulation, names, own } = settings;
        let outside = Arc::new(Outside::new(Arc::clone(&live), names));
        let partners = Arc::new(Self {
            live,
            guard: LoopGuard::new(&instance, circulation),
            names,
            dialler: Dialler { resolver: Resolver::default(), own, egress: Egress::default(), outside },
            pools: Mutex::default(),
            gateways: Mutex::default(),
            sharing: Mutex::default(),
            metrics: Metrics::register(registry),
            checks: Arc::new(Semaphore::new(MOST_CHECKS)),
        });
        drained.spawn(tend::all(Arc::downgrade(&partners), drained.clone()));
        partners
    }

    /// The loop guard, for calls that leave this node on other ways.
    #[must_use]
    pub fn loop_guard(&self) -> &LoopGuard {
        &self.guard
    }

    /// Sends `request` to the partner of `route` and waits for the head of the answer until `deadline`. Of the request's uri
    /// only path and query count. It must carry the `mesh-mdc` values of the call that it passes on.
    ///
    /// Addresses are tried in order, as long as nothing of the request can have arrived; a [`Slip`] among its extensions says
    /// more. The answer's body comes as it
    /// arrives; it breaks off when the route is disabled or expires.
    ///
    /// # Errors
    /// What is in the way, with its code; whether the request may have arrived is its `retry`.
    pub async fn send(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<Body>, RouteError> {
        match traces::child("partner", SpanKind::Client) {
            None => self.pass_on(route, request, deadline).await,
            Some(span) => Box::pin(self.traced(span, route, request, deadline)).await,
        }
    }

    async fn pass_on(
        &self,
        route: &Arc<Route>,
        mut request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<Body>, RouteError> {
        let mut pool = self.pool_to(route)?;
        self.guard.pass(request.headers_mut())?;
        self.metrics.requests.inc();
        let slip = request.extensions_mut().remove::<Slip>().unwrap_or_default();
        let (mut wait, progress) = (Wait::of(&mut request), Progress::default());
        loop {
            let is_current = || self.pool_to(route).is_ok_and(|current| Arc::ptr_eq(&current, &pool));
            let answer = tokio::select! {
                // Its connections break at the same moment, and that is not the reason.
                biased;
                () = pool.closed() => return Err(self.closed(&pool.node, &progress)),
                answer = timeout_at(deadline, pool.send(request, (&slip, &mut wait), &progress, is_current)) => answer,
            };
            match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Undone { request: Some(back), .. })) => {
                    (pool, request) = (self.pool_to(route).map_err(|error| self.failed(error))?, back);
                }
                Ok(Err(Undone { error, request: None })) => return Err(self.failed(error)),
                Err(_) => return Err(self.failed(pool.too_late(&progress))),
            }
        }
    }

    /// What a call hears that failed.
    fn failed(&self, error: RouteError) -> RouteError {
        self.metrics.failures.inc();
        match error {
            RouteError::Unreachable { address, reason, .. } if self.live.load().gateway.is_some() => {
                RouteError::GatewayAway { address, reason }
            }
            other => other,
        }
    }

    /// What answers at a partner: `/stats` over its route.
    ///
    /// # Errors
    /// What is in the way, with its code.
    pub async fn answers(&self, route: &Arc<Route>, deadline: Instant) -> Result<Kind, RouteError> {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = http::Uri::from_static("/stats");
        let answer = self.send(route, request, deadline).await?;
        let read = timeout_at(deadline, stats::read(answer)).await;
        let read = read.map_err(|_| RouteError::Timeout { node: route.node_id.clone(), sent: Sent::Perhaps })?;
        read.map_err(|unlike| RouteError::NotHttp { node: route.node_id.clone(), reason: unlike.to_string() })
    }

    /// Whether one of `addresses`, which an application named, accepts a connection within `patience`.
    pub async fn accepts(&self, addresses: &[Address], patience: Duration) -> bool {
        let dials = addresses.iter().map(|address| {
            let target = Target { address, static_ips: &[], proxy: None, given: Given::ByApi, connect: patience };
            async move { timeout(patience, self.dialler.tcp(target)).await.is_ok_and(|dialled| dialled.is_ok()) }
        });
        futures::future::join_all(dials).await.into_iter().any(|accepted| accepted)
    }

    /// The way out for routes without a proxy of their own, for who keeps it.
    #[must_use]
    pub fn egress(&self) -> Egress {
        self.dialler.egress.clone()
    }

    /// What is known of a partner's addresses, in order; empty before anything was tried.
    #[must_use]
    pub fn addresses(&self, node: &NodeId) -> Vec<AddressState> {
        let pool = self.pools.lock().get(node).cloned();
        pool.map(|pool| pool.members.iter().map(|member| member.state()).collect()).unwrap_or_default()
    }

    /// The pool for calls to the partner of `route` as of now: a sidecar reaches everybody through its gateway.
    fn pool_to(&self, route: &Arc<Route>) -> Result<Arc<Pool>, RouteError> {
        let snapshot = self.live.snapshot();
        let peer = snapshot.gateway.as_ref().unwrap_or(route);
        let is_own = snapshot.gateway.is_none() && peer.node_id == snapshot.node.node_id;
        if is_own { self.pool_of_gateway(&snapshot, peer) } else { self.pool(&snapshot, &peer.node_id) }
    }

    /// The pool of a partner whose route is open, for the certificate and addresses of this snapshot.
    fn pool(&self, snapshot: &Snapshot, node: &NodeId) -> Result<Arc<Pool>, RouteError> {
        // A route that was removed since the caller looked is as good as disabled.
        let route = snapshot.peer(node).ok_or_else(|| RouteError::Disabled { node: node.clone() })?;
        require_open(route, SystemTime::now())?;
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(node).filter(|pool| pool.is_of(snapshot, route, || self.sharing(snapshot))) {
            return Ok(Arc::clone(pool));
        }
        let (identity, given) = (Identity::of(snapshot, route, &self.sharing(snapshot)), given(route));
        // The old pool's calls under way finish on its connections, and end with the route; new ones show the new certificate.
        let close = pools.get(node).map(|old| old.close.clone()).unwrap_or_default();
        let pool = Pool::new(identity, self.names, given, self.dialler.clone(), self.metrics.clone(), close)?;
        pools.insert(node.clone(), Arc::clone(&pool));
        Ok(pool)
    }

    /// The pool of another gateway of this node.
    fn pool_of_gateway(&self, snapshot: &Snapshot, route: &Arc<Route>) -> Result<Arc<Pool>, RouteError> {
        let no_address = || RouteError::NoAddress { node: route.node_id.clone() };
        let address = &route.config.addresses.first().ok_or_else(no_address)?.address;
        let mut gateways = self.gateways.lock();
        if let Some((pool, used)) = gateways.get_mut(address)
            && pool.is_of(snapshot, route, || self.sharing(snapshot))
        {
            *used = Instant::now();
            return Ok(Arc::clone(pool));
        }
        let identity = Identity::of(snapshot, route, &self.sharing(snapshot));
        let (dialler, metrics) = (self.dialler.clone(), self.metrics.clone());
        let pool = Pool::new(identity, self.names, Given::ByOperator, dialler, metrics, CancellationToken::new())?;
        gateways.insert(address.clone(), (Arc::clone(&pool), Instant::now()));
        Ok(pool)
    }

    /// Which roots of a snapshot serve several parties.
    fn sharing(&self, snapshot: &Snapshot) -> Arc<Sharing> {
        let mut known = self.sharing.lock();
        if let Some(sharing) = known.as_ref().filter(|sharing| sharing.is_of(snapshot)) {
            return Arc::clone(sharing);
        }
        Arc::clone(known.insert(Arc::new(Sharing::of(snapshot))))
    }

    /// Whether a certificate under the roots of `route` may be another party's.
    pub(crate) fn shares_root(&self, route: &Route) -> bool {
        self.sharing(&self.live.load()).concerns(route)
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Whether certificates must carry the partner's name.
    #[must_use]
    pub fn names(&self) -> NameCheck {
        self.names
    }

    pub(crate) fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// Why a pool was closed under a call.
    fn closed(&self, node: &NodeId, progress: &Progress) -> RouteError {
        self.metrics.failures.inc();
        let snapshot = self.live.load();
        match snapshot.peer(node).map(|route| require_open(route, SystemTime::now())) {
            Some(Err(standing)) => standing,
            Some(Ok(())) => {
                let reason = "the route was disabled for a moment".to_owned();
                RouteError::Broken { node: node.clone(), reason, sent: progress.sent() }
            }
            None => RouteError::Disabled { node: node.clone() },
        }
    }
}

/// Who says where a partner is.
pub(crate) fn given(route: &Route) -> Given {
    if route.config.by_api { Given::ByApi } else { Given::ByOperator }
}

impl Progress {
    fn leaves(&self) {
        self.left.store(true, Ordering::Release);
    }

    fn came_back(&self) {
        self.left.store(false, Ordering::Release);
    }

    fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    fn sent(&self) -> Sent {
        if self.left.load(Ordering::Acquire) { Sent::Perhaps } else { Sent::Nothing }
    }
}

#[cfg(test)]
mod tests;
