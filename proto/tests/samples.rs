//! PTP section 6.2: bytes seen on the wire from real clients decode and encode exactly.

#![allow(clippy::unwrap_used, reason = "a test")]

use bytes::Bytes;
use prost::Message;
use proto::ptp::{PopInbound, PushInbound, ReleaseInbound, TransportOutbound};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn same_both_ways<M: Message + Default + PartialEq + std::fmt::Debug>(hex: &str, message: &M) {
    assert_eq!(message.encode_to_vec(), bytes(hex));
    assert_eq!(M::decode(Bytes::from(bytes(hex))).unwrap(), *message);
}

fn outbound(payload: &'static [u8]) -> TransportOutbound {
    TransportOutbound {
        payload: Bytes::from_static(payload),
        code: "E0000000000".into(),
        message: "OK".into(),
        ..Default::default()
    }
}

#[test]
fn inbound_samples_decode_and_encode_exactly() {
    same_both_ways(
        "0a13746f706963412d6d6573682d73706c69742d301201311a060a016b120176",
        &PushInbound {
            topic: "topicA-mesh-split-0".into(),
            payload: Bytes::from_static(b"1"),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
        },
    );
    same_both_ways("0a06746f7069634210bc05", &PopInbound { topic: "topicB".into(), timeout: 700 });
    same_both_ways("0a06746f70696341", &ReleaseInbound { topic: "topicA".into(), timeout: 0 });
}

#[test]
fn outbound_samples_decode_and_encode_exactly() {
    same_both_ways("1201311a0b453030303030303030303022024f4b", &outbound(b"1"));
    same_both_ways("1a0b453030303030303030303022024f4b", &outbound(b""));
}

#[test]
fn a_decoded_payload_is_a_slice_of_the_buffer_it_came_in() {
    let buffer = Bytes::from(PushInbound { payload: vec![7; 100].into(), ..Default::default() }.encode_to_vec());
    let decoded = PushInbound::decode(buffer.clone()).unwrap();
    let within = buffer.as_ptr_range();
    assert!(within.contains(&decoded.payload.as_ptr()), "the payload was copied");
}

#[test]
fn the_descriptors_name_every_service() {
    let set = String::from_utf8_lossy(proto::DESCRIPTORS);
    for name in ["PrivateTransferTransport", "PrivateTransferProtocol", "grpc.health.v1"] {
        assert!(set.contains(name), "{name}");
    }
}
