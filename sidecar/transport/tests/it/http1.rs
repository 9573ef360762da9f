//! Leases over real HTTP/1.1 connections: what hyper writes commits, what it cannot write comes back.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use mesh_core::{Body, CallContext, Caller};
use mesh_transport::{Draft, Key, Op, Origin};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

use crate::node::{A, Node};

async fn serve(node: &Node) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Arc::clone(&node.front);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let front = Arc::clone(&front);
            let service = service_fn(move |request: Request<Incoming>| {
                let front = Arc::clone(&front);
                async move {
                    let context = CallContext::from_headers(request.headers()).unwrap();
                    let op = Op::of_path(request.uri().path()).unwrap();
                    Ok::<_, Infallible>(front.http(op, request.map(Body::from), context, Caller::Local).await)
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    address
}

async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // So small that a large answer cannot lie in buffers of the kernel.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(address).await.unwrap()
}

async fn send_pop(connection: &mut TcpStream, timeout: u32) {
    let request = format!(
        "GET /v1/interconn/chan/pop?topic=t&timeout={timeout} HTTP/1.1\r\nhost: x\r\nx-ptp-session-id: s\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
}

async fn push(node: &Node, size: usize) {
    let key = Key { session: mesh_core::SessionId::new("s"), topic: mesh_core::Topic::new("t") };
    let draft =
        Draft { payload: vec![7; size].into(), metadata: None, source: None, origin: Origin::Application, id: None };
    node.channels.push(&key, draft, None, Instant::now()).await.unwrap();
}

async fn until(what: &str, check: impl Fn() -> bool) {
    let settled = timeout(Duration::from_secs(60), async {
        while !check() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    settled.await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_written_answer_commits_small_or_large() {
    let node = Node::new(A, &[], &json!({}));
    let mut connection = connect(serve(&node).await).await;
    for size in [0, 5, 1 << 20] {
        push(&node, size).await;
        send_pop(&mut connection, 1000).await;
        let mut read = Vec::new();
        while !read.ends_with("请求成功\"}".as_bytes()) {
            assert_ne!(connection.read_buf(&mut read).await.unwrap(), 0);
        }
        until("the lease commits", || node.channels.levels().messages == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_dies_in_the_middle_of_its_answer_loses_nothing() {
    let node = Node::new(A, &[], &json!({}));
    let address = serve(&node).await;
    push(&node, 32 << 20).await;
    let mut connection = connect(address).await;
    send_pop(&mut connection, 1000).await;
    let mut first = [0; 100];
    connection.read_exact(&mut first).await.unwrap();
    drop(connection);
    until("it came back", || node.metrics().contains("lease_hand_backs_total 1")).await;
    assert_eq!(node.channels.levels().messages, 1);
}

#[tokio::test]
async fn a_client_that_dies_while_it_waits_takes_nothing() {
    let node = Node::new(A, &[], &json!({}));
    let address = serve(&node).await;
    let mut gone = connect(address).await;
    send_pop(&mut gone, 60_000).await;
    until("it waits", || node.metrics().contains("mesh_transport_waiting_pops 1")).await;
    drop(gone);
    until("it waits no more", || node.metrics().contains("mesh_transport_waiting_pops 0")).await;
    push(&node, 5).await;
    let mut next = connect(address).await;
    send_pop(&mut next, 1000).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(next.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert!(String::from_utf8(answer).unwrap().contains("\"payload\":\"BwcHBwc=\""));
}
