//! `grpc.health.v1` on both ports, for who watches machines and not networks.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, future, stream};
use mesh_core::Drained;
use proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus, health_server::Health,
};
use tonic::{Request, Response, Status};

/// The service: it serves until the node ends.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) names: &'static [&'static str],
    pub(super) drained: Drained,
}

impl Watched {
    fn status(&self) -> ServingStatus {
        if self.drained.is_asked() { ServingStatus::NotServing } else { ServingStatus::Serving }
    }

    fn of(&self, name: &str) -> Option<ServingStatus> {
        (name.is_empty() || self.names.contains(&name)).then(|| self.status())
    }
}

fn said(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Watched {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.of(&request.get_ref().service).ok_or_else(|| Status::not_found("no such service"))?;
        Ok(Response::new(said(status)))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let statuses = self.names.iter().map(|name| ((*name).to_owned(), said(self.status()))).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let status = self.of(&request.get_ref().service).unwrap_or(ServingStatus::ServiceUnknown);
        let drained = self.drained.clone();
        let ending = stream::once(async move {
            drained.asked().await;
            ServingStatus::NotServing
        });
        let changes = stream::once(future::ready(status)).chain(ending);
        Ok(Response::new(Box::pin(changes.map(|status| Ok(said(status))))))
    }
}
