//! Bombs: little to send, much to hold. Each is refused with its code, and the node's memory stays.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use crate::harness::{
    Node, Raw,
    h2::{DATA, H2},
};

const OK: &str = "E0000000000";

/// The largest body of the node that is bombed.
const LIMIT_MIB: usize = 4;

/// What an attack may leave behind, in KiB: twice the largest body for each of two workers, and an allocator's slack.
const LEFT_KIB: u64 = 64 << 10;

async fn node() -> (Node, tempfile::TempDir) {
    Node::with_file(&format!("transport: {{maxBodyBytes: {LIMIT_MIB}Mi, sessionBytes: 16Mi, totalBytes: 32Mi}}\n"))
        .await
}

fn gzip(megabytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..megabytes).for_each(|_| encoder.write_all(&zeros).unwrap());
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_bomb_is_opened_up_to_the_limit_and_no_further() {
    let (node, _file) = node().await;
    assert_eq!(node.push(None, "t", "warm").await, OK);
    let before = node.rss();
    // 256 MiB in 256 KiB.
    let bomb = gzip(256);
    let body = [&[1][..], &u32::try_from(bomb.len()).unwrap().to_be_bytes(), &bomb].concat();
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", "gzip")];
    for _ in 0..8 {
        let mut h2 = H2::to(&node, 1 << 16).await;
        let path = "/org.ppc.ptp.PrivateTransferTransport/push";
        h2.write(&crate::harness::h2::request(1, path, &headers)).await;
        for piece in body.chunks(16_000) {
            h2.write(&crate::harness::h2::frame(DATA, 0, 1, piece)).await;
        }
        let said = h2.wait_for(DATA, 1).await.expect("an answer");
        assert!(String::from_utf8_lossy(&said.payload).contains("E0000000413"), "{said:?}");
    }
    let grown = node.rss().saturating_sub(before);
    assert!(grown <= LEFT_KIB, "{grown} KiB for {} KiB", 8 * bomb.len() / 1024);
    assert_eq!(node.pop("t").await.as_deref(), Some("warm"));
}

fn post(lines: &str, body: &str) -> String {
    format!(
        "POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{lines}\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_small_and_deep_or_huge_and_announced_are_refused() {
    let (node, _file) = node().await;
    let before = node.rss();
    let lengthy = |body: String| post(&format!("content-length: {}\r\n", body.len()), &body);
    let deep = format!("{{\"topic\":{}", "[".repeat(1 << 20));
    let wide = format!("{{\"topic\":\"t\",\"payload\":[{}0]}}", "0,".repeat(1 << 20));
    let many = |entries: usize| {
        let entries = (0..entries).map(|n| format!("\"{n}\":\"\"")).collect::<Vec<_>>().join(",");
        lengthy(format!("{{\"topic\":\"t\",\"payload\":\"\",\"metadata\":{{{entries}}}}}"))
    };
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let table = [
        ("deep JSON", lengthy(deep.clone()), 200, Some("E0000000400")),
        (
            "deep JSON that nobody asks for",
            lengthy(format!("{{\"x\":{}", "{\"x\":".repeat(100_000))),
            200,
            Some("E0000000400"),
        ),
        ("a payload of a million numbers", lengthy(wide), 200, Some(OK)),
        ("metadata of ten thousand entries", many(10_000), 200, Some(OK)),
        ("metadata of a hundred thousand entries", many(100_000), 200, Some("E0000000400")),
        ("a length beyond the limit", post("content-length: 4194305\r\n", "{"), 200, Some("E0000000413")),
        ("the longest length", post("content-length: 18446744073709551614\r\n", "{"), 431, None),
        (
            "chunks beyond the limit",
            post("transfer-encoding: chunked\r\n", &chunk.repeat(LIMIT_MIB + 1)),
            200,
            Some("E0000000413"),
        ),
        ("a chunk of the largest size", post("transfer-encoding: chunked\r\n", "fffffffffffffffe\r\n{"), 0, None),
        ("a hundred and one headers", post(&"a: b\r\n".repeat(101), ""), 431, None),
        ("a long header", post(&format!("x: {}\r\n", "y".repeat(70_000)), ""), 431, None),
    ];
    for (name, request, status, code) in table {
        let mut raw = Raw::to(&node).await;
        raw.write(&request).await;
        if status == 0 {
            // It waits for the rest of what was announced, as for any slow sender.
            drop(raw);
            continue;
        }
        let heard = raw.answer().await.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!((heard.status, heard.code().as_deref()), (status, code), "{name}: {}", heard.text());
        assert_eq!(node.push(None, "other", "x").await, OK, "{name}: it serves on");
        node.post("/v1/interconn/chan/release", &[], &serde_json::json!({"topic": ""})).await;
    }
    let grown = node.rss().saturating_sub(before);
    assert!(grown <= LEFT_KIB, "{grown} KiB are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_the_control_calls_are_bounded() {
    let node = Node::start().await;
    let long = serde_json::json!({"node_id": "LX1", "inst_id": "JG1", "name": "x".repeat(2 << 20)});
    for path in ["/v1/interconn/node/refresh", "/v1/interconn/net/refresh", "/v1/interconn/registry/register"] {
        let answer = node.post(path, &[], &long).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (200, "E0000000413"), "{path}: {}", answer.text());
        let deep = format!("{{\"x\":{}", "[".repeat(500_000));
        let answer = node.send(crate::harness::post(path, &[], deep)).await;
        assert_eq!(answer.code(), "E0000000400", "{path}");
    }
}
