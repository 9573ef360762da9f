//! `POST /mesh/invoke`: MPIs by HTTP (PTP sections 3.1, 7 and 8.3). The urn names the method, and whose it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use mesh_core::{
    Body, CallContext, Caller, Code, Live, Refusal,
    mpi::{self, Call, Table},
};
use mesh_network::{
    Partners,
    route::{self, Target},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{LONGEST_DOCUMENT, answers, body, onward};

/// What an MPI at a partner gets when the caller names no time: as long as a pop waits by default (PTP section 9.3).
const PATIENCE: Duration = Duration::from_secs(120);

/// The MPIs of this node, and the way to those of partners.
pub(crate) struct Mpis {
    pub(crate) table: Table,
    pub(crate) live: Arc<Live>,
    pub(crate) partners: Arc<Partners>,
}

/// The body of a call without the header `mesh-urn`.
#[derive(Deserialize)]
struct Named {
    #[serde(default, alias = "urn")]
    method: String,
    #[serde(default)]
    content: Map<String, Value>,
}

impl Mpis {
    /// Answers one call.
    pub(crate) async fn invoke(
        &self,
        request: Request<Body>,
        mut context: CallContext,
        caller: Caller,
    ) -> Response<Body> {
        let limit = longest(&caller, self.live.load().transport.max_body_bytes.bytes());
        let (head, body) = request.into_parts();
        let bytes = match body::whole(body, limit).await {
            Ok(bytes) => bytes,
            Err(refusal) => return answers::outcome(Err(refusal)),
        };
        let Some(arguments) = decode(&bytes, &mut context) else {
            return answers::text(StatusCode::BAD_REQUEST, "the body is no JSON object of arguments\n");
        };
        match route::target(&self.live.load(), &context) {
            Err(error) => answers::outcome(Err(error.into())),
            Ok(Target::Remote(route)) => {
                if let Err(refusal) = onward::permit(&caller, &route) {
                    return answers::outcome(Err(refusal));
                }
                let until = Instant::now() + context.timeout.unwrap_or(PATIENCE);
                let request = self.passed_on(head, bytes, &context);
                match self.partners.send(&route, request, until).await {
                    Ok(answer) => answer,
                    Err(error) => answers::outcome(Err(error.into())),
                }
            }
            Ok(Target::Local) => {
                let name = context.urn.as_deref().map(mpi::name_of_urn).unwrap_or_default();
                answers::outcome(self.table.call(&name, Call { context, caller, arguments }).await)
            }
        }
    }

    /// The same call for the partner, under this node's name.
    fn passed_on(&self, head: http::request::Parts, bytes: Bytes, context: &CallContext) -> Request<Body> {
        let mut request = Request::from_parts(head, Body::from(bytes));
        onward::in_our_name(request.headers_mut(), &self.live.load().node);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(urn) = context.urn.as_deref().and_then(|urn| HeaderValue::from_str(urn).ok()) {
            headers.insert("mesh-urn", urn);
        }
        request
    }
}

/// What a caller may send. JSON in memory is many times longer than its text, and what a partner may call takes a few members.
fn longest(caller: &Caller, most: u64) -> u64 {
    match caller {
        Caller::Local | Caller::Member => most,
        Caller::Partner(_) | Caller::Stranger => most.min(LONGEST_DOCUMENT),
    }
}

/// The arguments; a call without the header names its method in the body. `None` for what is no JSON object.
fn decode(bytes: &[u8], context: &mut CallContext) -> Option<Map<String, Value>> {
    if context.urn.is_some() {
        let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
        return if is_blank { Some(Map::new()) } else { serde_json::from_slice(bytes).ok() };
    }
    let named: Named = serde_json::from_slice(bytes).ok()?;
    context.urn = Some(named.method);
    Some(named.content)
}

/// A refusal of what is too large, said before the rest is read.
pub(super) fn too_large(limit: u64) -> Refusal {
    Refusal::of_caller(Code::TOO_LARGE, format_args!("the body is larger than the limit of {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urn_stands_in_the_header_or_in_the_body() {
        let mut by_header = CallContext { urn: Some("mesh.net.environ".into()), ..CallContext::default() };
        assert_eq!(decode(b"", &mut by_header), Some(Map::new()));
        assert_eq!(decode(br#"{"kind":"complex"}"#, &mut by_header).unwrap()["kind"], "complex");
        let mut by_body = CallContext::default();
        let arguments =
            decode(br#"{"version":"1","method":"mesh.net.edge","content":{"node_id":"LX1"}}"#, &mut by_body);
        assert_eq!(arguments.unwrap()["node_id"], "LX1");
        assert_eq!(by_body.urn.as_deref(), Some("mesh.net.edge"));
    }

    #[test]
    fn only_the_nodes_own_applications_send_long_arguments() {
        assert_eq!(longest(&Caller::Local, 1 << 30), 1 << 30);
        assert_eq!(longest(&Caller::Stranger, 1 << 30), LONGEST_DOCUMENT);
        assert_eq!(longest(&Caller::Stranger, 10), 10);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let mut context = CallContext { urn: Some("mesh.net.environ".into()), ..CallContext::default() };
        for body in [&b"[1]"[..], b"{", b"x", b"\xff"] {
            assert_eq!(decode(body, &mut context), None);
        }
    }
}
