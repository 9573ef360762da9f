//! Ten thousand idle connections: the node serves on, and each costs little.

use std::net::Ipv4Addr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::Node;

const CONNECTIONS: usize = 10_000;

/// Engineering notes, section 5.4: the aim of 64 KiB for each connection.
const EACH_KIB: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_cost_little_and_keep_nobody_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let node = Node::start().await;
    assert_eq!(node.push(None, "t", "warm").await, "E0000000000");
    let before = node.rss();
    let mut open = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        open.push(used_once(&node).await);
    }
    let each = (node.rss() - before) / CONNECTIONS as u64;
    println!("idle {before} KiB, and {each} KiB for each of {CONNECTIONS} connections");
    assert!(each <= EACH_KIB, "{each} KiB for each connection");
    assert_eq!(node.push(None, "t", "still served").await, "E0000000000");
}

/// A connection that has had one answer and is kept open, as SDKs do.
#[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
async fn used_once(node: &Node) -> tokio::net::TcpStream {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, node.data.port())).await.unwrap();
    // Ends by a reset: so many ports that wait for a minute would be missed by the tests behind this one.
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    stream.write_all(b"GET /stats HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].ends_with(b"E0000000000"));
    stream
}
