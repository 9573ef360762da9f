//! The reverse proxy: registered paths of this node, and those of partners by the target in the headers.
//!
//! Keeps PTP sections 10.4, 8.3, 8.4 and 13.2. Streams both ways; the path is not rewritten.

mod alarm;
mod answer;
mod body;
mod call;
mod deadline;
mod frames;
mod generic;
mod h1;
mod headers;
mod lanes;
mod pace;
pub(crate) mod pool;
mod relay;
mod spare;
mod upgrade;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use crds::ServiceProto;
use http::{HeaderMap, Method, Request, Response};
use mesh_core::{Body, CallContext, Caller, Code, Drained, Live, Node, Refusal, Route, grpc::is_grpc};
use mesh_network::{
    Partners,
    route::{self, Target},
};

pub(crate) use self::answer::json;
pub use self::generic::Generic;
use self::{headers::Source, pace::Pace};
use crate::{Metrics, Registry, RegistryError, Wish, metrics::Outcome, path};

/// The reverse proxy.
pub struct Proxy {
    registry: Arc<Registry>,
    partners: Arc<Partners>,
    live: Arc<Live>,
    drained: Drained,
    metrics: Metrics,
    source: ArcSwapOption<Source>,
}

impl Proxy {
    /// Routes by `registry` to what is registered here, and over `partners` to what is registered there.
    #[must_use]
    pub fn new(registry: Arc<Registry>, partners: Arc<Partners>, live: Arc<Live>, drained: Drained) -> Self {
        let metrics = registry.metrics().clone();
        Self { registry, partners, live, drained, metrics, source: ArcSwapOption::empty() }
    }

    /// Forwards a call to a registered path; `None` if nothing is registered there.
    pub async fn forward(
        &self,
        request: Request<Body>,
        context: &CallContext,
        caller: &Caller,
    ) -> Option<Response<Body>> {
        let to_grpc = is_grpc(request.headers());
        if matches!(caller, Caller::Stranger) {
            let nobody = Refusal::of_caller(Code::UNAUTHORISED, answer::NETWORK_DISABLED);
            return Some(self.denied(request.headers(), &nobody));
        }
        let refused = |refusal: &Refusal| answer::refused(refusal, to_grpc);
        let snapshot = self.live.snapshot();
        if let Some(gateway) = &snapshot.gateway {
            let passed = Box::pin(relay::pass(&self.partners, gateway, request, context, &self.drained)).await;
            self.metrics.count(passed.as_ref().map_or_else(|refusal| Outcome::of(refusal.code), |_| Outcome::Relayed));
            return Some(passed.unwrap_or_else(|refusal| refused(&refusal)));
        }
        // A target in the headers decides before any local path: two institutions that register the same service under
        // the same urn must be able to call each other's (PTP decision D2).
        let answer = match route::target(&snapshot, context) {
            Err(error) => Err(error.into()),
            // In a box, as above: it is ten times as large as a call of this node's, which would carry it along.
            Ok(Target::Remote(route)) => Box::pin(self.relay(request, context, caller, &route, &snapshot.node)).await,
            Ok(Target::Local) => match self.local(request, context, caller, to_grpc).await {
                Ok(answer) => Ok(answer?),
                Err(refusal) => Err(refusal),
            },
        };
        Some(answer.unwrap_or_else(|refusal: Refusal| {
            self.metrics.count(Outcome::of(refusal.code));
            refused(&refusal)
        }))
    }

    /// Passes a request of this pod's on to the node's gateway, as another room's front on both sides understands it.
    ///
    /// # Errors
    /// What is in the way; also where there is no gateway.
    pub async fn pass(&self, request: Request<Body>, context: &CallContext) -> Result<Response<Body>, Refusal> {
        let snapshot = self.live.snapshot();
        let none = || Refusal::of_caller(Code::NOT_FOUND, "this process is no sidecar of a gateway");
        let gateway = snapshot.gateway.as_ref().ok_or_else(none)?;
        relay::pass(&self.partners, gateway, request, context, &self.drained).await
    }

    /// The answer to a request that is refused before it is anybody's: over gRPC its code, over HTTP the reference's text (PTP
    /// section 13.2), and nothing about what is registered.
    #[must_use]
    pub fn denied(&self, headers: &HeaderMap, refusal: &Refusal) -> Response<Body> {
        self.metrics.count(Outcome::Refused);
        answer::denied(refusal, is_grpc(headers))
    }

    async fn relay(
        &self,
        request: Request<Body>,
        context: &CallContext,
        caller: &Caller,
        route: &Arc<Route>,
        own: &Node,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(from) = caller.partner() {
            let text = format!("{} may call services of this node, and none of {}", from.node_id, route.node_id);
            return Err(RegistryError::NotPermitted(text).into());
        }
        let answer = relay::send(&self.partners, route, request, context, own, &self.drained).await?;
        self.metrics.count(Outcome::Relayed);
        Ok(answer)
    }

    async fn local(
        &self,
        mut request: Request<Body>,
        context: &CallContext,
        caller: &Caller,
        to_grpc: bool,
    ) -> Result<Option<Response<Body>>, Refusal> {
        if let Caller::Partner(route) = caller {
            admit(route, request.uri().path())?;
        }
        let Some(leaf) = self.registry.table().find(request.uri().path()).cloned() else { return Ok(None) };
        if request.method() == Method::CONNECT {
            return Err(RegistryError::Request("CONNECT opens a tunnel, which a registered service does not").into());
        }
        let wanted = if to_grpc { ServiceProto::Grpc } else { ServiceProto::Http };
        let Some((group, proto)) = leaf.group(wanted) else { return Ok(None) };
        let websocket = proto == ServiceProto::Http && headers::asks_for_websocket(request.headers());
        let trailers = headers::takes_trailers(request.headers());
        self.dressed(&mut request, context, caller)?;
        let how = call::How {
            proto,
            balance: self.live.load().registry.balance,
            wish: Wish { subset: context.subset.as_deref(), sticky: None, partner: call::partner(caller) },
            pace: Pace::of(caller, proto),
            websocket,
            trailers,
            deadline: deadline::of(request.headers()),
            drained: &self.drained,
        };
        let answer = call::make(group, request, &how).await?;
        self.metrics.count(Outcome::Forwarded);
        Ok(Some(answer))
    }

    /// This node as headers say it, made once for as long as its ids stay.
    fn source(&self) -> Result<Arc<Source>, RegistryError> {
        let live = self.live.load();
        if let Some(known) = self.source.load_full().filter(|known| known.is_of(&live.node)) {
            return Ok(known);
        }
        let made = Arc::new(Source::new(&live.node.node_id, Some(&live.node.inst_id))?);
        self.source.store(Some(Arc::clone(&made)));
        Ok(made)
    }

    /// Takes off what spoke of the caller's connection, and says who calls and that the call came by here.
    fn dressed(&self, request: &mut Request<Body>, context: &CallContext, caller: &Caller) -> Result<(), Refusal> {
        headers::strip_hop_by_hop(request.headers_mut());
        headers::add_via(request);
        headers::set_identity(request.headers_mut(), context, caller, || self.source())?;
        // A service may be another node's port 7304, and lead back here.
        Ok(self.partners.loop_guard().pass(request.headers_mut())?)
    }
}

/// What a partner may call: an unambiguous path under one of its route's exports (PTP section 10.4, point 7).
fn admit(route: &Route, path: &str) -> Result<(), RegistryError> {
    path::screen(path)?;
    if path::is_exported(&route.config.exports, path) {
        return Ok(());
    }
    Err(RegistryError::not_exported(path, route))
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("registry", &self.registry).finish_non_exhaustive()
    }
}
