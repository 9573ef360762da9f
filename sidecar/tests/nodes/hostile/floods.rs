//! Floods within HTTP/2: frames that cost their sender nothing and a server work (CVE-2019-9512 to 9518, CVE-2023-44487,
//! CVE-2024-27316). The node answers, slows them down or hangs up; others are served, and its memory stays.

use crate::harness::{
    Node, Raw,
    h2::{
        self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
        WINDOW_UPDATE,
    },
};

const OK: &str = "E0000000000";

/// What a flood may leave behind, in KiB: buffers of one connection, and an allocator's slack.
const LEFT_KIB: u64 = 24 << 10;

/// Sends `bytes` again and again while others are served; reads nothing, as attackers do.
async fn flood(node: &Node, name: &str, start: &[u8], bytes: impl Fn(u32) -> Vec<u8>, times: u32) -> H2 {
    let before = node.rss();
    let mut h2 = H2::to(node, 1 << 16).await;
    h2.write(start).await;
    for n in 0..times {
        let sent = tokio::time::timeout(std::time::Duration::from_millis(200), h2.write(&bytes(n))).await;
        // It has hung up, or it reads no more, which is an answer too.
        if sent != Ok(true) {
            break;
        }
        if n % (times / 4).max(1) == 0 {
            assert_eq!(node.push(None, "t", "x").await, OK, "{name}");
            assert_eq!(node.pop("t").await.as_deref(), Some("x"), "{name}");
        }
    }
    let grown = node.rss().saturating_sub(before);
    assert!(grown <= LEFT_KIB, "{name}: {grown} KiB more");
    h2
}

fn id(n: u32) -> u32 {
    2 * n + 1
}

/// The head of a pop that waits.
fn waiting_pop(n: u32) -> Vec<u8> {
    let mut head = h2::request(id(n), "/v1/interconn/chan/pop?topic=flood", &[("x-ptp-session-id", "s")]);
    head[4] |= END_STREAM;
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_end_hold_up_nobody_and_leave_nothing_behind() {
    let node = Node::start().await;
    let many = |kind, stream, payload: &'static [u8]| move |_| h2::frame(kind, 0, stream, payload).repeat(100);
    flood(&node, "pings", b"", many(PING, 0, &[0; 8]), 500).await;
    flood(&node, "settings", b"", many(SETTINGS, 0, &[0, 4, 0, 0, 255, 255]), 500).await;
    flood(&node, "priorities", b"", many(PRIORITY, 1, &[0, 0, 0, 3, 16]), 500).await;
    flood(&node, "window updates", b"", many(WINDOW_UPDATE, 0, &[0, 0, 0, 1]), 500).await;
    flood(&node, "empty data", &waiting_pop(0), many(DATA, 1, b""), 500).await;
    flood(&node, "resets of nothing", &waiting_pop(0), many(RST_STREAM, 1, &[0, 0, 0, 8]), 500).await;
    flood(&node, "unknown frames", b"", many(0xfa, 1, &[1; 100]), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_reset_leaves_no_waiting_pop_behind() {
    let node = Node::start().await;
    let calls = |n: u32| {
        let call =
            |i: u32| [waiting_pop(n * 100 + i), h2::frame(RST_STREAM, 0, id(n * 100 + i), &[0, 0, 0, 8])].concat();
        (0..100).flat_map(call).collect()
    };
    flood(&node, "rapid reset", b"", calls, 200).await;
    let none = async || node.metric("mesh_transport_waiting_pops").await == 0.0;
    crate::harness::until("no pop waits for a client that gave up", std::time::Duration::from_secs(10), none).await;
    assert_eq!(node.push(None, "flood", "x").await, OK);
    assert_eq!(node.pop_now("flood").await.as_deref(), Some("x"), "nobody who gave up took it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_refused() {
    let node = Node::start().await;
    let mut block = Vec::new();
    h2::field(&mut block, "x", &"y".repeat(1000));
    let more = move |_: u32| h2::frame(CONTINUATION, 0, 1, &block).repeat(10);
    let start = h2::frame(HEADERS, 0, 1, &[]);
    let mut h2 = flood(&node, "continuation", &start, more, 1000).await;
    assert!(h2.has_ended().await, "ten megabytes of one head were taken");
    let empty = |_: u32| h2::frame(CONTINUATION, 0, 1, &[]).repeat(1000);
    let mut h2 = flood(&node, "empty continuation", &start, empty, 500).await;
    assert!(h2.has_ended().await, "half a million empty pieces were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_table_bomb_is_refused_before_it_unfolds() {
    let node = Node::start().await;
    let (before, mut h2) = (node.rss(), H2::to(&node, 1 << 16).await);
    let mut block = Vec::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", "/stats"), (":authority", "localhost")] {
        h2::field(&mut block, name, value);
    }
    // One header of nearly the table's size, kept in it; then a byte for each of 12 000 copies.
    block.push(0x40);
    h2::length(&mut block, 1, 7);
    block.push(b'x');
    h2::length(&mut block, 4000, 7);
    block.extend([b'y'; 4000]);
    block.extend([0x80 | 62; 12_000]);
    h2.write(&h2::frame(HEADERS, END_HEADERS, 1, &block)).await;
    let answer = h2.next_of(1).await;
    let refused = answer.is_none_or(|frame| frame.kind == RST_STREAM || frame.kind == GOAWAY || frame.kind == HEADERS);
    assert!(refused, "48 MB of headers");
    let grown = node.rss().saturating_sub(before);
    assert!(grown <= LEFT_KIB, "{grown} KiB for {} bytes", block.len());
    assert_eq!(node.push(None, "t", "x").await, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_are_refused_one_by_one() {
    let node = Node::start().await;
    let mut h2 = H2::to(&node, 1 << 16).await;
    for n in 0..2000 {
        h2.write(&waiting_pop(n)).await;
    }
    assert_eq!(h2.next_of(id(1999)).await.map(|frame| frame.kind), Some(RST_STREAM), "the limit is 1024");
    assert!(node.metric("mesh_transport_waiting_pops").await <= 1024.0);
    let mut raw = Raw::to(&node).await;
    raw.write("GET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}
