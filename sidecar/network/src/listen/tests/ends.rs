//! The drain: what was begun is finished, what is idle is closed, nobody is forgotten.

use std::time::Duration;

use crate::testing::{A, B, Plain, Running, institution, json_of, until};

#[tokio::test]
async fn the_drain_finishes_requests_and_closes_idle_connections() {
    let node = Running::start(institution(A).parts(Vec::new()));
    let mut idle = Plain::to(node.address).await;
    idle.get("host: localhost\r\n").await;
    let silent = Plain::to(node.address).await;
    let mut busy = Plain::to(node.address).await;
    busy.write("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let drain = node.drain.clone();
    let draining = tokio::spawn(async move { drain.run(Duration::from_secs(5)).await });
    let answer = busy.answer().await;
    assert_eq!(json_of(&answer)["path"], "/slow");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(idle.read_to_end().await, "");
    drop((busy, idle, silent));
    assert_eq!(draining.await.unwrap(), 0, "nobody was still busy");
}

#[tokio::test]
async fn the_drain_says_go_away_over_http_2_and_finishes_its_streams() {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let client = Running::start(b.parts(vec![a.route_at(&[server.address])]));
    assert_eq!(client.call(A, "/seen").await.unwrap()["version"], "HTTP/2.0");
    let partners = client.partners.clone();
    let live = client.live.snapshot();
    let slow = tokio::spawn(async move {
        let request = http::Request::get("/slow").body(mesh_core::Body::Empty).unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        partners.send(&live.routes()[0], request, deadline).await.map(|answer| answer.status())
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.drain.run(Duration::from_secs(60)).await, 0);
    assert_eq!(slow.await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn the_drain_counts_those_who_do_not_finish() {
    let node = Running::start(institution(A).parts(Vec::new()));
    let mut plain = Plain::to(node.address).await;
    plain.write("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    until(|| node.waiting() == 1).await;
    assert_eq!(node.drain.run(Duration::from_millis(100)).await, 1);
}
