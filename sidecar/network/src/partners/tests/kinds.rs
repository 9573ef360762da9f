//! What answers at an address, what it is told, and who waits for whom on its connections.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt as _, StreamBody};
use mesh_core::{Body, ProtocolError, Retry};
use tokio::time::{Instant, timeout};

use crate::{
    Kind, Place, Slip, Went,
    testing::{A, B, Running, institution, until},
};

fn slip() -> Slip {
    Slip::new(HeaderMap::from_iter([("x-told".parse().unwrap(), HeaderValue::from_static("secret"))]))
}

async fn told(client: &Running, slip: &Slip) -> serde_json::Value {
    let mut request = Request::get("/headers").body(Body::Empty).unwrap();
    request.extensions_mut().insert(slip.clone());
    let route = client.live.snapshot().routes()[0].clone();
    let answer = client.partners.send(&route, request, Instant::now() + Duration::from_secs(5)).await.unwrap();
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
    let failed = client.partners.send(&route, request, Instant::now() + Duration::from_secs(5)).await.unwrap_err();
    assert_eq!((failed.retry(), slip.went()), (Retry::Safe, None), "{failed}");
}

#[tokio::test]
async fn bodies_that_the_partner_does_not_read_hold_up_no_small_call() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let client = std::sync::Arc::new(Running::start(b.parts(vec![a.route_at(&[server.address])])));
    // Each is larger than a stream's window, together they are larger than a connection's; `/wait` reads nothing.
    let stuck: Vec<_> = (0..6)
        .map(|_| {
            let client = std::sync::Arc::clone(&client);
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
