//! The fuzz target of packets. How it runs, and where its inputs lie, says `sidecar/fuzz`.

use super::{Flow, Ipv4, clamped, echo_reply, made};

/// Whatever peers send: a packet is as long as it says, and what is made of it is a packet of the same length that holds.
#[test]
fn tunnel_packets() {
    fuzz::run("tunnel-packets", |bytes| {
        let mut batch = bytes::Bytes::copy_from_slice(bytes);
        let parts: Vec<_> = std::iter::from_fn(|| super::batch::next(&mut batch)).collect();
        assert!(parts.iter().all(|part| !part.is_empty()) && parts.concat() == bytes, "a batch is its packets");
        let Ok(packet) = Ipv4::read(bytes) else { return };
        assert_eq!(packet.header + packet.payload.len(), bytes.len());
        let flow = Flow::of(&packet);
        assert!(packet.offset == 0 || flow.ports.is_none());
        if let Some(changed) = clamped(&packet, bytes, 1360) {
            let again = Ipv4::read(&changed).unwrap();
            assert_eq!(changed.len(), bytes.len());
            assert_eq!(clamped(&again, &changed, 1360), None);
            assert!(!made::holds(bytes) || made::holds(&changed), "the sums hold as they did before");
        }
        if let Some(reply) = echo_reply(&packet) {
            let read = Ipv4::read(&reply).unwrap();
            assert_eq!((read.source, read.destination), (packet.destination, packet.source));
            assert_eq!(read.payload.get(4..), packet.payload.get(4..));
            assert!(made::holds(&reply) && echo_reply(&read).is_none());
        }
    });
}
