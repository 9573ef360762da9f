//! What one node asks another by name: `POST /mesh/invoke`, which every kind of node serves (PTP sections 3.1 and 7).

use http::{Method, Request, header::CONTENT_TYPE};
use mesh_core::{Body, NodeId};
use serde_json::Value;

/// The MPI by which a node says who it is, backwards as a urn has it.
pub(crate) const ENVIRON: &str = "environ.net.mesh";
/// Version 00, proto 01, codec 00, and nothing else said (PTP section 8.1).
const FLAG: &str = "0001000000000000000000000000000000000";

/// The request for the MPI `name`, given backwards, of `node`, by our node `own`; `arguments` is a JSON object. That it says who
/// asks is for partners whose route to us is `clientCertificate: Optional`: others see it by the certificate.
///
/// # Errors
/// The node id fits into no header.
pub(crate) fn question(own: &NodeId, node: &NodeId, name: &str, arguments: Body) -> Result<Request<Body>, http::Error> {
    Request::builder()
        .method(Method::POST)
        .uri("/mesh/invoke")
        .header(CONTENT_TYPE, "application/json")
        .header("mesh-urn", format!("{name}.{FLAG}.{}.trustbe.cn", node.folded()))
        .header("x-ptp-source-node-id", own.as_str())
        .header("x-ptp-target-node-id", node.as_str())
        .body(arguments)
}

/// A text of an answer. What a partner says is bounded and clean before it is logged, kept or shown.
pub(crate) fn text(answer: &Value, member: &str) -> String {
    let text = answer.get(member).and_then(Value::as_str).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}
