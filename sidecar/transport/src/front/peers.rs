//! How a call reaches a partner: the network room's pools in the program, another front in tests.

use std::{future::Future, sync::Arc};

use http::{Request, Response};
use mesh_core::{Body, Refusal, Route};
use tokio::time::Instant;

/// Who carries requests to partners.
pub trait Peers: Send + Sync + 'static {
    /// Sends a request to the partner of `route`. Its path counts; dialling, failover and TLS are the carrier's business.
    fn send(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response<Body>, Refusal>> + Send;
}

impl Peers for mesh_network::Partners {
    async fn send(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<Body>, Refusal> {
        Ok(Self::send(self, route, request, deadline).await?)
    }
}
