//! A client that stops reading: it holds up nobody else, and what it did not read is not lost.

use std::{net::Ipv4Addr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

use crate::harness::{
    Node, connect,
    h2::{H2, WINDOW_UPDATE, frame},
    until,
};

/// Far more than the socket buffers of both ends hold.
const LARGE: usize = 32 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_did_not_read_comes_to_the_next_one() {
    let node = Node::start().await;
    let message = "x".repeat(LARGE);
    assert_eq!(node.push(None, "large", &message).await, "E0000000000");
    let mut deaf = connect(Ipv4Addr::LOCALHOST, node.data).await;
    let body = r#"{"topic":"large","timeout":5000}"#;
    let head = "POST /v1/interconn/chan/pop HTTP/1.1\r\nhost: 127.0.0.1\r\nx-ptp-session-id: s\r\n";
    let request = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    deaf.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(node.push(None, "other", "small").await, "E0000000000");
    assert_eq!(node.pop("other").await.as_deref(), Some("small"), "others are served meanwhile");
    assert_eq!(node.pop("large").await, None, "it is leased to the client that does not read");
    drop(deaf);
    assert!(node.pop("large").await.is_some_and(|again| again == message), "it came back");
}

/// What the node's kernel takes at once, and a client with a small buffer does not: the node is long done with the answer.
const MIDDLE: usize = 256 << 10;

/// Longer than the time of peace of HTTP/1.1 and of HTTP/2 (design section 6).
const H1_PEACE: Duration = Duration::from_millis(5500);
const H2_PEACE: Duration = Duration::from_millis(1500);

#[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
async fn deaf(node: &Node) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let tcp = socket.connect(node.data).await.unwrap();
    // Dropped, it ends by a reset.
    SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    tcp
}

async fn comes_back(node: &Node, message: &str) {
    until("the lease to end", Duration::from_secs(10), async || node.leased().await == 0.0).await;
    assert!(node.pop("t").await.is_some_and(|again| again == message), "it came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_only_our_kernel_has_is_not_received_however_long_it_lies_there() {
    let node = Node::start().await;
    let message = "x".repeat(MIDDLE);
    let leased = async || assert_eq!(node.leased().await, 1.0, "nobody has acknowledged it");

    assert_eq!(node.push(None, "t", &message).await, "E0000000000");
    let mut client = deaf(&node).await;
    let request = "GET /v1/interconn/chan/pop?topic=t HTTP/1.1\r\nhost: 127.0.0.1\r\nx-ptp-session-id: s\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(H1_PEACE).await;
    leased().await;
    drop(client);
    comes_back(&node, &message).await;

    assert_eq!(node.push(None, "t", &message).await, "E0000000000");
    let mut client = H2::over(deaf(&node).await, 1 << 30).await;
    client.write(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await;
    assert!(client.ask(1, "/v1/interconn/chan/pop?topic=t", &[("x-ptp-session-id", "s")], b"").await);
    tokio::time::sleep(H2_PEACE).await;
    leased().await;
    drop(client);
    comes_back(&node, &message).await;
}
