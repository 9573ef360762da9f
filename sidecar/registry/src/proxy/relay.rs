//! A call to a service that is registered at a partner: forwarded as it is, the partner matches its own registry and
//! what it exports to us (PTP section 8.4).

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::TE};
use http_body::Frame;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use mesh_core::{Body, CallContext, Code, Drained, Fault, Node, NodeId, Refusal, Route};
use mesh_network::Partners;
use tokio::time::{Instant, timeout_at};

use super::{
    answer::NETWORK_DISABLED,
    headers::{self, Source},
    upgrade::{self, Switch},
};

/// The partner keeps its service's timeout and answers when it has passed; this only ends a call to a partner that went
/// silent. An hour is beyond any timeout seen in an SDK.
const SILENCE: Duration = Duration::from_secs(3600);

/// A node sends its refusal whole, behind the head.
const WORDS: Duration = Duration::from_secs(1);

/// Sends the request over the route, in the name of our node `own`. A WebSocket passes through too, on a connection of its own
/// in HTTP/1.1, which proxies between nodes pass on as they pass any.
///
/// # Errors
/// What `Partners::send` refuses.
pub(crate) async fn send(
    partners: &Partners,
    route: &Arc<Route>,
    mut request: Request<Body>,
    context: &CallContext,
    own: &Node,
    drained: &Drained,
) -> Result<Response<Body>, Refusal> {
    let deadline = ends_at(&request, context);
    let caller = taken_off(&mut request);
    headers::add_via(&mut request);
    // The partner refuses any source but the one that our certificate proves.
    headers::set_source(request.headers_mut(), &Source::new(&own.node_id, Some(&own.inst_id))?);
    let answer = unless_barred(partners.send(route, request, deadline).await?, &route.node_id).await?;
    answered(answer, caller, &route.node_id, drained)
}

/// A partner's node that does not let us in says so in the reference's very words, which become a code here (PTP section
/// 12.4). Any other 403 is the service's own answer, and passes as it came.
async fn unless_barred(answer: Response<Body>, node: &NodeId) -> Result<Response<Body>, Refusal> {
    if answer.status() != StatusCode::FORBIDDEN {
        return Ok(answer);
    }
    let words = NETWORK_DISABLED.as_bytes();
    let (head, mut body) = answer.into_parts();
    let (mut text, mut seen) = (Vec::new(), Vec::new());
    let end = Instant::now() + WORDS;
    // No further than the words go, and no longer than a node needs for them: what else a service says may take its time.
    while words.starts_with(&text) {
        let Ok(next) = timeout_at(end, body.frame()).await else { break };
        let Some(frame) = next else {
            if text != words {
                break;
            }
            let text =
                format!("{node}, or a node behind it, does not let us in: no route to us there, or one that is closed");
            return Err(Refusal { fault: Fault::Peer, ..Refusal::of_caller(Code::UNAUTHORISED, text) });
        };
        let data = frame.as_ref().ok().and_then(Frame::data_ref).cloned();
        seen.push(frame);
        let Some(data) = data else { break };
        text.extend_from_slice(&data);
    }
    let all = stream::iter(seen).chain(BodyStream::new(body));
    Ok(Response::from_parts(head, Body::boxed(StreamBody::new(all))))
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
    let caller = taken_off(&mut request);
    let answer = partners.send(gateway, request, deadline).await?;
    answered(answer, caller, &gateway.node_id, drained)
}

/// Takes off what spoke of the caller's connection, but that it reads trailers, or that it goes on as a WebSocket: then its side
/// of the switch is returned.
fn taken_off(request: &mut Request<Body>) -> Option<Switch> {
    let caller = headers::asks_for_websocket(request.headers()).then(|| Switch::of(request));
    strip(request.headers_mut());
    if caller.is_some() {
        upgrade::mark(request.headers_mut());
    }
    caller
}

/// The answer as the caller's connection takes it; where both sides have switched they are joined.
fn answered(
    mut answer: Response<Body>,
    caller: Option<Switch>,
    node: &NodeId,
    drained: &Drained,
) -> Result<Response<Body>, Refusal> {
    headers::strip_hop_by_hop(answer.headers_mut());
    // The listener's connection decides how the answer is written.
    *answer.version_mut() = http::Version::HTTP_11;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer);
    }
    let Some(caller) = caller else {
        let text = format!("{node} switched protocols without being asked");
        return Err(Refusal { fault: Fault::Peer, ..Refusal::of_caller(Code::UNKNOWN, text) });
    };
    upgrade::mark(answer.headers_mut());
    let service = hyper::upgrade::on(&mut answer);
    let (head, body) = answer.into_parts();
    // It has no bytes, and the call's place among those to the partner.
    upgrade::join(caller, service, body, drained);
    Ok(Response::from_parts(head, Body::Empty))
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
