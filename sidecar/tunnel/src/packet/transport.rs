//! Ports and flags: what policy needs to know of a packet's inside.

use super::{Ipv4, Protocol};

/// What a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Source and destination port; `None` where there are none: in other protocols, and in all fragments but the first.
    pub(crate) ports: Option<(u16, u16)>,
    /// Whether it begins something.
    pub(crate) opening: Opening,
}

/// Whether a packet begins a conversation, as far as one packet can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It does: the first packet of a TCP connection, a ping.
    Begins,
    /// It does not: any other packet of a connection, the answer to a ping, the error of a router.
    Continues,
    /// One packet cannot tell.
    Unknown,
}

/// Flags of TCP (RFC 9293 section 3.1).
pub(super) const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

impl Flow {
    /// Reads it.
    pub(crate) fn of(packet: &Ipv4<'_>) -> Self {
        if packet.offset > 0 {
            return Self { ports: None, opening: Opening::Unknown };
        }
        let ports = match (packet.protocol, packet.payload) {
            (Protocol::Tcp | Protocol::Udp, [a, b, c, d, ..]) => {
                Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
            }
            _ => None,
        };
        Self { ports, opening: opening(packet) }
    }
}

fn opening(packet: &Ipv4<'_>) -> Opening {
    match packet.protocol {
        Protocol::Tcp => match packet.payload.get(13) {
            Some(flags) if flags & ACK != 0 => Opening::Continues,
            _ => Opening::Begins,
        },
        Protocol::Icmp => match packet.payload.first() {
            // Echo, timestamp, and the rest that asks.
            Some(0 | 3 | 11 | 12 | 14) => Opening::Continues,
            _ => Opening::Begins,
        },
        Protocol::Udp | Protocol::Other => Opening::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::made, *};

    fn flow(packet: &[u8]) -> Flow {
        Flow::of(&Ipv4::read(packet).unwrap())
    }

    #[test]
    fn what_begins_and_what_continues_is_told_apart_where_one_packet_can() {
        let (from, to) = ([10, 1, 1, 3], [10, 1, 1, 5]);
        let ports = Some((4000, 80));
        let table = [
            (made::tcp(from, to, (4000, 80), SYN, &[]), ports, Opening::Begins),
            (made::tcp(from, to, (4000, 80), SYN | ACK, &[]), ports, Opening::Continues),
            (made::tcp(from, to, (4000, 80), ACK, &[]), ports, Opening::Continues),
            // What a scan sends: no flag at all.
            (made::tcp(from, to, (4000, 80), 0, &[]), ports, Opening::Begins),
            (made::udp(from, to, (4000, 80), b"x"), ports, Opening::Unknown),
            (made::echo(from, to, 8, b"x"), None, Opening::Begins),
            (made::echo(from, to, 0, b"x"), None, Opening::Continues),
        ];
        for (packet, ports, opening) in table {
            assert_eq!(flow(&packet), Flow { ports, opening }, "{packet:02x?}");
        }
    }

    #[test]
    fn later_fragments_and_stumps_have_no_ports() {
        let mut packet = made::udp([10, 1, 1, 3], [10, 1, 1, 5], (1, 2), b"hello");
        packet[7] = 1;
        assert_eq!(flow(&packet), Flow { ports: None, opening: Opening::Unknown });
        let stump = made::ipv4([10, 1, 1, 3], [10, 1, 1, 5], 6, &[0, 1]);
        assert_eq!(flow(&stump), Flow { ports: None, opening: Opening::Begins });
    }
}
