//! Calls that wait when a process ends wait on at the one that comes next (design sections 5 and 6): pushes to a partner that is
//! away, what waits in a gateway, what waits at a partner. A WebSocket is told to connect again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, task::JoinHandle, time::timeout};

use crate::{
    exchange::two,
    gateway::{Place, registration, service},
    harness::{A, Answer, B, Node, Partner, Raw, free_port, from, post, until},
};

const OK: &str = "E0000000000";
/// A process that starts again on a busy machine, and more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Twenty repeats a second and a fifth of the first tries take a minute for so many.
const MANY: usize = 1500;

/// An application's call that is not answered yet.
fn call(node: &Node, operation: &str, timeout: &str, body: &serde_json::Value) -> JoinHandle<Answer> {
    let headers = [("x-ptp-session-id", "s"), ("x-ptp-target-node-id", B), ("x-ptp-timeout", timeout)];
    let request = post(&format!("/v1/interconn/chan/{operation}"), &headers, body.to_string());
    tokio::spawn(from(Ipv4Addr::LOCALHOST, node.data, request))
}

fn push(node: &Node, timeout: &str, text: &str) -> JoinHandle<Answer> {
    call(node, "push", timeout, &json!({"topic": "t", "payload": STANDARD.encode(text)}))
}

async fn end(node: &mut Node) {
    node.signal("TERM");
    assert!(node.ended(PATIENCE).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_wait_for_a_partner_that_is_away_however_many_they_are() {
    let (a, mut b) = two().await;
    end(&mut b).await;
    let pushes: Vec<_> = (0..MANY).map(|number| push(&a, "45000", &number.to_string())).collect();
    let repeated = async || a.metric("mesh_transport_push_repeats_total").await >= MANY as f64;
    until("all of them to be repeated", PATIENCE, repeated).await;
    b.start_again().await;
    for push in pushes {
        let answer = push.await.unwrap();
        assert_eq!(answer.code(), OK, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_wait_in_a_gateway_for_a_partner_wait_on_in_the_next() {
    let theirs = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let place = Place::with_partner_at(&json!({}), Some(theirs));
    let (mut gateway, one) = (place.gateway().await, place.sidecar().await);
    let pushes: Vec<_> = (0..20).map(|number| push(&one, "60000", &number.to_string())).collect();
    let wait = async || gateway.metric("mesh_transport_push_repeats_total").await >= 40.0;
    until("all of them to wait for the partner", PATIENCE, wait).await;
    end(&mut gateway).await;
    gateway.start_again().await;
    let there = tempfile::tempdir().unwrap();
    place.partner.publish(there.path(), &[Partner { bank: &place.bank, address: None, more: json!({}) }]);
    let partner = Node::on(theirs.port(), &[("MESH_CONFIG_DIR", there.path().to_str().unwrap())]).await;
    for push in pushes {
        let answer = push.await.unwrap();
        assert_eq!(answer.code(), OK, "{}", answer.text());
    }
    let mut arrived = Vec::new();
    while let Some(text) = partner.pop_soon("t").await {
        arrived.push(text.parse::<usize>().unwrap());
    }
    arrived.sort_unstable();
    assert_eq!(arrived, (0..20).collect::<Vec<_>>(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_a_partner_that_ends_waits_on_at_the_one_that_comes_next() {
    let a = Node::start().await;
    let mut b = Node::with_transport("maxBodyBytes: 32Ki, sessionBytes: 32Ki", &[]).await;
    let (root_a, root_b) = (a.become_node(A).await, b.become_node(B).await);
    assert_eq!(a.trust(B, b.data, &root_b).await, OK);
    assert_eq!(b.trust(A, a.data, &root_a).await, OK);
    let large = |mark: char| mark.to_string().repeat(17_000);
    assert_eq!(push(&a, "5000", &large('1')).await.unwrap().code(), OK);
    let second = push(&a, "60000", &large('2'));
    let popping = call(&a, "pop", "60000", &json!({"topic": "later", "timeout": 60_000}));
    let both = async || {
        b.metric("mesh_transport_waiting_pushes").await >= 1.0 && b.metric("mesh_transport_waiting_pops").await >= 1.0
    };
    until("both to wait at the partner", PATIENCE, both).await;
    end(&mut b).await;
    b.start_again().await;
    assert_eq!(b.pop("t").await, Some(large('1')), "it was kept, and there is room now");
    let answer = second.await.unwrap();
    assert_eq!(answer.code(), OK, "{}", answer.text());
    assert_eq!(b.pop("t").await, Some(large('2')));
    let body = json!({"topic": "later", "payload": "bGF0ZXI="});
    assert_eq!(call(&a, "push", "5000", &body).await.unwrap().code(), OK);
    let popped = popping.await.unwrap();
    assert_eq!((popped.code().as_str(), popped.json()["payload"].as_str()), (OK, Some("bGF0ZXI=")));
}

/// A text frame as a client sends it, under a mask of zeros.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";

/// A WebSocket to `/echo` that answers.
async fn websocket(node: &Node) -> Option<Raw> {
    let mut socket = Raw::to(node).await;
    let head =
        format!("GET /echo/ws HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", node.data);
    assert!(socket.write(head).await);
    (socket.answer().await?.status == 101).then_some(())?;
    assert!(socket.write(HELLO).await);
    let mut back = [0; HELLO.len()];
    timeout(PATIENCE, socket.tcp.read_exact(&mut back)).await.expect("an echo").ok()?;
    assert_eq!(back, HELLO);
    Some(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_hears_1012_when_its_gateway_ends_and_is_back_at_the_next() {
    let place = Place::with_partner_at(&json!({}), None);
    let (mut gateway, one) = (place.gateway().await, place.sidecar().await);
    let echo = service().await.to_string();
    let put = one.post("/v1/interconn/registry/register", &[], &registration(&echo)).await;
    assert_eq!(put.code(), OK, "{}", put.text());
    let mut socket = websocket(&one).await.expect("a WebSocket");
    gateway.signal("TERM");
    let last = socket.rest().await;
    assert_eq!((last[0], &last[2..4]), (0x88, &1012_u16.to_be_bytes()[..]), "{last:?}");
    assert_eq!(last.len(), 2 + usize::from(last[1]), "one close frame, and the end");
    assert!(gateway.ended(PATIENCE).await.success());
    gateway.start_again().await;
    let back = async || websocket(&one).await.is_some();
    until("a WebSocket again", PATIENCE, back).await;
}
