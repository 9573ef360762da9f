//! Services and callers that mean harm: what leaves a doubt is refused, and nobody else's call is touched.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::Caller;
use serde_json::json;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::house::{
    Node, canned, connect, echo, get, node, raw, raw_service, read_frame, read_head, read_preface, try_send,
};

const LIMIT: Duration = Duration::from_secs(60);

async fn behind(service: SocketAddr, members: serde_json::Value) -> (Node, SocketAddr) {
    let node = node();
    node.register("1", &service.to_string(), members).await;
    let front = node.listen(Caller::Local).await;
    (node, front)
}

#[tokio::test]
async fn an_answer_that_could_end_in_two_places_is_none() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx: a\r\n content-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\nok",
        b"HTTP/1.1 99 OK\r\n\r\nok",
        b"HTTP/9.9 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x10\0\0",
    ] {
        let (_node, front) = behind(canned(answer).await, json!({})).await;
        let (status, text) = get(front, "/serving", &[]).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer:?}: {text}");
        assert!(text.contains("E0000000520"), "{text}");
    }
}

#[tokio::test]
async fn informational_answers_without_end_are_none() {
    let flood = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await.is_ok() {}
    });
    let (_node, front) = behind(flood.await, json!({})).await;
    let (status, text) = timeout(LIMIT, get(front, "/serving", &[])).await.expect("no answer");
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{text}");
    let few = canned(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let (_node, front) = behind(few.await, json!({})).await;
    assert_eq!(get(front, "/serving", &[]).await, (StatusCode::OK, "ok".into()));
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_has_its_time_and_no_more() {
    let slow = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.ok();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (_node, front) = behind(slow.await, json!({"timeout": 300})).await;
    let (status, text) = timeout(LIMIT, get(front, "/serving", &[])).await.expect("no answer");
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{text}");
}

async fn h2(front: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(connect(front).await)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn trailers_that_frame_or_route_a_message_are_left_behind() {
    let answer =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\n\
        transfer-encoding: chunked\r\nhost: evil\r\nset-cookie: a=b\r\n\r\n";
    let (_node, front) = behind(canned(answer).await, json!({})).await;
    let request = Request::get("http://127.0.0.1/serving").body(Full::default()).unwrap();
    let answer = h2(front).await.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    let trailers = answer.trailers().expect("trailers").clone();
    assert_eq!((trailers.len(), trailers["x-sum"].to_str().unwrap()), (1, "1"));
    assert_eq!(answer.to_bytes(), "ok");
}

/// Closes so that the other side gets a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_reset_before_the_answer_is_a_bad_gateway_and_one_within_it_breaks_it() {
    let before = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        reset(stream);
    });
    let (_node, front) = behind(before.await, json!({})).await;
    assert_eq!(get(front, "/serving", &[]).await.0, StatusCode::BAD_GATEWAY);
    let within = raw_service(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
        // Until the caller has seen this half.
        let _ = stream.read(&mut [0]).await;
        reset(stream);
    });
    let (_node, front) = behind(within.await, json!({})).await;
    let request = Request::get("/serving").header("host", "a").body(Full::<Bytes>::default()).unwrap();
    let mut body = try_send(front, request).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    drop(body);
}

/// What a service that is to speak HTTP/2 does with a connection.
#[derive(Clone, Copy, Debug)]
enum Evil {
    SpeaksHttp1,
    SaysNothing,
    LeavesAtOnce,
    ResetsEachStream,
    SaysGarbage,
    SendsMoreThanItSaid,
}

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

async fn be_evil(mut stream: TcpStream, evil: Evil) {
    let first = match evil {
        Evil::LeavesAtOnce => return,
        Evil::SpeaksHttp1 => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(),
        Evil::SaysGarbage => vec![0xff; 2000],
        Evil::SaysNothing | Evil::ResetsEachStream | Evil::SendsMoreThanItSaid => SETTINGS.to_vec(),
    };
    let answer = match evil {
        Evil::ResetsEachStream => frame(3, 0, &[0, 0, 0, 2]),
        // `:status 200`, and a content-length of 2, by the static table.
        Evil::SendsMoreThanItSaid => [frame(1, 4, b"\x88\x0f\x0d\x012"), frame(0, 1, b"more than two")].concat(),
        _ => Vec::new(),
    };
    let Some(()) = read_preface(&mut stream).await else { return };
    stream.write_all(&first).await.ok();
    while let Some(heard) = read_frame(&mut stream).await {
        // The head of the call is a frame of this kind, behind the client's settings and its window.
        if heard.kind == 1 {
            stream.write_all(&answer).await.ok();
        }
    }
}

#[tokio::test]
async fn a_service_that_abuses_http2_gets_its_caller_a_clear_answer() {
    for (evil, statuses) in [
        (Evil::SpeaksHttp1, &["14"][..]),
        (Evil::SaysNothing, &["4"]),
        (Evil::LeavesAtOnce, &["14"]),
        (Evil::ResetsEachStream, &["14"]),
        (Evil::SaysGarbage, &["14"]),
        (Evil::SendsMoreThanItSaid, &["14", "broken"]),
    ] {
        let service = raw_service(move |stream| be_evil(stream, evil)).await;
        let (node, front) = behind(service, json!({"proto": "grpc", "timeout": 10_000})).await;
        node.register("2", &echo().await.to_string(), json!({"urn": "/well", "proto": "grpc"})).await;
        let call = |path| {
            let request = Request::post(format!("http://127.0.0.1{path}")).header("content-type", "application/grpc");
            let request = request.header("te", "trailers").body(Full::from("\0\0\0\0\x02hi")).unwrap();
            async move {
                let answer = timeout(LIMIT, h2(front).await.send_request(request)).await.expect("no answer");
                // The break may be known before the head was read.
                let Ok(answer) = answer else { return "broken".to_owned() };
                let status = answer.headers().get("grpc-status").map(|s| s.to_str().unwrap().to_owned());
                match timeout(LIMIT, answer.into_body().collect()).await.expect("no end") {
                    Ok(_) => status.unwrap_or_else(|| "answered".into()),
                    Err(_) => "broken".into(),
                }
            }
        };
        let status = call("/serving").await;
        assert!(statuses.contains(&&*status), "{evil:?}: {status}");
        assert_eq!(call("/well").await, "answered", "{evil:?}");
    }
}

#[tokio::test]
async fn no_caller_smuggles_by_http2_what_http1_would_read_as_two() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    // Header values with line ends cannot be made here; what can be made is framing that contradicts the frames.
    for value in ["0", "4", "99"] {
        let mut sender = h2(front).await;
        let request = Request::post("http://127.0.0.1/serving").header("content-length", value);
        let answer =
            timeout(LIMIT, sender.send_request(request.body(Full::from("hello")).unwrap())).await.expect("no answer");
        if let Ok(answer) = answer
            && answer.status() == StatusCode::OK
        {
            // What was announced as empty arrives as empty; the rest reaches nobody.
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(value == "0" && text.ends_with(b"\n\n"), "{value}: {text:?}");
        }
    }
    assert_eq!(get(front, "/serving", &[]).await.0, StatusCode::OK, "the service is well");
}

#[tokio::test]
async fn targets_in_other_forms_reach_no_service_that_they_do_not_name() {
    let node = node();
    node.register("1", &echo().await.to_string(), json!({})).await;
    let front = node.listen(Caller::Local).await;
    for (target, statuses) in [
        ("/serving#x", &["400", "200"][..]),
        ("//serving", &["404", "400"]),
        ("/%73erving", &["404"]),
        ("/SERVING", &["404"]),
        ("*", &["404", "400"]),
        ("serving", &["400", "404"]),
        ("/serving/../stats", &["200"]),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        let answer = raw(front, request.as_bytes()).await;
        let status = answer.get(9..12).unwrap_or("400");
        assert!(statuses.contains(&status), "{target}: {answer}");
        // What passes, passes as it was asked for.
        assert!(status != "200" || answer.contains(target.split('#').next().unwrap()), "{target}: {answer}");
    }
}
