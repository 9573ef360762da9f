//! The header of an IPv4 packet (RFC 791), checked against the length of what came.

use std::net::Ipv4Addr;

/// The shortest header.
const SHORTEST: usize = 20;

/// A packet whose header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ipv4<'p> {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: Protocol,
    /// Where in its datagram this piece begins, in bytes: above zero in all fragments but the first.
    pub(crate) offset: u16,
    /// Whether more fragments follow.
    pub(crate) has_more: bool,
    /// How long the header is.
    pub(crate) header: usize,
    /// What is behind the header.
    pub(crate) payload: &'p [u8],
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Icmp,
    Tcp,
    Udp,
    Other,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Another version of IP, or none.
    NotIpv4,
    /// A header that is cut, too short, or longer than the packet.
    Header,
    /// The packet says another length than it has.
    Length,
}

impl<'p> Ipv4<'p> {
    /// Reads a packet.
    ///
    /// The header's own checksum is left to the receiver: what was damaged is dropped there, and a switch that verifies it on
    /// each packet proves nothing of the rest.
    ///
    /// # Errors
    /// Why the bytes are no packet.
    pub(crate) fn read(bytes: &'p [u8]) -> Result<Self, Malformed> {
        let first = *bytes.first().ok_or(Malformed::Header)?;
        if first >> 4 != 4 {
            return Err(Malformed::NotIpv4);
        }
        let (fixed, _) = bytes.split_first_chunk::<SHORTEST>().ok_or(Malformed::Header)?;
        let [_, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
        let header = usize::from(first & 0x0f) * 4;
        if usize::from(u16::from_be_bytes([l0, l1])) != bytes.len() {
            return Err(Malformed::Length);
        }
        let payload = bytes.get(header..).filter(|_| header >= SHORTEST).ok_or(Malformed::Header)?;
        Ok(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
            protocol: Protocol::of(protocol),
            offset: (u16::from_be_bytes([f0, f1]) & 0x1fff) << 3,
            has_more: f0 & 0x20 != 0,
            header,
            payload,
        })
    }

    /// Whether it is a piece of a larger datagram.
    pub(crate) fn is_fragment(&self) -> bool {
        self.offset > 0 || self.has_more
    }
}

impl Protocol {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::made, *};

    #[test]
    fn a_header_is_read_as_rfc_791_writes_it() {
        let packet = made::udp([10, 1, 1, 3], [10, 1, 1, 5], (1000, 53), b"hello");
        let read = Ipv4::read(&packet).unwrap();
        assert_eq!((read.source, read.destination), (Ipv4Addr::new(10, 1, 1, 3), Ipv4Addr::new(10, 1, 1, 5)));
        assert_eq!((read.protocol, read.header, read.payload.len()), (Protocol::Udp, 20, 13));
        assert!(!read.is_fragment());
    }

    #[test]
    fn what_is_short_odd_cut_or_no_ipv4_is_no_packet() {
        let good = made::udp([10, 1, 1, 3], [10, 1, 1, 5], (1, 2), b"hello");
        let with = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            packet
        };
        let table = [
            (Vec::new(), Malformed::Header),
            (vec![0x45], Malformed::Header),
            (good[..19].to_vec(), Malformed::Header),
            (good[..20].to_vec(), Malformed::Length),
            (good[..good.len() - 1].to_vec(), Malformed::Length),
            ([&*good, b"x"].concat(), Malformed::Length),
            (with(0, 0x44), Malformed::Header),
            (with(0, 0x4f), Malformed::Header),
            (with(0, 0x65), Malformed::NotIpv4),
            (with(0, 0x05), Malformed::NotIpv4),
            (vec![0x60; 40], Malformed::NotIpv4),
            (b"{\"connectionState\":2,\"payload\":null}".to_vec(), Malformed::NotIpv4),
        ];
        for (bytes, why) in table {
            assert_eq!(Ipv4::read(&bytes), Err(why), "{bytes:02x?}");
        }
    }

    #[test]
    fn fragments_are_known() {
        let mut packet = made::udp([10, 1, 1, 3], [10, 1, 1, 5], (1, 2), b"hello");
        packet[6] = 0x20;
        let first = Ipv4::read(&packet).unwrap();
        assert_eq!((first.offset, first.has_more, first.is_fragment()), (0, true, true));
        (packet[6], packet[7]) = (0x1f, 0xff);
        let last = Ipv4::read(&packet).unwrap();
        assert_eq!((last.offset, last.has_more, last.is_fragment()), (65_528, false, true));
    }
}
