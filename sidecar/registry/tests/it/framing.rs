//! Messages are framed anew on each side: nothing that one parser reads in two ways gets through.

use std::sync::Arc;

use mesh_core::Caller;
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::house::{Node, echo, node, raw, raw_service, read_head};

/// A service that writes down each head that it reads, and answers it without a body.
async fn recorder(node: &Node) -> Arc<Mutex<Vec<String>>> {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let service = raw_service(move |mut stream| {
        let seen = seen.clone();
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                seen.lock().push(head);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok();
            }
        }
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    heads
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_own_connection() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let request = b"GET /serving HTTP/1.1\r\nhost: named.example\r\nconnection: close, x-secret\r\nx-secret: 1\r\n\
        keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: gzip, trailers\r\nupgrade: h2c\r\nx-kept: 2\r\n\r\n";
    let answer = raw(front, request).await;
    for gone in ["x-secret", "keep-alive", "proxy-connection", "gzip", "upgrade", "h2c"] {
        assert!(!answer.contains(gone), "{gone} in {answer}");
    }
    assert!(answer.contains("x-kept: 2\n") && answer.contains("host: named.example\n"), "{answer}");
    assert!(answer.contains("via: 1.1 mesh\n"), "{answer}");
    // That the caller reads trailers is so for the next connection as well, and is said there anew.
    assert!(answer.contains("\nte: trailers\n"), "{answer}");
}

/// A service that merges trailers into headers must not believe there what would have been refused or replaced above.
#[tokio::test]
async fn no_claim_hides_behind_the_body() {
    let node = node();
    let bodies = Arc::new(Mutex::new(String::new()));
    let seen = bodies.clone();
    let service = raw_service(move |mut stream| {
        let seen = seen.clone();
        async move {
            if read_head(&mut stream).await.is_empty() {
                return;
            }
            // The body ends with an empty line, as a head does.
            let behind = read_head(&mut stream).await;
            seen.lock().push_str(&behind);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok();
        }
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let request = b"POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
        2\r\nok\r\n0\r\nx-sum: 7\r\nx-ptp-source-node-id: LX9\r\nmesh_from_node_id: LX9\r\nhost: b\r\n\
        authorization: x\r\n\r\n";
    let answer = raw(front, request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = bodies.lock().to_ascii_lowercase();
    assert!(seen.contains("ok\r\n0\r\nx-sum: 7\r\n\r\n"), "nothing but the sum behind the body: {seen}");
}

#[tokio::test]
async fn the_services_hop_by_hop_headers_do_not_reach_the_caller() {
    let node = node();
    let service = super::house::canned(
        b"HTTP/1.1 200 OK\r\nconnection: x-inner\r\nx-inner: 1\r\nkeep-alive: timeout=9\r\nx-outer: 2\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let answer = raw(front, b"GET /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(
        answer.contains("x-outer: 2\r\n") && !answer.contains("x-inner") && !answer.contains("timeout=9"),
        "{answer}"
    );
}

/// Each of these is one request, or none; a service that reads two was smuggled one.
#[tokio::test]
async fn no_request_hides_in_another() {
    let hidden = "GET /serving/hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let long = hidden.len();
    for (name, request) in [
        (
            "content-length and chunked",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {long}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "two content-lengths",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\ncontent-length: {long}\r\n\r\n{hidden}"
            ),
        ),
        (
            "a list of content-lengths",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0, {long}\r\n\r\n{hidden}"
            ),
        ),
        (
            "a signed content-length",
            format!("POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: +0\r\n\r\n{hidden}"),
        ),
        (
            "chunked in disguise",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\ntransfer-encoding: xchunked\r\n\r\n{hidden}"
            ),
        ),
        (
            "space before the colon",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length : {long}\r\n\r\n{hidden}"
            ),
        ),
        (
            "a folded header",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: y\r\n content-length: {long}\r\n\r\n{hidden}"
            ),
        ),
        (
            "a bare line feed",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: y\ncontent-length: 0\r\n\r\n{hidden}"
            ),
        ),
        (
            "a bare carriage return",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: y\rcontent-length: {long}\r\n\r\n{hidden}"
            ),
        ),
        (
            "connection names content-length",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close, content-length\r\ncontent-length: {long}\r\n\r\n{hidden}"
            ),
        ),
        (
            "a chunk size beyond its data",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcXX\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "a huge chunk size",
            format!(
                "POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "a GET with a body",
            format!("GET /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {long}\r\n\r\n{hidden}"),
        ),
    ] {
        let node = node();
        let front = node.listen(Caller::Local).await;
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let seen = bodies.clone();
        let service = super::house::serve(move |request: http::Request<_>| {
            seen.lock().push(request.uri().path().to_owned());
            async move {
                http_body_util::BodyExt::collect(request.into_body()).await.ok();
                http::Response::new(mesh_core::Body::Empty)
            }
        })
        .await;
        node.register("1", &service.to_string(), json!({})).await;
        raw(front, request.as_bytes()).await;
        let seen = bodies.lock().clone();
        assert!(seen.is_empty() || seen == ["/serving"], "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn a_service_never_sees_both_ways_of_framing_at_once() {
    let node = node();
    let heads = recorder(&node).await;
    let front = node.listen(Caller::Local).await;
    raw(front, b"POST /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    for head in heads.lock().iter() {
        let head = head.to_ascii_lowercase();
        assert!(!(head.contains("content-length") && head.contains("transfer-encoding")), "{head}");
    }
}

#[tokio::test]
async fn an_absolute_target_becomes_a_path_and_its_host_counts() {
    let node = node();
    let heads = recorder(&node).await;
    let front = node.listen(Caller::Local).await;
    raw(front, b"GET http://named.example:81/serving/x?y HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n").await;
    let heads = heads.lock().clone();
    assert!(heads[0].starts_with("GET /serving/x?y HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("host: named.example:81\r\n") && !heads[0].contains("other"), "{heads:?}");
}

#[tokio::test]
async fn connect_opens_no_tunnel() {
    let node = node();
    recorder(&node).await;
    let front = node.listen(Caller::Local).await;
    let answer = raw(front, b"CONNECT /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}
