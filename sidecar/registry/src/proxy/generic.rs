//! Generic calls of services that applications registered as `metadata`: found by the name in the urn (PTP sections 7, 8.5
//! and 10.4, point 5).
//!
//! Over gRPC the call goes on as it is. Over `/mesh/invoke` its arguments go on as one message, and one message comes back.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use crds::ServiceProto;
use http::{HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use mesh_core::{
    Body, CallContext, Caller, Code, Fault, Refusal, Retry,
    mpi::{self, Answer, Call},
};
use mesh_network::route::{self, Target};
use serde::Deserialize;
use serde_json::Value;

use super::{Proxy, call, deadline, pace::Pace};
use crate::{Address, Leaf, RegistryError, Wish, metrics::Outcome, path};

/// Flag and length before each message of gRPC.
const PREFIX: usize = 5;
/// `name@host:port`: the instance that earlier calls of a session went to.
const OUTGOING_HOST: &str = "mesh-outgoing-host";

/// What becomes of a generic call.
#[derive(Debug)]
pub enum Generic {
    /// No application registered that name, or the call is for another node: it is for others to answer.
    NotHere(Request<Body>),
    /// The service's own answer.
    Answered(Response<Body>),
    /// A refusal, to be said in the form of generic calls.
    Refused(Refusal),
}

impl Proxy {
    /// Forwards a call of `/mesh-rpc/v1` to the service that its urn names.
    pub async fn generic(&self, request: Request<Body>, context: &CallContext, caller: &Caller) -> Generic {
        let Some((name, leaf)) = self.service_of(context) else { return Generic::NotHere(request) };
        if matches!(caller, Caller::Stranger) || !matches!(route::target(&self.live.load(), context), Ok(Target::Local))
        {
            return Generic::NotHere(request);
        }
        match self.named(request, &name, &leaf, context, caller, ServiceProto::Grpc).await {
            Ok(answer) => Generic::Answered(answer),
            Err(refusal) => Generic::Refused(refusal),
        }
    }

    /// Has `table` ask here for the names that it does not know itself.
    pub fn add_services(self: &Arc<Self>, table: &mut mpi::Table) {
        let proxy = Arc::clone(self);
        #[allow(clippy::result_large_err, reason = "it is no error, and is taken apart at once")]
        table.otherwise(move |call| match proxy.service_of(&call.context) {
            None => Err(call),
            Some((name, leaf)) => {
                let proxy = Arc::clone(&proxy);
                Ok(Box::pin(async move { proxy.invoke(&name, &leaf, call).await }))
            }
        });
    }

    fn service_of(&self, context: &CallContext) -> Option<(String, Arc<Leaf>)> {
        let table = self.registry.table();
        let urn = context.urn.as_deref().filter(|_| table.has_names())?;
        let name = mpi::name_of_urn(urn);
        let leaf = table.named(&name)?.clone();
        Some((name, leaf))
    }

    async fn named(
        &self,
        request: Request<Body>,
        name: &str,
        leaf: &Leaf,
        context: &CallContext,
        caller: &Caller,
        wanted: ServiceProto,
    ) -> Result<Response<Body>, Refusal> {
        let done = self.to_instance(request, name, leaf, context, caller, wanted).await;
        self.metrics.count(done.as_ref().map_or_else(|refusal| Outcome::of(refusal.code), |_| Outcome::Forwarded));
        done
    }

    async fn to_instance(
        &self,
        mut request: Request<Body>,
        name: &str,
        leaf: &Leaf,
        context: &CallContext,
        caller: &Caller,
        wanted: ServiceProto,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(route) = caller.partner().filter(|route| !path::exports_name(&route.config.exports, name)) {
            return Err(RegistryError::not_exported(name, route).into());
        }
        let Some((group, proto)) = leaf.group(wanted) else {
            return Err(Refusal::of_caller(Code::NOT_FOUND, "the service is gone"));
        };
        self.dressed(&mut request, context, caller)?;
        let sticky = context.outgoing_host.as_deref().and_then(|host| sticky_host(host, name));
        let how = call::How {
            proto,
            balance: self.live.load().registry.balance,
            wish: Wish { subset: context.subset.as_deref(), sticky: sticky.as_ref(), partner: call::partner(caller) },
            pace: Pace::of(caller, proto),
            websocket: false,
            trailers: false,
            deadline: deadline::of(request.headers()),
            drained: &self.drained,
        };
        Ok(call::make(group, request, &how).await?)
    }

    /// A call that came by `/mesh/invoke`, with its arguments read.
    async fn invoke(&self, name: &str, leaf: &Leaf, call: Call) -> Answer {
        let Call { context, caller, arguments } = call;
        let Some((_, proto)) = leaf.group(ServiceProto::Grpc) else {
            return Err(Refusal::of_caller(Code::NOT_FOUND, "the service is gone"));
        };
        let unwritable = |_| RegistryError::Request("its arguments cannot be written");
        let arguments = serde_json::to_vec(&arguments).map_err(unwritable)?;
        let request = message(&context, proto, arguments)?;
        let answer = self.named(request, name, leaf, &context, &caller, proto).await?;
        let broken = |reason: &str| RegistryError::Broken {
            service: name.to_owned(),
            address: "its instance".into(),
            reason: reason.to_owned(),
        };
        let most = self.live.load().transport.max_body_bytes.bytes();
        let body = Limited::new(answer.into_body(), usize::try_from(most).unwrap_or(usize::MAX)).collect().await;
        let bytes = body.map_err(|e| broken(&e.to_string()))?.to_bytes();
        let text = match proto {
            ServiceProto::Http => bytes,
            ServiceProto::Grpc => unframed(&bytes).ok_or_else(|| broken("it answered no message of gRPC"))?,
        };
        let said: Said = serde_json::from_slice(&text).map_err(|_| broken("it answered no JSON with a code"))?;
        said.into_answer()
    }
}

/// The answer of a generic call.
#[derive(Deserialize)]
struct Said {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    content: Option<Value>,
}

impl Said {
    fn into_answer(self) -> Answer {
        let code = Code::parse(&self.code).unwrap_or(Code::UNKNOWN);
        if code == Code::SUCCESS {
            return Ok(self.content);
        }
        let refusal = Refusal::of_caller(code, self.message);
        Err(Refusal { fault: Fault::Peer, retry: Retry::Unknown, ..refusal })
    }
}

/// One generic call as the instance takes it.
fn message(context: &CallContext, proto: ServiceProto, arguments: Vec<u8>) -> Result<Request<Body>, RegistryError> {
    let (path, content_type, body) = match proto {
        ServiceProto::Http => ("/mesh/invoke", "application/json", Bytes::from(arguments)),
        ServiceProto::Grpc => ("/mesh-rpc/v1", "application/grpc", framed(&arguments)?),
    };
    let mut request = Request::post(path).body(Body::from(body)).map_err(|_| RegistryError::Request("no request"))?;
    let said = request.headers_mut();
    said.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in [
        ("mesh-urn", context.urn.as_deref()),
        ("x-ptp-version", context.version.as_deref()),
        ("x-ptp-tech-provider-code", context.provider.as_deref()),
        ("x-ptp-trace-id", context.trace_id.as_deref()),
        ("x-ptp-token", context.token.as_deref()),
        (OUTGOING_HOST, context.outgoing_host.as_deref()),
        ("x-ptp-session-id", context.has_session.then(|| context.session.as_str())),
        ("x-ptp-source-node-id", context.source_node.as_ref().map(mesh_core::NodeId::as_str)),
        ("x-ptp-source-inst-id", context.source_inst.as_ref().map(mesh_core::InstId::as_str)),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            said.insert(HeaderName::from_static(name), value);
        }
    }
    context.mdc.iter().filter_map(|pass| HeaderValue::from_str(pass).ok()).for_each(|pass| {
        said.append(mesh_network::MDC, pass);
    });
    Ok(request)
}

fn framed(message: &[u8]) -> Result<Bytes, RegistryError> {
    let length = u32::try_from(message.len()).map_err(|_| RegistryError::Request("its arguments are too long"))?;
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Ok(frame.freeze())
}

/// The one message in a body. We announce no compression, so that there is none.
fn unframed(body: &Bytes) -> Option<Bytes> {
    let (&[flag, a, b, c, d], rest) = body.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    (flag == 0 && rest.len() == length).then(|| body.slice(PREFIX..))
}

/// PTP section 10.4, point 5: the host that the caller names, where the name that goes with it begins the service's.
fn sticky_host(named: &str, service: &str) -> Option<Address> {
    let (name, host) = named.split_once('@')?;
    let is_begun = !name.is_empty() && service.starts_with(name);
    is_begun.then(|| Address::parse(host)).flatten()
}

impl RegistryError {
    pub(super) fn not_exported(what: &str, route: &mesh_core::Route) -> Self {
        Self::NotExported { path: path::shown(what), node: route.node_id.to_string(), route: route.config.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_and_unframed() {
        let frame = framed(b"{}").unwrap();
        assert_eq!(&frame[..], b"\0\0\0\0\x02{}");
        assert_eq!(unframed(&frame).as_deref(), Some(&b"{}"[..]));
        for wrong in [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\x02{}", b"\0\0\0\0\x03{}", b"\0\0\0\0\x01{}"] {
            assert_eq!(unframed(&Bytes::from_static(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_host_sticks_to_the_services_that_its_name_begins() {
        let host = |value: &str| sticky_host(value, "acme.score.predict").map(|address| address.to_string());
        for (value, expected) in [
            ("acme@10.0.0.5:8864", Some("10.0.0.5:8864")),
            ("acme.score@h:1", Some("h:1")),
            ("other@10.0.0.5:8864", None),
            ("@10.0.0.5:8864", None),
            ("acme@nowhere", None),
            ("10.0.0.5:8864", None),
        ] {
            assert_eq!(host(value).as_deref(), expected, "{value}");
        }
    }
}
