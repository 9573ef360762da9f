//! The suite's cases about size and number (9), and about compression (12, 13): what is sent comes back whole, in order. A listener
//! takes 1 MiB at most, so what is larger in the suite has that size here, and one byte more is refused.

use super::{
    super::{
        Stage,
        wire::{BINARY, CLOSE, RSV1, TEXT, Wire, deflated, frame, inflated},
    },
    echoes, fragments, in_pieces, json,
};

const MOST: usize = 1 << 20;
/// Messages of one size in a row: the suite's thousand, but for the time that a build without optimizations takes.
const ROW: usize = 200;

async fn stage(listener: &serde_json::Value) -> Stage {
    let mut all = json!({"name": "echo", "assemble": true, "textPing": false, "overflow": "pause",
        "rules": [{"topic": "echo"}], "limits": {"messageBytes": "1Mi", "outQueueBytes": "16Mi"}});
    all.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
    // A message of 1 MiB comes back as a request that is larger: in base64, with its envelope.
    Stage::new(&json!({"backend": {"bodyBytes": "4Mi"}, "listeners": [all]})).await
}

/// The first byte and the payload of a message.
fn payload(first: u8, size: usize) -> Vec<u8> {
    if first == TEXT { vec![b'*'; size] } else { (0..size).map(|n| (n % 251) as u8).collect() }
}

/// Says it, and gets it back.
async fn comes_back(wire: &mut Wire, number: &str, writes: &[Vec<u8>], (first, payload): (u8, &[u8])) {
    for bytes in writes {
        wire.writes(bytes).await;
    }
    let (got, back) = wire.next().await.unwrap_or_else(|| panic!("{number}: the end"));
    assert!(got == first && back == payload, "{number}: {got} with {} bytes", back.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_come_back_whole_however_they_are_cut() {
    let stage = stage(&json!({})).await;
    let echo = echoes(&stage).await;
    let mut wire = Wire::to(stage.clients, "/", "").await;
    for (section, first) in [(1, TEXT), (2, BINARY)] {
        for (n, size) in [64 << 10, 256 << 10, MOST].into_iter().enumerate() {
            let payload = payload(first, size);
            let number = format!("9.{section}.{}", n + 1);
            comes_back(&mut wire, &number, &[frame(first, &payload)], (first, &payload)).await;
        }
        let payload = payload(first, MOST);
        for (n, size) in [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, MOST].into_iter().enumerate() {
            let mut cut = fragments(&payload, size);
            // `fragments` makes text.
            cut[0][0] = cut[0][0] & 0x80 | first & 0x0f;
            let number = format!("9.{}.{}", section + 2, n + 1);
            comes_back(&mut wire, &number, &[cut.concat()], (first, &payload)).await;
        }
        for (n, size) in [64, 128, 256, 512, 1024, 2048].into_iter().enumerate() {
            let number = format!("9.{}.{}", section + 4, n + 1);
            let pieces = in_pieces(&[frame(first, &payload)], size);
            comes_back(&mut wire, &number, &pieces, (first, &payload)).await;
        }
        let mut other = Wire::to(stage.clients, "/", "").await;
        other.writes(&frame(first, &vec![b'*'; MOST + 1])).await;
        assert_eq!(other.is_closed().await, 1009);
    }
    echo.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_come_back_in_their_order() {
    let stage = stage(&json!({})).await;
    let echo = echoes(&stage).await;
    for (section, first) in [(7, TEXT), (8, BINARY)] {
        for (n, size) in [0, 16, 64, 256, 1024, 4096].into_iter().enumerate() {
            let mut wire = Wire::to(stage.clients, "/", "").await;
            let all: Vec<Vec<u8>> = (0..ROW)
                .map(|n| payload(first, size).into_iter().chain(n.to_string().into_bytes()).collect())
                .collect();
            let (sent, writes) = (all.clone(), all.iter().map(|one| frame(first, one)).collect::<Vec<_>>().concat());
            wire.writes(&writes).await;
            for expected in sent {
                assert!(wire.next().await == Some((first, expected)), "9.{section}.{}", n + 1);
            }
        }
    }
    echo.abort();
}

/// The offers of 13.1 to 13.7, and whether they are agreed on: a window of less than 15 bits is declined, as RFC 7692 lets a server.
const OFFERS: [(&str, &str, bool); 8] = [
    ("12", "permessage-deflate; client_max_window_bits", true),
    ("13.1", "permessage-deflate; client_no_context_takeover; client_max_window_bits", true),
    ("13.2", "permessage-deflate; server_no_context_takeover; client_max_window_bits", true),
    ("13.3", "permessage-deflate; server_max_window_bits=9; client_max_window_bits", false),
    ("13.4", "permessage-deflate; server_max_window_bits=15; client_max_window_bits", true),
    ("13.5", "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits", false),
    ("13.6", "permessage-deflate; server_no_context_takeover; server_max_window_bits=15; client_max_window_bits", true),
    (
        "13.7",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits, \
         permessage-deflate; server_no_context_takeover; client_max_window_bits, permessage-deflate; client_max_window_bits",
        true,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_come_back_whole_by_each_offer() {
    let stage = stage(&json!({"compression": true})).await;
    let echo = echoes(&stage).await;
    // JSON and HTML as the suite sends them, and what does not shrink.
    let words: String = (0..40_000).map(|n| format!("{{\"n\":{n},\"name\":\"item {}\"}},", n % 97)).collect();
    let noise: Vec<u8> = (0..128_u64 << 10).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    for (number, offer, is_agreed) in OFFERS {
        let mut wire = Wire::to(stage.clients, "/", &format!("Sec-WebSocket-Extensions: {offer}\r\n")).await;
        assert_eq!(wire.head.contains("permessage-deflate"), is_agreed, "{number}: {}", wire.head);
        for (n, size) in
            [16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10].into_iter().enumerate()
        {
            for (first, source) in [(TEXT, words.as_bytes()), (BINARY, &noise)] {
                let payload = &source[..size];
                let packed = if is_agreed { deflated(payload) } else { payload.to_vec() };
                let mark = if is_agreed { RSV1 } else { 0 };
                let mut cut = fragments(&packed, packed.len().div_ceil(3).max(1));
                cut[0][0] = cut[0][0] & 0x80 | first & 0x0f | mark;
                for writes in [frame(first | mark, &packed), cut.concat()] {
                    wire.writes(&writes).await;
                    let (got, back) = wire.next().await.unwrap_or_else(|| panic!("{number}.{}: the end", n + 1));
                    let back = if got & RSV1 == 0 { back } else { inflated(&back) };
                    assert!(got & !RSV1 == first && back == payload, "{number}.{}: {got}", n + 1);
                    assert!(is_agreed || got & RSV1 == 0, "{number}");
                }
            }
        }
        wire.writes(&frame(CLOSE, &[])).await;
        assert_eq!(wire.is_closed().await, 1005, "{number}");
    }
    echo.abort();
}
