//! gRPC over h2c: frames and trailers pass, and refusals come in gRPC's own form.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::{Body, Caller};
use serde_json::json;
use tokio::{io::AsyncWriteExt, sync::Semaphore};

use super::house::{black_hole, connect, echo, get, nobody, node, raw_service, read_frame, read_preface, serve};

/// A service that echoes a message and ends with trailers, as gRPC does.
pub(crate) async fn grpc_service() -> std::net::SocketAddr {
    serve(|request: Request<hyper::body::Incoming>| async move {
        let version = format!("{:?} {}", request.version(), request.headers().contains_key("te"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames: Vec<Result<Frame<Bytes>, std::io::Error>> =
            vec![Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
        let mut answer = Response::new(Body::boxed(StreamBody::new(futures::stream::iter(frames))));
        answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        answer.headers_mut().insert("x-seen", version.parse().unwrap());
        answer
    })
    .await
}

async fn http2(front: std::net::SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(connect(front).await);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    sender
}

async fn call(front: std::net::SocketAddr, path: &str) -> Response<hyper::body::Incoming> {
    call_with(front, path, &[]).await
}

pub(crate) async fn call_with(
    front: std::net::SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<hyper::body::Incoming> {
    let mut sender = http2(front).await;
    let mut request = Request::post(format!("http://{front}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let message = Full::new(Bytes::from_static(b"\0\0\0\0\x02hi"));
    sender.send_request(request.body(message).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_unary_call_passes_with_its_trailers() {
    let node = node();
    let both = json!({"urn": "/pkg.Service", "proto": "grpc"});
    node.register("1", &grpc_service().await.to_string(), both).await;
    let front = node.listen(Caller::Local).await;
    let answer = call(front, "/pkg.Service/Method").await;
    assert_eq!(answer.headers()["x-seen"], "HTTP/2.0 true");
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(&body.to_bytes()[..], b"\0\0\0\0\x02hi");
}

#[tokio::test]
async fn grpc_and_http_under_one_urn_go_to_their_own_services() {
    let node = node();
    node.register("grpc", &grpc_service().await.to_string(), json!({"proto": "grpc"})).await;
    node.register("http", &echo().await.to_string(), json!({"proto": "http"})).await;
    let front = node.listen(Caller::Local).await;
    assert_eq!(call(front, "/serving").await.headers()["x-seen"], "HTTP/2.0 true");
    assert!(get(front, "/serving", &[]).await.1.starts_with("GET /serving\n"));
}

#[tokio::test]
async fn a_call_over_http2_reaches_a_service_that_speaks_http1() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let mut sender = http2(front).await;
    let request = Request::get(format!("http://named.example{}", "/serving/x?y"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let text = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.starts_with("GET /serving/x?y\n") && text.contains("host: named.example\n"), "{text}");
    assert!(text.contains("cookie: a=1; b=2\n"), "{text}");
}

#[tokio::test]
async fn a_call_over_http1_reaches_a_service_that_speaks_http2() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({"proto": "grpc"})).await;
    let (_, text) = get(node.listen(Caller::Local).await, "/serving/x?y", &[]).await;
    assert!(text.starts_with("GET http://127.0.0.1/serving/x?y\n"), "{text}");
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let node = node();
    let service = grpc_service().await;
    node.register("1", &service.to_string(), json!({"proto": "grpc"})).await;
    let front = node.listen(Caller::Local).await;
    let calls = (0..50).map(|_| async move {
        let answer = call(front, "/serving").await;
        answer.into_body().collect().await.unwrap().trailers().unwrap()["grpc-status"].clone()
    });
    assert!(futures::future::join_all(calls).await.iter().all(|status| status == "0"));
}

/// RFC 9113 section 5.1.2: a service says how many calls it takes on a connection, and the others have a connection of their own.
#[tokio::test]
async fn a_service_that_takes_two_calls_on_a_connection_gets_a_second_connection() {
    let (gate, connections) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opens, counted) = (Arc::clone(&gate), Arc::clone(&connections));
    let service = raw_service(move |stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        let gate = Arc::clone(&gate);
        let answers = service_fn(move |_: Request<hyper::body::Incoming>| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, std::convert::Infallible>(Response::new(Body::Empty))
            }
        });
        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.max_concurrent_streams(2);
        async move { drop(server.serve_connection(TokioIo::new(stream), answers).await) }
    })
    .await;
    let node = node();
    node.register("1", &service.to_string(), json!({"proto": "grpc"})).await;
    let front = node.listen(Caller::Local).await;
    let calls = tokio::spawn(futures::future::join_all((0..6).map(move |_| call(front, "/serving"))));
    // All six are at the service before the first is answered.
    let start = std::time::Instant::now();
    while connections.load(Ordering::Relaxed) < 3 {
        assert!(start.elapsed().as_secs() < 20, "{} connections", connections.load(Ordering::Relaxed));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    opens.add_permits(6);
    for answer in calls.await.unwrap() {
        assert_eq!((answer.status().as_u16(), answer.headers().contains_key("grpc-status")), (200, false));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

/// A server of HTTP/2 that answers each request with this frame: type, flags and payload, on the request's stream or on none.
async fn answers_with(kind: u8, on_stream: bool, payload: &'static [u8]) -> std::net::SocketAddr {
    raw_service(move |mut stream| async move {
        let Some(()) = read_preface(&mut stream).await else { return };
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        while let Some(asked) = read_frame(&mut stream).await {
            if asked.kind == 4 && asked.flags == 0 {
                stream.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).await.unwrap();
            } else if asked.kind == 1 {
                let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, 0];
                frame.extend_from_slice(if on_stream { &asked.stream } else { &[0; 4] });
                frame.extend_from_slice(payload);
                stream.write_all(&frame).await.unwrap();
            }
        }
    })
    .await
}

/// RFC 9113 section 8.7: nothing was done. A server that ends, or has enough for now, is not one that answers badly.
#[tokio::test]
async fn a_stream_that_the_service_refused_or_left_behind_is_not_its_fault() {
    let (reset, goaway) = (3, 7);
    for (kind, on_stream, payload, is_blamed) in [
        (reset, true, &[0, 0, 0, 7][..], false),
        (goaway, false, &[0, 0, 0, 0, 0, 0, 0, 0], false),
        (reset, true, &[0, 0, 0, 2], true),
    ] {
        let service = answers_with(kind, on_stream, payload).await;
        let node = node();
        node.register("1", &service.to_string(), json!({"proto": "grpc"})).await;
        let front = node.listen(Caller::Local).await;
        for _ in 0..10 {
            let answer = call(front, "/serving").await;
            assert_eq!(answer.headers()["grpc-status"], "14", "UNAVAILABLE: the caller may try again");
        }
        let state = &node.registry.status()[0].state;
        let is_ejected = matches!(state, mesh_registry::InstanceState::Ejected(_));
        assert_eq!(is_ejected, is_blamed, "{kind} {payload:?}: {state:?}");
    }
}

/// PTP section 10.4, point 3: what surely did not arrive goes elsewhere, with all of its body.
#[tokio::test]
async fn a_call_that_a_service_did_not_begin_with_goes_to_the_next_one() {
    let (reset, goaway) = (3, 7);
    for (kind, on_stream, payload) in [(reset, true, &[0, 0, 0, 7][..]), (goaway, false, &[0, 0, 0, 0, 0, 0, 0, 0])] {
        let node = node();
        let full = answers_with(kind, on_stream, payload).await;
        node.register("full", &full.to_string(), json!({"proto": "grpc"})).await;
        node.register("well", &grpc_service().await.to_string(), json!({"proto": "grpc"})).await;
        let front = node.listen(Caller::Local).await;
        // More than one frame of HTTP/2, less than a service takes unasked.
        for length in [7, 50_000].into_iter().cycle().take(10) {
            let sent = Bytes::from(vec![7; length]);
            let request = Request::post(format!("http://{front}/serving")).header("content-type", "application/grpc");
            let mut sender = http2(front).await;
            let answer = sender.send_request(request.body(Full::new(sent.clone())).unwrap()).await.unwrap();
            let body = answer.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().expect("the service's own end")["grpc-status"], "0");
            assert_eq!(body.to_bytes(), sent, "{kind}");
        }
    }
}

/// A service that never answers.
async fn silent() -> std::net::SocketAddr {
    serve(|_| std::future::pending()).await
}

#[tokio::test]
async fn a_service_has_no_longer_than_its_caller_waits_and_no_longer_than_its_own_timeout() {
    // Seconds that a service may take, and what its caller says; the shorter one ends the call.
    for (timeout, caller, says) in [(3_600_000, "300m", " ms"), (300, "1H", "300 ms"), (300, "", "300 ms")] {
        let node = node();
        node.register("1", &silent().await.to_string(), json!({"proto": "grpc", "timeout": timeout})).await;
        let front = node.listen(Caller::Local).await;
        let headers = [("grpc-timeout", caller)];
        let answer = call_with(front, "/serving", if caller.is_empty() { &[] } else { &headers }).await;
        assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED for {timeout} and {caller}");
        let message = answer.headers()["grpc-message"].to_str().unwrap();
        assert!(message.starts_with("E0000000601") && message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn a_caller_in_a_hurry_says_nothing_of_the_instance() {
    let node = node();
    let slow = serve(|_| async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        Response::new(Body::Empty)
    })
    .await;
    node.register("1", &slow.to_string(), json!({"proto": "grpc"})).await;
    let front = node.listen(Caller::Local).await;
    let hurried = (0..10).map(|_| call_with(front, "/serving", &[("grpc-timeout", "50m")]));
    for answer in futures::future::join_all(hurried).await {
        assert_eq!(answer.headers()["grpc-status"], "4");
    }
    let state = &node.registry.status()[0].state;
    assert!(!matches!(state, mesh_registry::InstanceState::Ejected(_)), "{state:?}");
}

#[tokio::test]
async fn refusals_are_grpc_statuses() {
    let node = node();
    node.register("1", &nobody().await.to_string(), json!({"proto": "grpc"})).await;
    for (caller, path, status, code) in [
        (Caller::Local, "/serving", "14", "E0000000602"),
        (node.partner(), "/private", "7", "E0000000614"),
        (Caller::Stranger, "/serving", "7", "E0000000403"),
    ] {
        let answer = call(node.listen(caller).await, path).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["grpc-status"].to_str().unwrap()), (200, status));
        let message = answer.headers()["grpc-message"].to_str().unwrap();
        assert!(message.starts_with(code), "{message}");
    }
}

#[tokio::test]
async fn calls_to_an_instance_that_swallows_everything_end_in_their_own_time_and_not_one_after_the_other() {
    let node = node();
    let (hole, _full) = black_hole().await;
    node.register("1", &hole.to_string(), json!({"proto": "grpc", "timeout": 300})).await;
    let front = node.listen(Caller::Local).await;
    let calls = futures::future::join_all((0..100).map(|_| call(front, "/serving")));
    let answers = tokio::time::timeout(std::time::Duration::from_secs(60), calls).await.expect("in turn it is minutes");
    for answer in answers {
        let message = answer.headers()["grpc-message"].to_str().unwrap();
        assert!(message.starts_with("E0000000601") && message.contains("300 ms"), "{message}");
    }
}
