//! HTTP/2 by hand: frames as they are, in any order, with any flags (RFC 9113).

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Node, connect};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `CANCEL`, as clients that give up send it.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// One connection.
pub(crate) struct H2<IO = TcpStream> {
    pub(crate) tcp: IO,
    read: Vec<u8>,
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl H2 {
    /// Connects; each stream of this end takes `window` bytes before it asks for more.
    pub(crate) async fn to(node: &Node, window: u32) -> Self {
        Self::over(connect(Ipv4Addr::LOCALHOST, node.data).await, window).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// The same on a connection that is there.
    pub(crate) async fn over(io: IO, window: u32) -> Self {
        let mut h2 = Self { tcp: io, read: Vec::new() };
        let [a, b, c, d] = window.to_be_bytes();
        let start = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, a, b, c, d])].concat();
        assert!(h2.write(&start).await);
        // Its windows count from the acknowledgement on.
        h2.wait_for(SETTINGS, 0).await.unwrap();
        h2.write(&frame(SETTINGS, ACK, 0, &[])).await;
        h2.wait_for(WINDOW_UPDATE, 0).await.unwrap();
        h2
    }

    /// Writes; `false` where the other end has closed.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.tcp.write_all(bytes).await.is_ok() && self.tcp.flush().await.is_ok()
    }

    /// A whole request.
    pub(crate) async fn ask(&mut self, stream: u32, path: &str, headers: &[(&str, &str)], body: &[u8]) -> bool {
        self.write(&[request(stream, path, headers), frame(DATA, END_STREAM, stream, body)].concat()).await
    }

    pub(crate) async fn cancel(&mut self, stream: u32) -> bool {
        self.write(&frame(RST_STREAM, 0, stream, &CANCEL)).await
    }

    /// The next frame that says something; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        timeout(Duration::from_secs(60), self.whole_frame()).await.expect("a frame or an end")
    }

    /// Waits for a frame of `stream` of this kind.
    pub(crate) async fn wait_for(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        while let Some(frame) = self.next().await {
            if frame.kind == kind && frame.stream == stream {
                return Some(frame);
            }
        }
        None
    }

    /// Waits for any frame of `stream`, or the end.
    pub(crate) async fn next_of(&mut self, stream: u32) -> Option<Frame> {
        while let Some(frame) = self.next().await {
            if frame.stream == stream || frame.kind == GOAWAY {
                return Some(frame);
            }
        }
        None
    }

    /// Whether the other end hangs up, with a word or without.
    pub(crate) async fn has_ended(&mut self) -> bool {
        let ends = async {
            while let Some(frame) = self.next().await {
                if frame.kind == GOAWAY {
                    break;
                }
            }
        };
        timeout(Duration::from_secs(30), ends).await.is_ok()
    }

    async fn whole_frame(&mut self) -> Option<Frame> {
        self.fill(9).await?;
        let [a, b, c, kind, flags, id @ ..] = <[u8; 9]>::try_from(self.read.get(..9)?).ok()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        self.fill(9 + length).await?;
        let payload = self.read.drain(..9 + length).skip(9).collect();
        Some(Frame { kind, flags, stream: u32::from_be_bytes(id), payload })
    }

    async fn fill(&mut self, length: usize) -> Option<()> {
        while self.read.len() < length {
            if !matches!(self.tcp.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
        Some(())
    }
}

/// The head of a POST with its body still to come.
pub(crate) fn request(stream: u32, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")] {
        field(&mut block, name, value);
    }
    headers.iter().for_each(|(name, value)| field(&mut block, name, value));
    frame(HEADERS, END_HEADERS, stream, &block)
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A header, in full and kept out of the table (RFC 7541 section 6.2.2).
pub(crate) fn field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        length(block, text.len(), 7);
        block.extend_from_slice(text.as_bytes());
    }
}

/// A number with a prefix of so many bits (RFC 7541 section 5.1).
pub(crate) fn length(block: &mut Vec<u8>, mut number: usize, bits: u32) {
    let most = (1 << bits) - 1;
    if number < most {
        return block.push(u8::try_from(number).unwrap());
    }
    block.push(u8::try_from(most).unwrap());
    number -= most;
    while number >= 128 {
        block.push(u8::try_from(number % 128 + 128).unwrap());
        number /= 128;
    }
    block.push(u8::try_from(number).unwrap());
}
