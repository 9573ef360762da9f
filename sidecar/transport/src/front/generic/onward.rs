//! Generic calls that go on to a partner as they are (PTP sections 8.4 and 8.5): who may send them, and under whose name.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use mesh_core::{Body, CallContext, Caller, Code, Node, Refusal, Route, grpc::is_grpc};

use crate::{
    TransportError,
    front::{Front, call::Patience, hop::To, peers::Peers, trace},
};

/// Headers that speak of one connection only (RFC 9110 section 7.6.1); those that `Connection` names go too.
const OF_THE_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Only this node's own: a partner that wants a third party has a route to it, or has none for a reason.
pub(super) fn permit(caller: &Caller, route: &Route) -> Result<(), Refusal> {
    match caller {
        Caller::Local | Caller::Member { .. } => Ok(()),
        Caller::Gateway | Caller::Partner(_) | Caller::Stranger => Err(Refusal::of_caller(
            Code::NOT_PERMITTED,
            format_args!("calls to {} are passed on for this node's own applications only", route.node_id),
        )),
    }
}

impl<P: Peers> Front<P> {
    /// Sends a call on; its answer is the partner's, as it comes.
    pub(super) async fn onward(
        &self,
        mut request: Request<Body>,
        route: &Arc<Route>,
        context: &CallContext,
        patience: Patience,
    ) -> Result<Response<Body>, Refusal> {
        let to_grpc = is_grpc(request.headers());
        let snapshot = self.exchange.live.snapshot();
        strip(request.headers_mut());
        if To::of(&snapshot) == To::Partner || !request.headers().keys().any(|name| is_source(name.as_str())) {
            in_our_name(request.headers_mut(), &snapshot.node);
        }
        let headers = request.headers_mut();
        if to_grpc {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        } else {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // The body may be another than the one that came.
            headers.remove(header::CONTENT_LENGTH);
        }
        for (name, value) in [("mesh-urn", context.urn.clone()), ("x-ptp-trace-id", Some(trace::id_of(context)))] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
        let answer = self.peers.send(route, request, patience.onward(context.timeout)).await?;
        if answer.status() == StatusCode::FORBIDDEN {
            return Err(TransportError::PeerRefused { partner: route.node_id.to_string() }.into());
        }
        Ok(answer)
    }
}

/// Takes out what speaks of the caller's connection.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.iter().for_each(|name| drop(headers.remove(name)));
    OF_THE_CONNECTION.iter().for_each(|name| drop(headers.remove(*name)));
}

/// Says the source that our certificate proves: a partner refuses any other.
fn in_our_name(headers: &mut HeaderMap, node: &Node) {
    let sources: Vec<HeaderName> = headers.keys().filter(|name| is_source(name.as_str())).cloned().collect();
    sources.iter().for_each(|name| drop(headers.remove(name)));
    for (name, id) in [("x-ptp-source-node-id", node.node_id.as_str()), ("x-ptp-source-inst-id", node.inst_id.as_str())]
    {
        if let Ok(value) = HeaderValue::from_str(id) {
            headers.insert(name, value);
        }
    }
}

/// Any spelling of the source ids (PTP section 4.1).
fn is_source(name: &str) -> bool {
    let name = name.replace('_', "-");
    let rest = name.strip_prefix("x-ptp-").or_else(|| name.strip_prefix("mesh-"));
    matches!(rest, Some("source-node-id" | "source-inst-id" | "from-node-id" | "from-inst-id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_source_is_known() {
        for name in ["x-ptp-source-node-id", "mesh-from-inst-id", "x_ptp_source_inst_id", "mesh-source-node-id"] {
            assert!(is_source(name), "{name}");
        }
        assert!(!is_source("x-ptp-target-node-id") && !is_source("source-node-id"));
    }
}
