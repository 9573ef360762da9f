//! The answer to a ping of the server's own address (RFC 792).

use super::{Ipv4, Protocol, checksum};

/// The time to live of what we send.
const TTL: u8 = 64;
/// The types of the question and of its answer.
const ASKS: u8 = 8;
const ANSWERS: u8 = 0;

/// The answer to a packet that is a ping; `None` for all else. Fragments are not put together: a ping that is larger than the
/// tunnel's packets is not answered.
pub(crate) fn echo_reply(packet: &Ipv4<'_>) -> Option<Vec<u8>> {
    let [ASKS, 0, _, _, rest @ ..] = packet.payload else { return None };
    if packet.protocol != Protocol::Icmp || packet.is_fragment() || checksum::sum(packet.payload) != 0xffff {
        return None;
    }
    let length = u16::try_from(20 + packet.payload.len()).ok()?;
    let mut reply = Vec::with_capacity(usize::from(length));
    reply.extend_from_slice(&[0x45, 0]);
    reply.extend_from_slice(&length.to_be_bytes());
    // No identification, for it is never fragmented on the way.
    reply.extend_from_slice(&[0, 0, 0x40, 0, TTL, 1, 0, 0]);
    reply.extend_from_slice(&packet.destination.octets());
    reply.extend_from_slice(&packet.source.octets());
    let header = checksum::of(&reply);
    reply.get_mut(10..12)?.copy_from_slice(&header.to_be_bytes());
    let mut body = [&[ANSWERS, 0, 0, 0], rest].concat();
    let sum = checksum::of(&body);
    body.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    reply.append(&mut body);
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::{super::made, *};

    #[test]
    fn a_ping_comes_back_with_its_bytes() {
        let (node, server) = ([10, 1, 1, 3], [10, 1, 1, 1]);
        for payload in [&b""[..], b"x", b"abcdefgh", &[0xff; 1372]] {
            let ping = made::echo(node, server, 8, payload);
            let reply = echo_reply(&Ipv4::read(&ping).unwrap()).expect("a ping");
            assert_eq!(
                Ipv4::read(&reply).unwrap().payload,
                Ipv4::read(&made::echo(server, node, 0, payload)).unwrap().payload
            );
            assert!(made::holds(&reply));
            let read = Ipv4::read(&reply).unwrap();
            assert_eq!((read.source.octets(), read.destination.octets()), (server, node));
        }
    }

    #[test]
    fn what_is_no_whole_ping_is_not_answered() {
        let (node, server) = ([10, 1, 1, 3], [10, 1, 1, 1]);
        let mut broken = made::echo(node, server, 8, b"abc");
        broken[24] ^= 1;
        let mut fragment = made::echo(node, server, 8, b"abc");
        fragment[6] = 0x20;
        let table = [
            broken,
            fragment,
            made::echo(node, server, 0, b"abc"),
            made::ipv4(node, server, 1, &[8, 0]),
            made::ipv4(node, server, 1, &[]),
            made::udp(node, server, (8, 8), b"abc"),
        ];
        for packet in table {
            assert_eq!(echo_reply(&Ipv4::read(&packet).unwrap()), None, "{packet:02x?}");
        }
    }
}
