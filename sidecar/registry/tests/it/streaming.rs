//! Bodies pass frame by frame in both directions, whatever their length.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use mesh_core::{Body, Caller};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};

use super::house::{canned, connect, echo, get, node, raw, raw_service, read_head, send, serve};

fn frame(text: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn a_call_reaches_the_service_with_its_path_and_query_unchanged() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({"urn": "/serving/*"})).await;
    let front = node.listen(Caller::Local).await;
    let (status, text) = get(front, "/serving/models/a%20b?x=1&y=%2F", &[("x-mine", "kept")]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.starts_with("GET /serving/models/a%20b?x=1&y=%2F\n"), "{text}");
    assert!(text.contains("x-mine: kept\n") && text.contains("host: 127.0.0.1\n"), "{text}");
}

#[tokio::test]
async fn what_is_not_registered_is_left_to_the_caller_of_the_proxy() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    assert_eq!(get(front, "/servings", &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn frames_pass_in_both_directions_while_both_are_open() {
    let node = node();
    // Answers each frame as it comes, while the request is still open.
    let service = serve(|request: Request<_>| async move {
        let frames = request.into_body().into_data_stream().map(|data| data.map(Frame::data));
        Response::new(Body::boxed(StreamBody::new(frames)))
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let (mut up, receiver) = mpsc::channel(1);
    let request = Request::post("/serving").header("host", "a").body(StreamBody::new(receiver)).unwrap();
    let mut answer = send(front, request).await.into_body();
    for text in ["one", "two", "three"] {
        up.send(frame(text)).await.unwrap();
        let back = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(back, text);
    }
    drop(up);
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn ten_megabytes_arrive_whole_in_both_directions() {
    let node = node();
    let service = serve(|request: Request<_>| async move {
        let whole = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Body::from(whole))
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let sent: Bytes = (0..10_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<_>>().into();
    let request = Request::put("/serving/x").header("host", "a").body(Full::new(sent.clone())).unwrap();
    let answer = send(front, request).await;
    assert_eq!(answer.headers()["content-length"], "10000000");
    assert!(answer.into_body().collect().await.unwrap().to_bytes() == sent);
}

#[tokio::test]
async fn large_answers_follow_one_another_on_one_connection_and_end_where_they_should() {
    let node = node();
    let service = serve(|_: Request<_>| async move {
        Response::new(Body::from((0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<_>>()))
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let mut caller = connect(node.listen(Caller::Local).await).await;
    for n in 0..3 {
        caller.write_all(b"GET /serving/x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let head = read_head(&mut caller).await;
        assert!(head.contains("content-length: 3000000\r\n"), "{head}");
        let mut body = vec![0; 3_000_000];
        caller.read_exact(&mut body).await.unwrap();
        assert!(body.iter().zip(0_u32..).all(|(byte, n)| u32::from(*byte) == n % 251), "the answer {n} is another");
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_passed_on_at_once() {
    let node = node();
    node.register(
        "1",
        &canned(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig").await.to_string(),
        json!({}),
    )
    .await;
    let front = node.listen(Caller::Local).await;
    let mut stream = connect(front).await;
    stream
        .write_all(b"POST /serving HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nonly the beginning")
        .await
        .unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
}

#[tokio::test]
async fn a_caller_that_waits_for_100_continue_gets_it() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let mut stream = connect(front).await;
    let head =
        b"POST /serving HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("hello"), "{rest}");
}

#[tokio::test]
async fn an_upload_slower_than_the_timeout_is_not_the_services_fault() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({"timeout": 300})).await;
    let front = node.listen(Caller::Local).await;
    let (mut up, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            up.send(frame("x")).await.unwrap();
        }
    });
    let request = Request::post("/serving").header("host", "a").body(StreamBody::new(receiver)).unwrap();
    let answer = send(front, request).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(text.ends_with(b"\n\nxxxxx"), "{text:?}");
}

#[tokio::test]
async fn a_connection_to_the_service_is_used_again() {
    let node = node();
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = connections.clone();
    let service = raw_service(move |mut stream| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            while read_head(&mut stream).await.starts_with("GET") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    for _ in 0..20 {
        assert_eq!(get(front, "/serving", &[]).await.1, "ok");
        // The answer's end is seen by the caller before the proxy has put the connection back.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn head_and_empty_answers_end_without_a_body() {
    let node = node();
    node.register("1", &canned(b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n").await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let answer = raw(front, b"GET /serving HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 204 ") && answer.contains("x-a: b\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn trailers_of_a_chunked_answer_do_no_harm_announced_or_not() {
    for announced in [&b""[..], b"trailer: x-sum\r\n"] {
        let node = node();
        let answer = [
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n".as_slice(),
            announced,
            b"\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
        ];
        let service = canned(answer.concat().leak()).await;
        node.register("1", &service.to_string(), json!({})).await;
        let front = node.listen(Caller::Local).await;
        assert_eq!(get(front, "/serving", &[("te", "trailers")]).await, (StatusCode::OK, "ok".into()));
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_call_at_the_service() {
    let node = node();
    let (left, mut gone) = mpsc::channel(1);
    let service = raw_service(move |mut stream| {
        let mut left = left.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await.unwrap();
            // Reads nothing more until the other side is gone.
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await.ok();
            left.send(()).await.unwrap();
        }
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let mut stream = connect(front).await;
    stream.write_all(b"GET /serving HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    assert_eq!(node.registry.status()[0].under_way, 1);
    drop(stream);
    tokio::time::timeout(Duration::from_secs(60), gone.next()).await.expect("the service still waits").unwrap();
    assert_eq!(node.registry.status()[0].under_way, 0);
}

#[tokio::test]
async fn sixty_kilobytes_of_headers_pass() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    let large = "v".repeat(60_000);
    let (status, text) = get(front, "/serving", &[("x-large", &large)]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains(&large));
}

#[tokio::test]
async fn a_service_that_closes_after_each_answer_without_saying_so_loses_no_call() {
    let node = node();
    let service = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    for _ in 0..50 {
        assert_eq!(get(front, "/serving", &[]).await, (StatusCode::OK, "ok".into()));
        // Time for the close to arrive; one that crosses a request on its way cannot be told from a lost call.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
