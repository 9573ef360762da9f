//! The grid's API in a sidecar: what its pod's containers ask for is passed on to the node's gateway, where end users are connected
//! (Grid section 5).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response, Uri};
use mesh_core::{Body, CallContext, Live};
use mesh_grid::api::{PASSED, may_pass, unreachable};
use mesh_network::{
    WaitUntil,
    listen::{Connection, Serve},
};
use mesh_registry::Proxy;

/// A gateway that starts anew is back by then; a backend has its own time limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Passes calls on.
pub(crate) struct Passing {
    pub(crate) live: Arc<Live>,
    pub(crate) proxy: Arc<Proxy>,
}

/// Answers backends that come while this sidecar ends: their pod's next one, or another pod's, passes their calls on.
pub(crate) struct Ending;

impl Serve for Ending {
    async fn serve(&self, _: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        unreachable()
    }
}

impl Serve for Passing {
    async fn serve(&self, mut request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let snapshot = self.live.snapshot();
        let Some(setup) = &snapshot.grid else { return unreachable() };
        if let Err(denied) = may_pass(&snapshot, setup, &connection, &request) {
            return *denied;
        }
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let Ok(uri) = format!("{PASSED}{path}").parse::<Uri>() else { return unreachable() };
        *request.uri_mut() = uri;
        request.extensions_mut().insert(WaitUntil((Instant::now() + PATIENCE).into()));
        match self.proxy.pass(request, &CallContext::default()).await {
            Ok(answer) => answer,
            Err(refusal) => {
                tracing::warn!("a backend's call was not passed on: {}", refusal.message);
                unreachable()
            }
        }
    }
}
