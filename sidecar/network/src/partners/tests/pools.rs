//! Connections are shared, replaced, and closed with their route.

use std::time::{Duration, Instant};

use crds::snapshot::RouteConfig;
use futures::future::join_all;
use mesh_core::{Body, Code, ProtocolError};

use super::pair;
use crate::testing::{A, B, Running, in_seconds, institution, until};

#[tokio::test]
async fn many_calls_share_one_http_2_connection() {
    let (server, client) = pair();
    let calls = join_all((0..100).map(|_| client.call(A, "/seen"))).await;
    for said in &calls {
        let said = said.as_ref().unwrap();
        assert_eq!((&said["who"], &said["version"]), (&B.into(), &"HTTP/2.0".into()));
    }
    let most = calls.iter().map(|said| said.as_ref().unwrap()["requests"].as_u64().unwrap()).max();
    assert_eq!(most, Some(101), "one connection counted them all, and who is there was asked once");
    assert_eq!(client.call(A, "/x").await.unwrap()["host"], server.address.to_string());
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let (_server, client) = pair();
    let said = client.call_within(A, "/seen", Body::from(vec![1; 64 << 20]), Duration::from_secs(60)).await.unwrap();
    assert_eq!(said["bytes"], 64 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_swapped_under_load_without_losing_a_request() {
    let (a, b) = (institution(A), institution(B));
    let routes = |to: std::net::SocketAddr| vec![a.route_at(&[to])];
    let server = Running::start(a.parts(vec![b.route()]));
    let client = std::sync::Arc::new(Running::start(b.parts(routes(server.address))));
    let end = Instant::now() + Duration::from_secs(3);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < end {
                    let said = client.call(A, if calls % 10 == 0 { "/slow" } else { "/seen" }).await.unwrap();
                    assert_eq!(said["who"], B);
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Each `parts` issues a new leaf.
        server.swap(a.parts(vec![b.route()]));
        client.swap(b.parts(routes(server.address)));
    }
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    assert!(calls > 100, "{calls} calls");
}

#[tokio::test]
async fn a_snapshot_that_changes_nothing_for_a_partner_keeps_its_connection() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let same = b.leaf();
    let parts = || {
        let mut parts = b.parts(vec![a.route_at(&[server.address])]);
        (parts.leaf_pem, parts.key_pem) = (same.chain_pem.clone(), same.key.expose().to_owned());
        parts
    };
    let client = Running::start(parts());
    assert_eq!(client.call(A, "/seen").await.unwrap()["requests"], 2);
    client.swap(parts());
    assert_eq!(client.call(A, "/seen").await.unwrap()["requests"], 3, "the same connection");
    client.swap(b.parts(vec![a.route_at(&[server.address])]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["requests"], 2, "a new leaf, a new connection");
}

#[tokio::test]
async fn disabling_the_own_route_ends_calls_under_way_within_a_second() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let route = a.route_at(&[server.address]);
    let client = std::sync::Arc::new(Running::start(b.parts(vec![route.clone()])));
    let caller = std::sync::Arc::clone(&client);
    let waits = tokio::spawn(async move { caller.call(A, "/wait").await });
    until(|| server.waiting() == 1).await;
    let start = Instant::now();
    client.swap(b.parts(vec![RouteConfig { disabled: true, ..route.clone() }]));
    assert_eq!(waits.await.unwrap().unwrap_err().code(), Code::ROUTE_DISABLED);
    assert!(start.elapsed() < Duration::from_secs(9));
    until(|| server.waiting() == 0).await;
    assert_eq!(client.call(A, "/seen").await.unwrap_err().code(), Code::ROUTE_DISABLED);
    client.swap(b.parts(vec![RouteConfig { expires_at: Some(in_seconds(-1)), ..route.clone() }]));
    assert_eq!(client.call(A, "/seen").await.unwrap_err().code(), Code::ROUTE_EXPIRED);
    client.swap(b.parts(vec![route]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], B);
}

#[tokio::test]
async fn a_call_under_way_ends_when_its_route_expires_by_time_alone() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let route = RouteConfig { expires_at: Some(in_seconds(3)), ..a.route_at(&[server.address]) };
    let client = std::sync::Arc::new(Running::start(b.parts(vec![route])));
    let caller = std::sync::Arc::clone(&client);
    let long = Duration::from_secs(60);
    let waits = tokio::spawn(async move { caller.call_within(A, "/wait", Body::Empty, long).await });
    until(|| server.waiting() == 1).await;
    assert_eq!(waits.await.unwrap().unwrap_err().code(), Code::ROUTE_EXPIRED);
    until(|| server.waiting() == 0).await;
}

#[tokio::test]
async fn disabling_ends_calls_on_connections_from_before_a_rotation_too() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let route = a.route_at(&[server.address]);
    let client = std::sync::Arc::new(Running::start(b.parts(vec![route.clone()])));
    let caller = std::sync::Arc::clone(&client);
    let waits = tokio::spawn(async move { caller.call(A, "/wait").await });
    until(|| server.waiting() == 1).await;
    client.swap(b.parts(vec![route.clone()]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["requests"], 2, "on a new connection");
    let start = Instant::now();
    client.swap(b.parts(vec![RouteConfig { disabled: true, ..route }]));
    assert_eq!(waits.await.unwrap().unwrap_err().code(), Code::ROUTE_DISABLED);
    assert!(start.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_call_at_the_partner() {
    let (server, client) = pair();
    let caller = std::sync::Arc::clone(&client);
    let waits = tokio::spawn(async move { caller.call(A, "/wait").await });
    until(|| server.waiting() == 1).await;
    waits.abort();
    until(|| server.waiting() == 0).await;
    assert_eq!(client.call(A, "/seen").await.unwrap()["requests"], 3, "the connection is as good as before");
}

#[tokio::test]
async fn a_partner_that_restarts_is_called_again_without_a_failure() {
    let (a, b) = (institution(A), institution(B));
    let first = Running::start(a.parts(vec![b.route()]));
    let second = Running::start(a.parts(vec![b.route()]));
    let client = Running::start(b.parts(vec![a.route_at(&[first.address, second.address])]));
    let said = client.call(A, "/seen").await.unwrap();
    assert_eq!(said["host"], first.address.to_string());
    first.drain.run(Duration::from_secs(5)).await;
    let said = client.call(A, "/seen").await.unwrap();
    assert_eq!(said["host"], second.address.to_string());
}

#[tokio::test]
async fn a_call_in_a_circle_ends() {
    let (_server, client) = pair();
    let mut request = http::Request::get("/seen").body(Body::Empty).unwrap();
    for _ in 0..6 {
        client.partners.loop_guard().pass(request.headers_mut()).unwrap();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let failed = client.partners.send(&client.live.snapshot().routes()[0], request, deadline).await.unwrap_err();
    assert_eq!(failed.code(), Code::LOOP);
}

#[tokio::test]
async fn no_more_calls_wait_at_a_partner_than_the_configuration_permits() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let mut parts = b.parts(vec![a.route_at(&[server.address])]);
    parts.node.transport.max_calls_per_partner = 2;
    let client = std::sync::Arc::new(Running::start(parts));
    let waits = || {
        let client = std::sync::Arc::clone(&client);
        tokio::spawn(async move { client.call_within(A, "/wait", Body::Empty, Duration::from_secs(60)).await })
    };
    let (first, second) = (waits(), waits());
    until(|| server.waiting() == 2).await;
    let failed = client.call(A, "/seen").await.unwrap_err();
    assert!(failed.to_string().contains('2') && failed.code() == Code::UNREACHABLE, "{failed}");
    first.abort();
    until(|| server.waiting() == 1).await;
    assert_eq!(client.call(A, "/seen").await.unwrap()["who"], B);
    second.abort();
}
