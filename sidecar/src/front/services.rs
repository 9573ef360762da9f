//! The gRPC services that every server has: `grpc.health.v1.Health`, and reflection in both of its versions.
//!
//! Their messages are small and seldom, so that tonic serves them; the services of PTP/1.0 are the transport room's.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, future, stream};
use http::{Request, Response};
use mesh_core::{Body, Drained};
use proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tokio::sync::watch;
use tonic::{Status, service::Routes};
use tower_service::Service as _;

/// What can be asked for by name. The empty name is the node.
const NAMES: [&str; 4] =
    ["", "org.ppc.ptp.PrivateTransferTransport", "org.ppc.ptp.PrivateTransferProtocol", "mesh-rpc"];

/// The services; a clone is the same.
#[derive(Clone)]
pub(crate) struct Services {
    routes: Routes,
    serving: Arc<watch::Sender<ServingStatus>>,
}

impl Services {
    /// All services are up. Streams end when `drained` is asked.
    pub(crate) fn new(drained: &Drained) -> Result<Self, tonic_reflection::server::Error> {
        let serving = Arc::new(watch::Sender::new(ServingStatus::Serving));
        let health = HealthServer::new(State { serving: Arc::clone(&serving), drained: drained.clone() });
        let reflection =
            || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTORS);
        let routes =
            Routes::new(health).add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
        Ok(Self { routes: routes.prepare(), serving })
    }

    /// The node is about to end: no new calls should come here.
    pub(crate) fn stop(&self) {
        self.serving.send_replace(ServingStatus::NotServing);
    }

    /// Serves a call.
    pub(super) async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = self.routes.clone().call(request.map(tonic::body::Body::new)).await;
        response.map(Body::boxed)
    }
}

/// What the health service answers from.
struct State {
    serving: Arc<watch::Sender<ServingStatus>>,
    drained: Drained,
}

impl State {
    /// The status of a service that exists.
    fn of(&self, name: &str) -> Option<ServingStatus> {
        NAMES.contains(&name).then(|| *self.serving.borrow())
    }
}

fn said(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for State {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        match self.of(&request.get_ref().service) {
            Some(status) => Ok(tonic::Response::new(said(status))),
            None => Err(Status::not_found("no such service")),
        }
    }

    async fn list(&self, _: tonic::Request<HealthListRequest>) -> Result<tonic::Response<HealthListResponse>, Status> {
        let statuses = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), said(self.of(name)?)))).collect();
        Ok(tonic::Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let drained = self.drained.clone();
        // An unknown service may become known, in principle: the stream stays open, and says so once.
        let statuses = if self.of(&request.get_ref().service).is_some() {
            changes(self.serving.subscribe()).boxed()
        } else {
            stream::once(future::ready(ServingStatus::ServiceUnknown)).chain(stream::pending()).boxed()
        };
        let until_the_end = statuses.map(|status| Ok(said(status))).take_until(async move { drained.asked().await });
        Ok(tonic::Response::new(Box::pin(until_the_end)))
    }
}

/// The status now, and each that follows.
fn changes(mut serving: watch::Receiver<ServingStatus>) -> impl Stream<Item = ServingStatus> + Send {
    serving.mark_changed();
    stream::unfold(serving, |mut serving| async move {
        serving.changed().await.ok()?;
        let status = *serving.borrow_and_update();
        Some((status, serving))
    })
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("serving", &*self.serving.borrow()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::Drain;

    use super::*;

    fn asked(service: &str) -> tonic::Request<HealthCheckRequest> {
        tonic::Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn a_watch_says_the_status_each_change_and_ends_with_the_node() {
        let drain = Drain::new();
        let services = Services::new(&drain.handle()).unwrap();
        let state = State { serving: Arc::clone(&services.serving), drained: drain.handle() };
        let mut known = state.watch(asked("mesh-rpc")).await.unwrap().into_inner();
        let mut unknown = state.watch(asked("nobody")).await.unwrap().into_inner();
        assert_eq!(known.next().await.unwrap().unwrap(), said(ServingStatus::Serving));
        assert_eq!(unknown.next().await.unwrap().unwrap(), said(ServingStatus::ServiceUnknown));
        services.stop();
        assert_eq!(known.next().await.unwrap().unwrap(), said(ServingStatus::NotServing));
        assert!(futures::poll!(known.next()).is_pending() && futures::poll!(unknown.next()).is_pending());
        drain.run(std::time::Duration::ZERO).await;
        assert!(known.next().await.is_none() && unknown.next().await.is_none());
    }

    #[tokio::test]
    async fn a_check_knows_the_services_and_no_others() {
        let drain = Drain::new();
        let services = Services::new(&drain.handle()).unwrap();
        let state = State { serving: Arc::clone(&services.serving), drained: drain.handle() };
        for name in NAMES {
            assert_eq!(state.check(asked(name)).await.unwrap().into_inner(), said(ServingStatus::Serving));
        }
        assert_eq!(state.check(asked("nobody")).await.unwrap_err().code(), tonic::Code::NotFound);
        let listed = state.list(tonic::Request::new(HealthListRequest {})).await.unwrap().into_inner();
        assert_eq!(listed.statuses.len(), NAMES.len());
    }
}
