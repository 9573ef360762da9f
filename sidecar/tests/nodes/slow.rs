//! A client that stops reading: it holds up nobody else, and what it did not read is not lost.

use std::{net::Ipv4Addr, time::Duration};

use tokio::io::AsyncWriteExt as _;

use crate::harness::{Node, connect};

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
