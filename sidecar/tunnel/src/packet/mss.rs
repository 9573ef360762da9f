//! The clamp of the largest segment (RFC 9293 section 3.7.1): a TCP connection through the tunnel agrees on segments that fit its
//! packets, since peers do not negotiate an MTU (NC section 4) and a packet that does not fit is cut by legacy clients.

use super::{Ipv4, Protocol, checksum, transport::SYN};

/// Headers of IPv4 and TCP without options.
const HEADERS: u16 = 40;
/// The shortest TCP header.
const TCP_HEADER: usize = 20;
/// Where TCP's checksum stands.
const CHECKSUM: usize = 16;

/// The largest segment of packets of `mtu` bytes.
pub(crate) fn segment(mtu: u16) -> u16 {
    mtu.saturating_sub(HEADERS)
}

/// The same packet with at most `most` in its option, or `None` where it stays as it is: nearly always.
pub(crate) fn clamped(packet: &Ipv4<'_>, bytes: &[u8], most: u16) -> Option<Vec<u8>> {
    if packet.protocol != Protocol::Tcp || packet.offset > 0 || packet.payload.get(13)? & SYN == 0 {
        return None;
    }
    let (at, value) = option(packet.payload)?;
    if value <= most {
        return None;
    }
    let mut changed = bytes.to_vec();
    let segment = changed.get_mut(packet.header..)?;
    let before = u16::from_be_bytes(*segment.get(CHECKSUM..)?.first_chunk()?);
    // Options have any place: the value may lie across two words of the sum.
    let is_odd = at % 2 == 1;
    let swap = |value: u16| if is_odd { value.swap_bytes() } else { value };
    let after = checksum::updated(before, swap(value), swap(most));
    segment.get_mut(CHECKSUM..CHECKSUM + 2)?.copy_from_slice(&after.to_be_bytes());
    segment.get_mut(at..at + 2)?.copy_from_slice(&most.to_be_bytes());
    Some(changed)
}

/// Where in the segment the option's value stands, and the value.
fn option(segment: &[u8]) -> Option<(usize, u16)> {
    let end = usize::from(segment.get(12)? >> 4) * 4;
    let options = segment.get(..end)?;
    let mut at = TCP_HEADER;
    loop {
        match (options.get(at)?, options.get(at + 1)) {
            (0, _) => return None,
            (1, _) => at += 1,
            (2, Some(4)) => return Some((at + 2, u16::from_be_bytes(*options.get(at + 2..)?.first_chunk()?))),
            // A length below two would never end.
            (_, Some(length)) if *length >= 2 => at += usize::from(*length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::made, *};

    const FROM: [u8; 4] = [10, 1, 1, 3];
    const TO: [u8; 4] = [10, 1, 1, 5];

    fn clamp(bytes: &[u8], most: u16) -> Option<Vec<u8>> {
        clamped(&Ipv4::read(bytes).unwrap(), bytes, most)
    }

    #[test]
    fn a_connection_agrees_on_segments_that_fit() {
        let table: [&[u8]; 3] = [
            &[2, 4, 0x05, 0xb4],
            // As Linux writes it, and with a filler before it so that the value lies across two words.
            &[2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
            &[1, 2, 4, 0x05, 0xb4, 1, 1, 0],
        ];
        for options in table {
            let packet = made::tcp(FROM, TO, (4000, 80), SYN, options);
            let changed = clamp(&packet, segment(1400)).expect("1460 is more than 1360");
            let at = 40 + options.windows(2).position(|pair| pair == [2, 4]).unwrap() + 2;
            assert_eq!(changed[at..at + 2], 1360u16.to_be_bytes());
            assert!(made::holds(&changed), "{options:?}");
            assert_eq!(clamp(&changed, 1360), None, "it fits by now");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let big = [2, 4, 0x05, 0xb4];
        let mut fragment = made::tcp(FROM, TO, (1, 2), SYN, &big);
        fragment[7] = 1;
        let mut cut = made::tcp(FROM, TO, (1, 2), SYN, &big);
        cut[32] = 0xf0;
        let table = [
            made::tcp(FROM, TO, (1, 2), 0x10, &big),
            made::tcp(FROM, TO, (1, 2), SYN, &[2, 4, 0x02, 0x18]),
            made::tcp(FROM, TO, (1, 2), SYN, &[]),
            made::tcp(FROM, TO, (1, 2), SYN, &[3, 0, 2, 4]),
            made::tcp(FROM, TO, (1, 2), SYN, &[0, 2, 4, 0xff]),
            made::udp(FROM, TO, (1, 2), &big),
            made::ipv4(FROM, TO, 6, &[0; 3]),
            fragment,
            cut,
        ];
        for packet in table {
            assert_eq!(clamp(&packet, 1360), None, "{packet:02x?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_options_there_are_the_checksum_holds(
            before in proptest::collection::vec(Just(1u8), 0..9),
            value in 1361..=u16::MAX,
        ) {
            let mut options = [&before[..], &[2, 4], &value.to_be_bytes()].concat();
            options.resize(options.len().next_multiple_of(4), 0);
            let changed = clamp(&made::tcp(FROM, TO, (7, 8), SYN, &options), 1360).unwrap();
            prop_assert!(made::holds(&changed));
        }
    }
}
