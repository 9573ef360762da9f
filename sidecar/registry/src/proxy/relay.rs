//! A call to a service that is registered at a partner: forwarded as it is, the partner matches its own registry and
//! what it exports to us (PTP section 8.4).

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::TE};
use mesh_core::{Body, CallContext, Drained, Node, Refusal, Route};
use mesh_network::Partners;
use tokio::time::Instant;

use super::{
    headers,
    upgrade::{self, Switch},
};

/// The partner keeps its service's timeout and answers when it has passed; this only ends a call to a partner that went
/// silent. An hour is beyond any timeout seen in an SDK.
const SILENCE: Duration = Duration::from_secs(3600);

/// Sends the request over the route, in the name of our node `own`.
///
/// # Errors
/// What `Partners::send` refuses.
pub(crate) async fn send(
    partners: &Partners,
    route: &Arc<Route>,
    mut request: Request<Body>,
    context: &CallContext,
    own: &Node,
) -> Result<Response<Body>, Refusal> {
    let deadline = ends_at(&request, context);
    strip(request.headers_mut());
    headers::add_via(&mut request);
    // The partner refuses any source but the one that our certificate proves.
    headers::set_source(request.headers_mut(), &own.node_id, Some(&own.inst_id))?;
    let mut answer = partners.send(route, request, deadline).await?;
    headers::strip_hop_by_hop(answer.headers_mut());
    Ok(answer)
}

/// Sends the request of an application to the gateway of its node, which serves it as if it had come there: with what the
/// application says of itself. A WebSocket passes through too.
///
/// # Errors
/// What `Partners::send` refuses.
pub(crate) async fn pass(
    partners: &Partners,
    gateway: &Arc<Route>,
    mut request: Request<Body>,
    context: &CallContext,
    drained: &Drained,
) -> Result<Response<Body>, Refusal> {
    let deadline = ends_at(&request, context);
    let mut caller = headers::asks_for_websocket(request.headers()).then(|| Switch::of(&mut request));
    strip(request.headers_mut());
    if caller.is_some() {
        upgrade::mark(request.headers_mut());
    }
    let mut answer = partners.send(gateway, request, deadline).await?;
    headers::strip_hop_by_hop(answer.headers_mut());
    *answer.version_mut() = http::Version::HTTP_11;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(caller) = caller.take()
    {
        upgrade::mark(answer.headers_mut());
        upgrade::join(caller, hyper::upgrade::on(&mut answer), None, drained);
        return Ok(answer.map(|_| Body::Empty));
    }
    Ok(answer)
}

fn ends_at(request: &Request<Body>, context: &CallContext) -> Instant {
    Instant::now() + context.timeout.or_else(|| mesh_core::grpc::timeout(request.headers())).unwrap_or(SILENCE)
}

/// Takes off what spoke of the caller's connection, but that it reads trailers.
fn strip(headers: &mut HeaderMap) {
    let trailers = headers::takes_trailers(headers);
    headers::strip_hop_by_hop(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}
