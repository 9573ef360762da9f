//! Packets for tests, with their checksums.

use super::{Ipv4, checksum};

/// A packet of a protocol.
pub(crate) fn ipv4(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(from);
    packet.extend(to);
    let sum = checksum::of(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A TCP segment without data, the first one. The options are filled up to whole words.
pub(crate) fn tcp(from: [u8; 4], to: [u8; 4], ports: (u16, u16), flags: u8, options: &[u8]) -> Vec<u8> {
    tcp_at(from, to, ports, (1, flags), options)
}

/// The same with a sequence number.
pub(crate) fn tcp_at(
    from: [u8; 4],
    to: [u8; 4],
    ports: (u16, u16),
    (number, flags): (u32, u8),
    options: &[u8],
) -> Vec<u8> {
    let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    let words = u8::try_from(5 + options.len().div_ceil(4)).unwrap();
    segment.extend(number.to_be_bytes());
    segment.extend([0, 0, 0, 0, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(options);
    segment.resize(usize::from(words) * 4, 0);
    summed(from, to, segment)
}

/// A TCP segment with data and without options: its number and what it acknowledges, its flags and its window.
pub(crate) fn segment(
    from: [u8; 4],
    to: [u8; 4],
    ports: (u16, u16),
    (numbers, flags, window): ((u32, u32), u8, u16),
    data: &[u8],
) -> Vec<u8> {
    let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    segment.extend([numbers.0.to_be_bytes(), numbers.1.to_be_bytes()].concat());
    segment.extend([5 << 4, flags]);
    segment.extend(window.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend_from_slice(data);
    summed(from, to, segment)
}

fn summed(from: [u8; 4], to: [u8; 4], mut segment: Vec<u8>) -> Vec<u8> {
    let sum = checksum::of(&[&pseudo(from, to, 6, segment.len())[..], &segment].concat());
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, 6, &segment)
}

/// A UDP datagram.
pub(crate) fn udp(from: [u8; 4], to: [u8; 4], ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap();
    let head = [ports.0, ports.1, length, 0].map(u16::to_be_bytes).concat();
    ipv4(from, to, 17, &[&head, data].concat())
}

/// A ping (8) or its answer (0).
pub(crate) fn echo(from: [u8; 4], to: [u8; 4], kind: u8, data: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0, 0x12, 0x34, 0, 1], data].concat();
    let sum = checksum::of(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, 1, &message)
}

/// Whether all checksums of a packet hold.
pub(crate) fn holds(packet: &[u8]) -> bool {
    let read = Ipv4::read(packet).unwrap();
    let (from, to) = (read.source.octets(), read.destination.octets());
    let inside = match packet[9] {
        1 => checksum::sum(read.payload),
        6 => checksum::sum(&[&pseudo(from, to, 6, read.payload.len())[..], read.payload].concat()),
        _ => 0xffff,
    };
    checksum::sum(&packet[..read.header]) == 0xffff && inside == 0xffff
}

fn pseudo(from: [u8; 4], to: [u8; 4], protocol: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap().to_be_bytes();
    [&from[..], &to, &[0, protocol], &length].concat()
}
