//! What answers at an address, what it is told, and who waits for whom on its connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt as _, StreamBody};
use mesh_core::{Body, ProtocolError, Retry};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout},
};

use super::{failures::tls_server, pair};
use crate::{
    Kind, Place, Slip, Went,
    testing::{A, B, Running, head, institution, until},
};

fn slip() -> Slip {
    Slip::new(HeaderMap::from_iter([("x-told".parse().unwrap(), HeaderValue::from_static("secret"))]))
}

async fn told(client: &Running, slip: &Slip) -> serde_json::Value {
    let mut request = Request::get("/headers").body(Body::Empty).unwrap();
    request.extensions_mut().insert(slip.clone());
    let route = client.live.snapshot().routes()[0].clone();
    let answer = client.partners.send(&route, request, Instant::now() + Duration::from_secs(60)).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice::<serde_json::Value>(&body).unwrap()["told"].clone()
}

#[tokio::test]
async fn our_kind_is_told_what_others_never_see_and_a_new_connection_asks_again() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let route = a.route_at(&[server.address]);
    let client = Running::start(b.parts(vec![route.clone()]));
    let place = Place::new(&server.address.to_string());
    for (is_ours, expected, kind) in
        [(true, "secret".into(), Kind::Ours), (false, serde_json::Value::Null, Kind::Other)]
    {
        server.seen.is_of_our_kind.store(is_ours, Ordering::SeqCst);
        // A new leaf, a new connection.
        client.swap(b.parts(vec![route.clone()]));
        let slip = slip();
        assert_eq!(told(&client, &slip).await, expected);
        assert_eq!(slip.went(), Some(Went { place: place.clone(), kind }));
    }
}

/// Who speaks nothing but HTTP/1.1, as a proxy does that ends TLS: answers `/stats` so, and everything else with what it was told.
async fn speaks_http_1(leaf: &mesh_pki::Pair, stats: &'static str, asked: &Arc<AtomicUsize>) -> SocketAddr {
    let asked = Arc::clone(asked);
    tls_server(leaf, "http/1.1", move |mut tls| {
        let asked = Arc::clone(&asked);
        async move {
            while let Some(text) = head(&mut tls).await {
                let is_stats = text.starts_with("GET /stats ");
                asked.fetch_add(usize::from(is_stats), Ordering::SeqCst);
                let told = text.lines().find_map(|line| line.strip_prefix("x-told: "));
                let body = serde_json::json!({"told": told, "code": "E0000000000"}).to_string();
                let status = if is_stats { stats } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let is_written = tls.write_all(answer.as_bytes()).await.is_ok() && tls.flush().await.is_ok();
                if !is_written || stats.contains("connection: close") {
                    return drop(tls.shutdown().await);
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn over_http_1_our_kind_is_asked_for_and_told_as_well_and_others_are_asked_now_and_then() {
    let table = [
        ("200 OK\r\nx-mesh-kind: interconn/1", Kind::Ours, 1),
        // Each call has a new connection behind that of its question.
        ("200 OK\r\nx-mesh-kind: interconn/1\r\nconnection: close", Kind::Ours, 3),
        ("200 OK", Kind::Other, 1),
        ("404 Not Found\r\nconnection: close", Kind::Other, 1),
    ];
    let (a, b) = (institution(A), institution(B));
    for (stats, kind, questions) in table {
        let asked = Arc::default();
        let address = speaks_http_1(&a.leaf(), stats, &asked).await;
        let client = Running::start(b.parts(vec![a.route_at(&[address])]));
        let expected = if kind == Kind::Ours { "secret".into() } else { serde_json::Value::Null };
        for _ in 0..3 {
            let slip = slip();
            assert_eq!(told(&client, &slip).await, expected, "{stats}");
            assert_eq!(slip.went(), Some(Went { place: Place::new(&address.to_string()), kind }), "{stats}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), questions, "{stats}");
    }
}

#[tokio::test]
async fn a_request_for_one_address_goes_to_no_other() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Running::start(b.parts(vec![a.route_at(&[server.address, closed])]));
    let slip = Slip::at(HeaderMap::new(), Place::new(&closed.to_string()));
    let mut request = Request::get("/seen").body(Body::Empty).unwrap();
    request.extensions_mut().insert(slip.clone());
    let route = client.live.snapshot().routes()[0].clone();
    let failed = client.partners.send(&route, request, Instant::now() + Duration::from_secs(60)).await.unwrap_err();
    assert_eq!((failed.retry(), slip.went()), (Retry::Safe, None), "{failed}");
}

#[tokio::test]
async fn bodies_that_the_partner_does_not_read_hold_up_no_small_call() {
    let (server, client) = pair();
    // Each is larger than a stream's window, together they are larger than a connection's; `/wait` reads nothing.
    let stuck: Vec<_> = (0..6)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                let endless = stream::repeat(Bytes::from(vec![0; 1 << 20])).take(64);
                let body = StreamBody::new(
                    endless.map(|piece| Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece))),
                );
                client.call_within(A, "/wait", Body::boxed(body), Duration::from_secs(600)).await
            })
        })
        .collect();
    until(|| server.waiting() == 6).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let small = join_all((0..50).map(|_| client.call_within(A, "/seen", Body::Empty, Duration::from_secs(60))));
    let said = timeout(Duration::from_secs(60), small).await.expect("small calls pass");
    assert!(said.iter().all(Result::is_ok));
    // And one more large body passes on a connection of its lane that has a window left.
    let large = client.call_within(A, "/seen", Body::from(vec![1; 4 << 20]), Duration::from_secs(60)).await.unwrap();
    assert_eq!(large["bytes"], 4 << 20);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}
