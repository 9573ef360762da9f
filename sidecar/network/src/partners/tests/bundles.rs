//! Calls that are small both ways travel in bundles to our kind, and in HTTP to everybody else.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::{Body, Code, NodeId, ProtocolError, Retry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::{failures::tls_server, pair};
use crate::{
    Kind, Place, RouteError, Slip,
    bundle::frame,
    testing::{A, B, Running, institution, until},
};

/// A call of which is known that its answer is short.
async fn brief(
    client: &Running,
    to: SocketAddr,
    path: &str,
    body: Body,
    limit: Duration,
) -> (Result<Response<Body>, RouteError>, Slip) {
    let slip = Slip::at(HeaderMap::new(), Place::new(&to.to_string()));
    let mut request = Request::post(path).header("x-ptp-topic", "t").body(body).unwrap();
    request.extensions_mut().insert(slip.clone());
    let route = client.live.snapshot().routes()[0].clone();
    (client.partners.send(&route, request, Instant::now() + limit).await, slip)
}

/// The same; what the service of a test node says.
async fn said(client: &Running, to: SocketAddr, path: &str, body: Body) -> serde_json::Value {
    let (answer, slip) = brief(client, to, path, body, Duration::from_secs(10)).await;
    assert_eq!(slip.went().unwrap().kind, Kind::Ours);
    let body = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_calls_share_one_connection_on_which_nothing_was_asked_before() {
    let (server, client) = pair();
    let calls = join_all((0..200).map(|n| said(&client, server.address, "/seen?x", Body::from(vec![0; n])))).await;
    for (n, said) in calls.iter().enumerate() {
        assert_eq!((&said["who"], &said["bytes"], &said["path"]), (&B.into(), &n.into(), &"/seen".into()));
    }
    let most = calls.iter().map(|said| said["requests"].as_u64().unwrap()).max();
    assert_eq!(most, Some(200), "one connection counted them all");
    assert_eq!(client.call(A, "/seen").await.unwrap()["requests"], 2, "other calls have another connection");
}

#[tokio::test]
async fn a_call_that_waits_holds_up_no_other_and_is_cancelled_when_its_caller_goes() {
    let (server, client) = pair();
    let (caller, to) = (Arc::clone(&client), server.address);
    let waits = tokio::spawn(async move { brief(&caller, to, "/wait", Body::Empty, Duration::from_secs(60)).await.0 });
    until(|| server.waiting() == 1).await;
    assert_eq!(said(&client, server.address, "/seen", Body::Empty).await["requests"], 2);
    waits.abort();
    until(|| server.waiting() == 0).await;
    assert_eq!(said(&client, server.address, "/seen", Body::Empty).await["requests"], 3, "as good as before");
}

#[tokio::test]
async fn a_call_with_more_headers_than_a_bundle_carries_goes_beside_it_and_ends_no_other() {
    let (server, client) = pair();
    let (caller, to) = (Arc::clone(&client), server.address);
    let slow = tokio::spawn(async move { said(&caller, to, "/slow", Body::Empty).await });
    let mut request = Request::post("/seen").body(Body::Empty).unwrap();
    (0..70).for_each(|_| {
        request.headers_mut().append("mesh-mdc", "other".parse().unwrap());
    });
    let slip = Slip::at(HeaderMap::new(), Place::new(&to.to_string()));
    request.extensions_mut().insert(slip);
    let route = client.live.snapshot().routes()[0].clone();
    let answer = client.partners.send(&route, request, Instant::now() + Duration::from_secs(10)).await;
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(slow.await.unwrap()["who"], B);
}

#[tokio::test]
async fn a_call_without_an_answer_in_time_may_have_arrived() {
    let (server, client) = pair();
    let (answer, slip) = brief(&client, server.address, "/wait", Body::Empty, Duration::from_millis(300)).await;
    let failed = answer.unwrap_err();
    assert_eq!((failed.code(), failed.retry()), (Code::TIMEOUT, Retry::Unknown), "{failed}");
    assert_eq!(slip.went().unwrap().kind, Kind::Ours);
    until(|| server.waiting() == 0).await;
}

#[tokio::test]
async fn an_answer_that_comes_in_pieces_is_whole_and_one_that_is_too_long_is_none() {
    let (server, client) = pair();
    let (echo, _) = brief(&client, server.address, "/echo", Body::from("hello"), Duration::from_secs(5)).await;
    let echo = echo.unwrap().into_body().collect().await.unwrap().to_bytes();
    let echo = String::from_utf8(echo.to_vec()).unwrap();
    assert!(echo.starts_with("POST /echo HTTP/2.0") && echo.ends_with("Ok(b\"hello\")"), "{echo}");
    let (large, _) = brief(&client, server.address, "/large", Body::Empty, Duration::from_secs(5)).await;
    assert_eq!(large.unwrap().status(), 500);
}

#[tokio::test]
async fn a_partner_that_ends_answers_what_came_and_new_calls_go_elsewhere() {
    let (a, b) = (institution(A), institution(B));
    let first = Running::start(a.parts(vec![b.route()]));
    let second = Running::start(a.parts(vec![b.route()]));
    let client = Arc::new(Running::start(b.parts(vec![a.route_at(&[first.address, second.address])])));
    let slow = async {
        let (answer, _) = brief(&client, first.address, "/slow", Body::Empty, Duration::from_secs(10)).await;
        answer.unwrap().status()
    };
    let ending = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        timeout(Duration::from_secs(8), first.drain.run(Duration::from_secs(10)))
            .await
            .expect("it does not wait in vain");
    };
    assert_eq!(tokio::join!(slow, ending).0, 200);
    let mut request = Request::post("/seen").body(Body::Empty).unwrap();
    request.extensions_mut().insert(Slip::repeated(HeaderMap::new(), None));
    let route = client.live.snapshot().routes()[0].clone();
    client.partners.send(&route, request, Instant::now() + Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn a_partner_without_bundles_is_called_in_http_for_all_calls_alike() {
    let (a, b) = (institution(A), institution(B));
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let old = tls_server(&a.leaf(), "h2", move |tls| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let answer = hyper::service::service_fn(async |request: Request<hyper::body::Incoming>| {
                let path = request.uri().path().to_owned();
                let says = if path == "/stats" { "E0000000000".to_owned() } else { path };
                let kind = Response::builder().header("x-mesh-kind", "interconn/1");
                Ok::<_, std::convert::Infallible>(kind.body(Body::from(says)).unwrap())
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(tls), answer).await;
        }
    })
    .await;
    let client = Running::start(b.parts(vec![a.route_at(&[old])]));
    for _ in 0..3 {
        let (answer, slip) = brief(&client, old, "/x", Body::from("x"), Duration::from_secs(5)).await;
        assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "/x");
        assert_eq!(slip.went().unwrap().kind, Kind::Ours);
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "one connection, and no second try for a bundle on it");
}

#[tokio::test]
async fn a_bundle_that_breaks_or_is_nonsense_says_what_may_have_arrived() {
    let (a, b) = (institution(A), institution(B));
    let hello = {
        let mut bytes = Vec::new();
        frame::put_bare(&mut bytes, frame::Kind::Hello, 0);
        bytes
    };
    let table: [(&[u8], &[u8], Retry); 4] = [
        (b"", b"", Retry::Safe),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", Retry::Safe),
        (&hello, b"", Retry::Unknown),
        (&hello, b"\x63\0\0\0\0\0\0\0", Retry::Unknown),
    ];
    for (before, after, retry) in table {
        let (before, after) = (before.to_vec(), after.to_vec());
        let (said, answered) = (before.clone(), after.clone());
        let odd = tls_server(&a.leaf(), "interconn/1", move |mut tls| {
            let (said, answered) = (said.clone(), answered.clone());
            async move {
                let _ = tls.write_all(&said).await;
                let _ = tls.flush().await;
                if !said.is_empty() {
                    let _ = tls.read(&mut [0; 1024]).await;
                    let _ = tls.write_all(&answered).await;
                }
                let _ = tls.shutdown().await;
            }
        })
        .await;
        let client = Running::start(b.parts(vec![a.route_at(&[odd])]));
        let failed = brief(&client, odd, "/x", Body::from("x"), Duration::from_secs(5)).await.0.unwrap_err();
        assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, retry), "{before:?} {after:?}: {failed}");
    }
}

#[tokio::test]
async fn a_partner_that_falls_silent_is_given_up_before_the_calls_time() {
    let (a, b) = (institution(A), institution(B));
    let silent = tls_server(&a.leaf(), "interconn/1", |mut tls| async move {
        let mut hello = Vec::new();
        frame::put_bare(&mut hello, frame::Kind::Hello, 0);
        let _ = tls.write_all(&hello).await;
        let _ = tls.flush().await;
        let _ = tls.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let client = Running::start(b.parts(vec![a.route_at(&[silent])]));
    let failed = brief(&client, silent, "/x", Body::from("x"), Duration::from_secs(60)).await.0.unwrap_err();
    assert_eq!((failed.code(), failed.retry()), (Code::UNREACHABLE, Retry::Unknown), "{failed}");
    let known = client.partners.addresses(&NodeId::new(A));
    assert!(known[0].error.is_some(), "the next call does not wait for a dial there: {known:?}");
}

#[tokio::test]
async fn a_partner_that_talks_and_takes_nothing_is_given_up() {
    let (a, b) = (institution(A), institution(B));
    let odd = tls_server(&a.leaf(), "interconn/1", |mut tls| async move {
        socket2::SockRef::from(tls.get_ref().0).set_recv_buffer_size(4096).unwrap();
        let mut said = Vec::new();
        frame::put_bare(&mut said, frame::Kind::Hello, 0);
        // It never reads, and answers questions that nobody asked, until that fails.
        while tls.write_all(&said).await.is_ok() && tls.flush().await.is_ok() {
            said.clear();
            frame::put_bare(&mut said, frame::Kind::Pong, 1);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
    let client = Running::start(b.parts(vec![a.route_at(&[odd])]));
    // All on one connection, and more than the buffers on the way hold.
    let body = || Body::from(vec![0; 16 * 1024]);
    let calls = (0..256).map(|_| brief(&client, odd, "/x", body(), Duration::from_secs(60)));
    let mut calls: FuturesUnordered<_> = calls.collect();
    let under_way = loop {
        let failed = calls.next().await.expect("one that was under way").0.unwrap_err();
        assert_eq!(failed.code(), Code::UNREACHABLE, "{failed}");
        // One that was not on the connection yet may be told first.
        if failed.retry() == Retry::Unknown {
            break failed;
        }
    };
    assert!(under_way.to_string().contains("takes nothing"), "not at the end of its own time: {under_way}");
}
