//! Services that speak TLS: verified by the roots of this node (those of the machine are read the same way), by the name that
//! was dialled, and never half-trusted.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use mesh_core::{Body, Caller};
use mesh_registry::InstanceState;
use serde_json::json;

use super::house::{Institution, Node, bank_a, bank_b, echoed, get, node_of, serve_tls};

fn node_with(own: &Institution) -> Node {
    node_of(own.with_partner(&bank_b(), &[], &[]), tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn a_service_behind_tls_is_reached_by_either_protocol() {
    let own = bank_a();
    for (proto, alpn, version) in [("http", &b"http/1.1"[..], "HTTP/1.1"), ("grpc", b"h2", "HTTP/2.0")] {
        let node = node_with(&own);
        let service = serve_tls(own.acceptor(&["localhost"], &[], &[alpn]), |request: Request<Incoming>| async move {
            let version = format!("{:?}\n", request.version());
            let text = http_body_util::BodyExt::collect(echoed(request).await.into_body()).await.unwrap().to_bytes();
            http::Response::new(Body::from([version.as_bytes(), &text[..]].concat()))
        });
        let address = format!("https://localhost:{}", service.await.port());
        node.register("1", &address, json!({"proto": proto})).await;
        let (status, text) = get(node.listen(Caller::Local).await, "/serving/x", &[]).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(text.starts_with(version) && text.contains("/serving/x\n"), "{text}");
    }
}

#[tokio::test]
async fn a_service_by_its_ip_address_shows_that_address() {
    let own = bank_a();
    let node = node_with(&own);
    let service = serve_tls(own.acceptor(&[], &["127.0.0.1"], &[b"http/1.1"]), echoed).await;
    node.register("1", &format!("https://{service}"), json!({})).await;
    assert_eq!(get(node.listen(Caller::Local).await, "/serving", &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_cannot_prove_what_it_is_gets_no_calls_and_its_reason_is_shown() {
    let (own, other) = (bank_a(), bank_b());
    let plain = super::house::echo().await;
    for (service, proto, reason) in [
        (serve_tls(own.acceptor(&["other.example"], &[], &[b"http/1.1"]), echoed).await, "http", "name"),
        (serve_tls(other.acceptor(&["localhost"], &[], &[b"http/1.1"]), echoed).await, "http", "certificate"),
        (serve_tls(own.acceptor(&["localhost"], &[], &[b"http/1.1"]), echoed).await, "grpc", "ApplicationProtocol"),
        (plain, "http", "TLS"),
    ] {
        let node = node_with(&own);
        let address = format!("https://localhost:{}", service.port());
        node.register("1", &address, json!({"proto": proto})).await;
        let (status, text) = get(node.listen(Caller::Local).await, "/serving", &[]).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.contains("E0000000602") && text.contains("TLS with https://localhost"), "{reason}: {text}");
        let state = &node.registry.status()[0].state;
        assert!(matches!(state, InstanceState::NotReady(why) if why.contains(reason)), "{reason}: {state:?}");
    }
}
