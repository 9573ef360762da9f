//! A node in a tunnel: a WebSocket over TLS whose messages are packets (NC section 4), on a socket that never blocks.
//!
//! Each packet is a TLS record of its own, as legacy nodes send them. What is sent is masked beforehand: a load generator has
//! better things to do.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::ClientConnection;

use super::{find, tls::secured};

/// Bytes of a packet of the network's MTU.
pub(crate) const PACKET: usize = 1400;

/// Where a TCP packet without options has its number, and what it acknowledges.
const NUMBER: usize = 24;
const ACKNOWLEDGED: usize = 28;
/// No mask is better than another.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const TEXT: u8 = 0x81;
const PING: u8 = 9;
const PONG: u8 = 0x8a;

/// A node's connection.
pub(crate) struct Member {
    pub(crate) stream: TcpStream,
    pub(crate) address: Ipv4Addr,
    tls: ClientConnection,
    /// Plain bytes that came; those before `at` are read.
    came: Vec<u8>,
    at: usize,
}

/// What a packet of TCP says of its place in the stream.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) number: u32,
    pub(crate) acknowledged: u32,
}

/// A packet of TCP as it is sent again and again, with other numbers.
pub(crate) struct Packet {
    frame: Vec<u8>,
    /// Bytes before the packet.
    head: usize,
}

impl Member {
    /// Opens a tunnel by a node's token. `None` for `address`: it asks for its address, as nodes do.
    pub(crate) fn open(from: IpAddr, to: SocketAddr, token: &str, address: Option<Ipv4Addr>) -> Result<Self> {
        let mut tls = secured(from, to, &[])?;
        write!(
            tls,
            "GET /ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nNode-Token: {token}\r\n\r\n"
        )?;
        let mut came = Vec::new();
        let head = until(&mut tls, &mut came, |came| find(came, b"\r\n\r\n"))?;
        ensure!(came.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&came));
        came.drain(..head + 4);
        let address = match address {
            Some(address) => address,
            None => {
                tls.write_all(&frame(TEXT, br#"{"connectionState":2,"payload":null}"#))?;
                let end = until(&mut tls, &mut came, |came| find(came, b"}"))?;
                let reply = came.drain(..=end).collect::<Vec<_>>();
                addressed(&reply)?
            }
        };
        let (mut tls, stream) = tls.into_parts();
        tls.set_buffer_limit(None);
        stream.set_nonblocking(true)?;
        Ok(Self { stream, address, tls, came, at: 0 })
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_clear(&self) -> bool {
        !self.tls.wants_write()
    }

    /// Puts a packet behind what waits.
    pub(crate) fn send(&mut self, packet: &[u8]) -> Result<()> {
        Ok(self.tls.writer().write_all(packet)?)
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                written => drop(written?),
            }
        }
        Ok(())
    }

    /// Takes what has come. Pings are answered, packets are shown by their numbers.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(Numbers)) -> Result<()> {
        loop {
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => anyhow::bail!("the hub closed the connection"),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            }
            let plain = self.tls.process_new_packets()?.plaintext_bytes_to_read();
            let have = self.came.len();
            self.came.resize(have + plain, 0);
            self.tls.reader().read_exact(&mut self.came[have..])?;
            self.understand(&mut each)?;
        }
    }

    fn understand(&mut self, each: &mut impl FnMut(Numbers)) -> Result<()> {
        while let Some((opcode, mask, payload)) = next(&self.came[self.at..]) {
            let size = payload.end;
            let payload = &self.came[self.at..][payload];
            if opcode == PING {
                let pong = frame(PONG, payload);
                self.tls.writer().write_all(&pong)?;
                self.flush()?;
            } else if let Some(numbers) = numbers(payload, mask) {
                each(numbers);
            }
            self.at += size;
        }
        self.came.drain(..self.at);
        self.at = 0;
        Ok(())
    }
}

impl Packet {
    /// One of `size` bytes, from one node to another.
    pub(crate) fn new(from: Ipv4Addr, to: Ipv4Addr, size: usize) -> Result<Self> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0];
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet[2..4].copy_from_slice(&u16::try_from(size)?.to_be_bytes());
        let sum: u32 = packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16))?;
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        // Ports, numbers, and an ACK without options.
        packet.extend([0x9c, 0x40, 0x14, 0x51, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend((packet.len()..size).map(|n| u8::try_from(n % 251).unwrap_or(0)));
        let frame = frame(TEXT, &packet);
        Ok(Self { head: frame.len() - size, frame })
    }

    /// It, with these numbers.
    pub(crate) fn with(&mut self, numbers: Numbers) -> &[u8] {
        for (place, number) in [(NUMBER, numbers.number), (ACKNOWLEDGED, numbers.acknowledged)] {
            let bytes = number.to_be_bytes().into_iter().zip(MASK).map(|(byte, mask)| byte ^ mask);
            let at = self.head + place;
            self.frame[at..at + 4].iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
        }
        &self.frame
    }
}

fn numbers(packet: &[u8], mask: [u8; 4]) -> Option<Numbers> {
    let number = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes) ^ u32::from_be_bytes(mask))
    };
    Some(Numbers { number: number(NUMBER)?, acknowledged: number(ACKNOWLEDGED)? })
}

/// The next frame, if it is whole: its type, its mask (zeros where there is none), and where its payload is.
fn next(bytes: &[u8]) -> Option<(u8, [u8; 4], std::ops::Range<usize>)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (mut head, length) = match second & 127 {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        short => (2, usize::from(short)),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        mask = bytes.get(head..head + 4)?.try_into().ok()?;
        head += 4;
    }
    (bytes.len() >= head + length).then_some((first & 15, mask, head..head + length))
}

/// A frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).unwrap_or(u16::MAX) {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap_or(0)),
        long => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The address in the reply to a handshake.
fn addressed(reply: &[u8]) -> Result<Ipv4Addr> {
    let (_, _, payload) = next(reply).context("no reply")?;
    let reply: serde_json::Value = serde_json::from_slice(&reply[payload])?;
    let cidr = STANDARD.decode(reply["payload"].as_str().context("no payload")?)?;
    let cidr = String::from_utf8(cidr)?;
    Ok(cidr.split('/').next().unwrap_or_default().parse()?)
}

/// Reads until there is something.
fn until(stream: &mut impl Read, came: &mut Vec<u8>, found: impl Fn(&[u8]) -> Option<usize>) -> Result<usize> {
    loop {
        if let Some(found) = found(came) {
            return Ok(found);
        }
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the hub closed the connection: {}", String::from_utf8_lossy(came));
        came.extend_from_slice(&piece[..read]);
    }
}
