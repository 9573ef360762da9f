//! Services that are registered as `metadata`, called by the name in their urn (PTP sections 7, 8.5 and 10.4, point 5).

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use mesh_core::{
    Body, CallContext, Caller, Code,
    mpi::{Call, Table},
};
use mesh_registry::{Generic, Registrant, Registration};
use serde_json::{Value, json};

use super::house::{Node, nobody, node, node_of, parts, serve};

const FLAG: &str = "0001000000000000000000000000000000000";

fn urn(name: &str) -> String {
    let reversed: Vec<&str> = name.rsplit('.').collect();
    format!("{}.{FLAG}.lx0000010000280.trustbe.cn", reversed.join("."))
}

/// What a Python program with services registers for itself.
fn registration(address: SocketAddr, name: &str, proto: &str) -> Registration {
    serde_json::from_value(json!({
        "instance_id": address.to_string(), "name": "acme", "kind": "metadata", "address": address.to_string(),
        "timestamp": 30_000, "attachments": {}, "content": {"services": [
            {"urn": urn(name), "kind": "MPS", "proto": proto, "codec": "json", "address": address.to_string()},
            {"urn": urn("acme.queue"), "kind": "MPS", "proto": "mqtt"},
        ]},
    }))
    .unwrap()
}

async fn register(node: &Node, address: SocketAddr, name: &str, proto: &str) {
    let registrant = Registrant { caller: &Caller::Local, peer: None };
    node.registry.put(registration(address, name, proto), &registrant).await.unwrap();
}

/// A service that says who it is and what it was asked, in the form of generic calls.
async fn service(name: &'static str, code: &'static str) -> SocketAddr {
    serve(move |request: Request<Incoming>| async move {
        let is_grpc = request.version() == http::Version::HTTP_2;
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let arguments: Value = serde_json::from_slice(if is_grpc { &body[5..] } else { &body }).unwrap();
        let content = json!({"name": name, "path": path, "urn": said("mesh-urn"), "arguments": arguments,
            "source": said("x-ptp-source-node-id"), "session": said("x-ptp-session-id")});
        let text = json!({"code": code, "message": "said", "content": content}).to_string();
        if !is_grpc {
            return Response::new(Body::from(text));
        }
        let mut message = vec![0];
        message.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        message.extend(text.as_bytes());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames: Vec<Result<_, std::io::Error>> =
            vec![Ok(Frame::data(Bytes::from(message))), Ok(Frame::trailers(trailers))];
        let mut answer = Response::new(Body::boxed(StreamBody::new(futures::stream::iter(frames))));
        answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        answer
    })
    .await
}

/// PTP section 11.5: what was passed on by name carries who it came by, however it is asked for.
#[tokio::test]
async fn what_goes_on_by_name_says_that_it_came_by_here() {
    for proto in ["http", "grpc"] {
        let node = node();
        let passes = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let seen = Arc::clone(&passes);
        let at = serve(move |request| {
            let all: Vec<_> =
                request.headers().get_all("mesh-mdc").iter().map(|pass| pass.to_str().unwrap().to_owned()).collect();
            seen.lock().push(all);
            async { Response::new(Body::Empty) }
        });
        register(&node, at.await, "acme.score", proto).await;
        let mut table = Table::default();
        node.proxy.add_services(&mut table);
        let mdc = vec!["elsewhere".to_owned()];
        let context = CallContext { urn: Some("acme.score".into()), mdc, ..CallContext::default() };
        let call = Call { context, caller: Caller::Local, arguments: serde_json::Map::new() };
        table.call("acme.score", call).await.unwrap_err();
        let own = node.live.load().node.node_id.to_string();
        assert_eq!(*passes.lock(), [["elsewhere".to_owned(), own]], "{proto}");
    }
}

/// A call of `/mesh-rpc/v1`.
async fn grpc(node: &Node, urn: &str, headers: &[(&str, &str)], caller: &Caller) -> Generic {
    let mut request = Request::post("http://127.0.0.1/mesh-rpc/v1")
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("mesh-urn", urn);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(b"\0\0\0\0\x07{\"a\":1}".to_vec())).unwrap();
    let context = CallContext::from_headers(request.headers()).unwrap();
    node.proxy.generic(request, &context, caller).await
}

/// The content of an answer, and how its gRPC ended.
async fn content(answer: Generic) -> (Value, String) {
    let Generic::Answered(answer) = answer else { panic!("{answer:?}") };
    let body = answer.into_body().collect().await.unwrap();
    let status = body.trailers().unwrap()["grpc-status"].to_str().unwrap().to_owned();
    (serde_json::from_slice::<Value>(&body.to_bytes()[5..]).unwrap()["content"].take(), status)
}

/// A call of `/mesh/invoke`, as the table of MPIs gets it.
async fn invoke(node: &Node, urn: &str, caller: Caller) -> Result<Option<Value>, Code> {
    invoke_at(node, urn, None, caller).await
}

/// As [`invoke`], for the instance that `host` names.
async fn invoke_at(node: &Node, urn: &str, host: Option<&str>, caller: Caller) -> Result<Option<Value>, Code> {
    let mut table = Table::default();
    node.proxy.add_services(&mut table);
    let mut request = Request::post("/mesh/invoke").header("mesh-urn", urn);
    if let Some(host) = host {
        request = request.header("mesh-outgoing-host", host);
    }
    let context = CallContext::from_headers(request.headers_ref().unwrap()).unwrap();
    let Value::Object(arguments) = json!({"a": 1}) else { unreachable!() };
    table.call(&mesh_core::mpi::name_of_urn(urn), Call { context, caller, arguments }).await.map_err(|r| r.code)
}

#[tokio::test]
async fn a_generic_call_goes_on_as_it_is_to_whoever_registered_its_name() {
    let node = node();
    register(&node, service("one", "E0000000000").await, "acme.score", "grpc").await;
    let session = [("x-ptp-session-id", "s")];
    let (said, status) = content(grpc(&node, &urn("acme.score"), &session, &Caller::Local).await).await;
    let expected = json!({"name": "one", "path": "/mesh-rpc/v1", "urn": urn("acme.score"), "arguments": {"a": 1},
        "source": "LX0000010000280", "session": "s"});
    assert_eq!((said, status.as_str()), (expected, "0"));
}

#[tokio::test]
async fn what_nobody_registered_or_is_for_another_node_is_left_to_others() {
    let node = node();
    register(&node, service("one", "E0000000000").await, "acme.score", "grpc").await;
    let elsewhere = urn("acme.score").replace("lx0000010000280", "lx0000010000270");
    for urn in [urn("acme.other"), urn("acme.queue"), urn("acme"), elsewhere, urn("acme.score.more")] {
        assert!(matches!(grpc(&node, &urn, &[], &Caller::Local).await, Generic::NotHere(_)), "{urn}");
    }
    let stranger = grpc(&node, &urn("acme.score"), &[], &Caller::Stranger).await;
    assert!(matches!(stranger, Generic::NotHere(_)), "{stranger:?}");
}

#[tokio::test]
async fn a_call_by_http_reaches_services_of_either_protocol() {
    for (proto, path) in [("grpc", "/mesh-rpc/v1"), ("http", "/mesh/invoke")] {
        let node = node();
        register(&node, service("one", "E0000000000").await, "acme.score", proto).await;
        let content = invoke(&node, &urn("acme.score"), Caller::Local).await.unwrap().unwrap();
        assert_eq!((&content["path"], &content["arguments"]), (&json!(path), &json!({"a": 1})));
        assert_eq!((&content["urn"], &content["source"]), (&json!(urn("acme.score")), &json!("LX0000010000280")));
        assert_eq!(invoke(&node, &urn("acme.other"), Caller::Local).await, Err(Code::NOT_FOUND));
    }
}

#[tokio::test]
async fn a_services_own_refusal_keeps_its_code() {
    let node = node();
    register(&node, service("one", "E0000000614").await, "acme.score", "grpc").await;
    assert_eq!(invoke(&node, &urn("acme.score"), Caller::Local).await, Err(Code::NOT_PERMITTED));
}

#[tokio::test]
async fn a_partner_calls_the_names_that_are_exported_to_it() {
    for (export, open) in [("acme", true), ("/acme.score", true), ("/", true), ("/serving", false), ("acme.sc", false)]
    {
        let node = node_of(parts(&[export]), tempfile::tempdir().unwrap());
        register(&node, service("one", "E0000000000").await, "acme.score", "grpc").await;
        match grpc(&node, &urn("acme.score"), &[("x-ptp-source-node-id", "LX9")], &node.partner()).await {
            Generic::Refused(refusal) => assert_eq!((refusal.code, open), (Code::NOT_PERMITTED, false), "{export}"),
            answer => {
                let (said, _) = content(answer).await;
                assert_eq!((said["source"].as_str(), open), (Some("LX0000010000270"), true), "{export}");
            }
        }
        assert_eq!(invoke(&node, &urn("acme.score"), node.partner()).await.is_ok(), open, "{export}");
    }
}

#[tokio::test]
async fn a_call_sticks_to_the_host_that_it_names() {
    let node = node();
    let (one, two) = (service("one", "E0000000000").await, service("two", "E0000000000").await);
    for address in [one, two] {
        register(&node, address, "acme.score", "grpc").await;
    }
    let mut seen = Vec::new();
    for host in [format!("acme@{two}"), format!("acme@{two}"), format!("acme@{two}"), format!("acme@{one}")] {
        let headers = [("mesh-outgoing-host", host.as_str())];
        let (said, _) = content(grpc(&node, &urn("acme.score"), &headers, &Caller::Local).await).await;
        seen.push(said["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["two", "two", "two", "one"]);
    for (host, name) in [(two, "two"), (two, "two"), (one, "one")] {
        let content = invoke_at(&node, &urn("acme.score"), Some(&format!("acme@{host}")), Caller::Local).await;
        assert_eq!(content.unwrap().unwrap()["name"], name, "by /mesh/invoke too");
    }
    // A host that is no instance of the service is never dialled.
    let elsewhere = format!("acme@{}", nobody().await);
    let answer = grpc(&node, &urn("acme.score"), &[("mesh-outgoing-host", &elsewhere)], &Caller::Local).await;
    assert_eq!(content(answer).await.1, "0");
}

#[tokio::test]
async fn a_name_without_a_ready_instance_says_so() {
    let node = node();
    register(&node, nobody().await, "acme.score", "grpc").await;
    let answer = grpc(&node, &urn("acme.score"), &[], &Caller::Local).await;
    assert!(matches!(&answer, Generic::Refused(refusal) if refusal.code == Code::NO_INSTANCE), "{answer:?}");
    assert_eq!(invoke(&node, &urn("acme.score"), Caller::Local).await, Err(Code::NO_INSTANCE));
}

#[tokio::test]
async fn an_answer_that_is_none_of_generic_calls_is_refused() {
    let node = node();
    let silly = serve(|_| async { Response::new(Body::from("hello")) }).await;
    register(&node, silly, "acme.score", "http").await;
    assert_eq!(invoke(&node, &urn("acme.score"), Caller::Local).await, Err(Code::UNKNOWN));
}
