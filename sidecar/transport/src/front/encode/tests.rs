use mesh_core::Code;
use prost::Message;
use proto::ptp::TransportOutbound;
use serde_json::{Value, json};

use super::*;
use crate::Delivery;

fn answer(payload: Option<Vec<u8>>, metadata: &[(&str, &str)]) -> Answer {
    let map: Metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let delivery = payload.map(|payload| Delivery {
        payload: payload.into(),
        metadata: (!map.is_empty()).then(|| map.into()),
        source: None,
        redelivered: false,
        lease: None,
    });
    Answer { code: Code::SUCCESS, message: "OK".into(), delivery }
}

fn bytes(mut chunks: Chunks) -> Vec<u8> {
    let announced = chunks.len();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.take() {
        whole.extend_from_slice(&chunk);
    }
    assert_eq!(announced, whole.len());
    whole
}

#[test]
fn json_tells_an_empty_message_from_none() {
    let text = |answer| String::from_utf8(bytes(Encoding::Json.write(&answer))).unwrap();
    assert_eq!(text(answer(None, &[])), r#"{"code":"E0000000000","message":"OK"}"#);
    assert_eq!(text(answer(Some(vec![]), &[])), r#"{"payload":"","content":"","code":"E0000000000","message":"OK"}"#);
    assert_eq!(
        text(answer(Some(b"hello".to_vec()), &[("k", "\"v")])),
        r#"{"metadata":{"k":"\"v"},"payload":"aGVsbG8=","content":"aGVsbG8=","code":"E0000000000","message":"OK"}"#
    );
}

#[test]
fn osx_answers_carry_both_names_of_the_text() {
    let value: Value = serde_json::from_slice(&bytes(Encoding::Osx.write(&answer(Some(vec![1]), &[])))).unwrap();
    let expected = json!({"payload": "AQ==", "content": "AQ==", "code": "E0000000000", "message": "OK", "msg": "OK"});
    assert_eq!(value, expected);
}

#[test]
fn large_and_small_payloads_read_the_same() {
    for size in [0, 1, SMALL, SMALL + 1, 5 * SMALL] {
        let payload = vec![b'x'; size];
        let written = bytes(Encoding::Json.write(&answer(Some(payload.clone()), &[("a", "b")])));
        let value: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(value["payload"], STANDARD.encode(&payload));
        assert_eq!(value["payload"], value["content"]);

        let written = bytes(Encoding::Protobuf.write(&answer(Some(payload.clone()), &[("a", "b"), ("c", "")])));
        let expected = TransportOutbound {
            metadata: [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())].into(),
            payload: payload.into(),
            code: "E0000000000".into(),
            message: "OK".into(),
        };
        assert_eq!(TransportOutbound::decode(&written[..]).unwrap(), expected, "{size}");

        let framed = bytes(Encoding::Grpc.write(&answer(Some(vec![b'x'; size]), &[("a", "b"), ("c", "")])));
        assert_eq!((framed[0], &framed[GRPC_PREFIX..]), (0, &written[..]));
        assert_eq!(framed[1..5], u32::try_from(written.len()).unwrap().to_be_bytes());
    }
}

#[test]
fn the_samples_of_both_layouts_are_written_exactly() {
    let table = [
        (Encoding::Protobuf, "1201311a0b453030303030303030303022024f4b"),
        (Encoding::Kuscia, "0a0131120b45303030303030303030301a024f4b"),
    ];
    for (encoding, expected) in table {
        let written = bytes(encoding.write(&answer(Some(b"1".to_vec()), &[])));
        assert_eq!(written.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }
}

#[test]
fn the_text_of_a_large_payload_is_never_there_as_a_whole() {
    let payload: Vec<u8> = (0..1_000_001_u32).map(|n| n as u8).collect();
    for (encoding, skipped) in [(Encoding::Json, 0), (Encoding::Generic, 0), (Encoding::GenericGrpc, GRPC_PREFIX)] {
        let mut chunks = encoding.write(&answer(Some(payload.clone()), &[]));
        let announced = chunks.len();
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.take() {
            assert!(chunk.len() <= 64 * 1024, "{}", chunk.len());
            whole.extend_from_slice(&chunk);
        }
        assert_eq!(announced, whole.len());
        let value: Value = serde_json::from_slice(&whole[skipped..]).unwrap();
        assert_eq!(value["content"], STANDARD.encode(&payload), "{encoding:?}");
    }
}

#[test]
fn a_large_payload_is_not_copied() {
    let answer = answer(Some(vec![0; SMALL + 1]), &[]);
    let mut chunks = Encoding::Protobuf.write(&answer);
    let payload = chunks.take().and_then(|_| chunks.take()).unwrap();
    assert_eq!(payload.as_ptr(), answer.delivery.unwrap().payload.as_ptr());
}

/// PTP section 13.2: an answer that cannot be written is none, and its message is not lost.
#[test]
fn an_answer_longer_than_grpc_carries_says_so_and_gives_its_message_back() {
    let came_back = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let there = std::sync::Arc::clone(&came_back);
    let lease = crate::Lease::there(move |verdict| {
        there.store(verdict == crate::channels::Verdict::Return, std::sync::atomic::Ordering::SeqCst);
    });
    let mut long = answer(Some(vec![0; 5000]), &[]);
    long.delivery.as_mut().unwrap().lease = Some(lease);
    let said = Encoding::Grpc.carried_within(long, 9000);
    assert_eq!((said.code, said.delivery.is_none()), (Code::INTERNAL, true));
    assert!(came_back.load(std::sync::atomic::Ordering::SeqCst));
    let with_metadata = || answer(Some(vec![0; 4000]), &[("k", &"v".repeat(2000))]);
    for (encoding, longest, carried) in [
        (Encoding::Grpc, 10_200, true),
        (Encoding::Grpc, 10_000, false),
        (Encoding::GenericGrpc, 9_500, true),
        (Encoding::GenericGrpc, 9_400, false),
        (Encoding::Protobuf, 100, true),
        (Encoding::Json, 100, true),
    ] {
        let said = encoding.carried_within(with_metadata(), longest);
        assert_eq!(said.delivery.is_some(), carried, "{encoding:?} {longest}");
    }
    let none = Encoding::Grpc.carried_within(answer(None, &[]), 1);
    assert!(none.code.is_success(), "what has no message fits always");
}
