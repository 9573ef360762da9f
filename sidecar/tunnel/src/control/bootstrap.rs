//! `pb.LiteKubeNCBootstrapService` on 6439: what a machine may ask that has nothing but a token.

use std::sync::Arc;

use proto::nc::{
    GetTokenRequest, GetTokenResponse, HealthCheckRequest, HealthCheckResponse,
    lite_kube_nc_bootstrap_service_server::LiteKubeNcBootstrapService,
};
use tonic::{Request, Response, Status};

use super::{Control, register::join, verdict::OK};

/// The bootstrap service.
#[derive(Clone)]
pub(super) struct BootstrapPlane(pub(super) Arc<Control>);

#[tonic::async_trait]
impl LiteKubeNcBootstrapService for BootstrapPlane {
    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { code: OK.into() }))
    }

    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        join(&self.0, request).await
    }
}
