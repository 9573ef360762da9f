//! The connections to one partner under one TLS identity.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Request, Response};
use mesh_core::{Body, Leaf, NodeId, Route, Snapshot};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Progress,
    exchange::{Answer, Undone},
    gateway::Wait,
    health,
    member::Member,
    metrics::Metrics,
    slip::Slip,
};
use crate::{
    NameCheck, RouteError, Sent,
    dial::{Dialler, Egress, Given, Proxy},
    sharing::Sharing,
    tls::{Offers, Trust},
};

/// What another gateway of this node is asked at the same time, against a partner: each passes on what all its clients ask.
const OF_GATEWAYS: usize = 16;

/// What a pool was made for. Another certificate, root or address makes another pool.
pub(super) struct Identity {
    pub(super) route: Arc<Route>,
    pub(super) leaf: Arc<Leaf>,
    to_gateway: bool,
    /// Whether it is another gateway of this node.
    to_own: bool,
    /// Whether a root of the route is another party's too.
    is_shared: bool,
    /// Calls at the same time. Beyond it the partner is too slow for what is asked of it, and more waiting calls would only fill
    /// memory.
    most_calls: usize,
    generation: u64,
}

/// The connections to one partner.
pub(super) struct Pool {
    pub(super) node: NodeId,
    pub(super) members: Vec<Arc<Member>>,
    pub(super) tls: Offers,
    pub(super) trust: Trust,
    pub(super) given: Given,
    pub(super) dialler: Dialler,
    pub(super) metrics: Metrics,
    pub(super) calls: Arc<Semaphore>,
    /// What the route wants to be dialled through.
    pub(super) proxy: Option<Result<Proxy, RouteError>>,
    /// Ends every connection and every waiting call.
    pub(super) close: CancellationToken,
    /// Whether calls wait while nothing answers: those of a sidecar to its gateway.
    waits: bool,
    identity: Identity,
    /// The last snapshot that was compared with.
    seen: AtomicU64,
    /// The state of the node's own way out when it was made.
    egress: u64,
}

impl Identity {
    pub(super) fn of(snapshot: &Snapshot, route: &Arc<Route>, sharing: &Sharing) -> Self {
        // In a sidecar the leaf is its member pair, and its one peer the gateway.
        let leaf = route.client_pair.as_ref().unwrap_or(&snapshot.node.leaf);
        let to_gateway = snapshot.gateway.is_some();
        let most_calls = usize::try_from(snapshot.transport.max_calls_per_partner).unwrap_or(usize::MAX);
        let generation = snapshot.generation;
        let is_shared = sharing.concerns(route);
        let to_own = route.node_id == snapshot.node.node_id;
        let most_calls = if to_own && !to_gateway { most_calls.saturating_mul(OF_GATEWAYS) } else { most_calls };
        Self { route: Arc::clone(route), leaf: Arc::clone(leaf), to_gateway, to_own, is_shared, most_calls, generation }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.route.config == other.route.config
            && self.leaf.info.sha256 == other.leaf.info.sha256
            && self.most_calls == other.most_calls
            && self.is_shared == other.is_shared
    }
}

impl Pool {
    pub(super) fn new(
        identity: Identity,
        names: NameCheck,
        given: Given,
        mut dialler: Dialler,
        metrics: Metrics,
        close: CancellationToken,
    ) -> Result<Arc<Self>, RouteError> {
        let route = &identity.route;
        let node = route.node_id.clone();
        let trust = Trust { route: Arc::clone(route), names, is_shared: identity.is_shared };
        let tls = Offers::new(trust.clone(), &identity.leaf)
            .map_err(|e| RouteError::OwnPair { node: node.clone(), reason: e.to_string() })?;
        let proxy = Some(&route.config.proxy).filter(|proxy| !proxy.is_empty()).map(|proxy| Proxy::parse(proxy));
        let waits = identity.to_gateway;
        if identity.to_own {
            // The node's own way out begins at its gateway.
            dialler.egress = Egress::default();
        }
        let rest = if identity.to_own { health::GATEWAY_REST } else { health::LONGEST_REST };
        let members = route.config.addresses.iter().map(|given| Arc::new(Member::new(given, rest))).collect();
        let seen = AtomicU64::new(identity.generation);
        let (calls, egress) = (Arc::new(Semaphore::new(identity.most_calls)), dialler.egress.changes());
        Ok(Arc::new(Self {
            node,
            members,
            tls,
            trust,
            given,
            dialler,
            metrics,
            calls,
            proxy,
            close,
            waits,
            identity,
            seen,
            egress,
        }))
    }

    /// Whether it is the pool for `route` of this snapshot.
    pub(super) fn is_of(
        &self,
        snapshot: &Snapshot,
        route: &Arc<Route>,
        sharing: impl FnOnce() -> Arc<Sharing>,
    ) -> bool {
        if self.egress != self.dialler.egress.changes() {
            return false;
        }
        if self.seen.load(Ordering::Acquire) == snapshot.generation {
            return true;
        }
        let same = self.identity.is_same(&Identity::of(snapshot, route, &sharing()));
        if same {
            self.seen.store(snapshot.generation, Ordering::Release);
        }
        same
    }

    /// The route that it was made for.
    pub(super) fn route(&self) -> &Arc<Route> {
        &self.identity.route
    }

    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Tries the addresses in order until one answers or the request may have arrived. A call that waits for its gateway comes back
    /// when the pool is not `current` any more: another one knows better where the gateway is.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Request<Body>,
        (slip, wait): (&Slip, &mut Wait),
        progress: &Progress,
        is_current: impl Fn() -> bool,
    ) -> Result<Response<Body>, Undone> {
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else {
            let error = RouteError::Crowded { node: self.node.clone(), limit: self.identity.most_calls };
            return Err(Undone { error, request: None });
        };
        loop {
            let Undone { error, request: back } = match self.try_all(request, slip, progress).await {
                Ok(answer) => return Ok(answer.with(Some(permit))),
                Err(undone) => undone,
            };
            let Some(back) = back.filter(|_| self.waits && wait.helps(&error)) else {
                return Err(Undone { error, request: None });
            };
            request = wait.pause(back, &self.metrics).await;
            if !is_current() {
                return Err(Undone { error, request: Some(request) });
            }
        }
    }

    /// The request comes back where none of the addresses took any of it.
    async fn try_all(
        self: &Arc<Self>,
        mut request: Request<Body>,
        slip: &Slip,
        progress: &Progress,
    ) -> Result<Answer, Undone> {
        let mut last = RouteError::NoAddress { node: self.node.clone() };
        let mut order = self.order();
        if let Some(subset) = request.headers().get("mesh-subset").and_then(|subset| subset.to_str().ok()) {
            // Health decides first, the subset within it.
            let failing = |i: &usize| self.members.get(*i).is_some_and(|member| member.health().is_failing());
            let other = |i: &usize| !self.members.get(*i).is_some_and(|member| member.is_of_subset(subset));
            order.sort_by_key(|i| (failing(i), other(i)));
        }
        for i in order {
            let Some(member) = self.members.get(i).filter(|member| slip.permits(&member.place())) else { continue };
            match member.exchange(self, request, slip, progress).await {
                Ok(answer) => return Ok(answer),
                Err(Undone { error, request: Some(back) }) if error.is_of_address() => (last, request) = (error, back),
                Err(undone) => return Err(Undone { error: undone.error, request: None }),
            }
        }
        Err(Undone { error: last, request: Some(request) })
    }

    fn order(&self) -> Vec<usize> {
        let all: Vec<_> = self.members.iter().map(|member| member.health()).collect();
        health::order(&all)
    }

    /// What a deadline that passed means.
    pub(super) fn too_late(&self, progress: &Progress) -> RouteError {
        let node = self.node.clone();
        match progress.sent() {
            Sent::Perhaps => RouteError::Timeout { node, sent: Sent::Perhaps },
            Sent::Nothing => {
                let address = self.members.first().map_or_else(String::new, |member| member.label().to_owned());
                let reason = "no connection before the call's deadline".to_owned();
                RouteError::Unreachable { node, address, reason }
            }
        }
    }

    /// Tries the addresses that have rested; those that accept a connection are used again.
    pub(super) async fn try_rested(self: &Arc<Self>) {
        let now = Instant::now();
        for member in self.members.iter().filter(|member| member.health().is_due(now)) {
            member.probe(self).await;
        }
    }

    /// Lets a connection work until it is over or `dead`.
    pub(super) fn run<C, E>(&self, connection: C, dead: CancellationToken)
    where
        C: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send,
    {
        let (node, open) = (self.node.clone(), self.metrics.connections.clone());
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
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Connections under way hold the pool's members; what is left is idle.
        self.members.iter().for_each(|member| member.forget());
    }
}
