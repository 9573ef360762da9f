//! A call to a partner in a span of its own, under that of the call which it passes on. Of the partner its node id is told, and of
//! a failure its code.

use std::sync::Arc;

use http::{Request, Response};
use mesh_core::{Body, ProtocolError as _, Route};
use tokio::time::Instant;
use traces::Span;

use super::Partners;
use crate::RouteError;

impl Partners {
    /// The span's time is that to the head of the answer.
    pub(super) async fn traced(
        &self,
        mut span: Span,
        route: &Arc<Route>,
        mut request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<Body>, RouteError> {
        span.set("interconn.partner", route.node_id.as_str().to_owned());
        span.parent().write(request.headers_mut());
        let answer = self.pass_on(route, request, deadline).await;
        match &answer {
            Ok(answer) => span.set("http.response.status_code", i64::from(answer.status().as_u16())),
            Err(e) => span.failed(e.code().as_str()),
        }
        answer
    }
}
