//! A client that writes frames byte by byte, and reads them as they come: what no library would send, and compressed ones.

use std::{io::Read as _, net::SocketAddr, time::Duration};

use flate2::{Compress, Compression, FlushCompress, read::DeflateDecoder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::connect;

/// Long beyond all doubt, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;
/// The first reserved bit: compressed.
pub(super) const RSV1: u8 = 0x40;

/// A connection.
pub(super) struct Wire {
    pub(super) tcp: TcpStream,
    /// The head that it was answered with, in lower case.
    pub(super) head: String,
}

/// A client's frame: its first byte, and its payload under a mask.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long @ 126..65_536 => {
            frame.push(0xfe);
            frame.extend((long as u16).to_be_bytes());
        }
        longer => {
            frame.push(0xff);
            frame.extend((longer as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A close frame's payload.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// One message compressed, as RFC 7692 puts it on the wire.
pub(super) fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(payload.len() + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(payload, &mut packed, FlushCompress::Sync).unwrap();
    assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
    packed.truncate(packed.len() - 4);
    packed
}

/// What such a message was.
pub(super) fn inflated(packed: &[u8]) -> Vec<u8> {
    let source = [packed, &[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]].concat();
    let mut opened = Vec::new();
    DeflateDecoder::new(&source[..]).read_to_end(&mut opened).unwrap();
    opened
}

impl Wire {
    /// A connection whose handshake has these headers, too.
    pub(super) async fn to(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut tcp = connect([127, 0, 0, 1].into(), address).await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LONG, tcp.read_u8()).await.expect("an answer").expect("a whole head"));
        }
        Self { tcp, head: String::from_utf8(head).unwrap().to_lowercase() }
    }

    /// Writes; what the other end does not take any more is nobody's fault.
    pub(super) async fn writes(&mut self, bytes: &[u8]) {
        let _ = self.tcp.write_all(bytes).await;
    }

    /// The next frame: its first byte and its payload. `None` at the end.
    pub(super) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(LONG, self.read()).await.expect("a frame or the end")
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (self.tcp.read_u8().await.ok()?, self.tcp.read_u8().await.ok()?);
        let length = match second {
            126 => u64::from(self.tcp.read_u16().await.ok()?),
            127 => self.tcp.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.tcp.read_exact(&mut payload).await.ok()?;
        Some((first, payload))
    }

    /// The code of the close frame, behind whatever comes before it; 1005: a frame without one, 1006: no frame.
    pub(super) async fn is_closed(&mut self) -> u16 {
        while let Some((first, payload)) = self.next().await {
            if first == CLOSE {
                return payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            }
        }
        1006
    }
}
