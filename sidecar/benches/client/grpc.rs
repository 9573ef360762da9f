//! gRPC unary calls over one HTTP/2 connection without TLS, one at a time: the frames by hand on a blocking socket.
//!
//! Header fields go as literals that no table remembers, and those of answers are not read: what counts is that the
//! stream ended and that its data hold what was asked for.

use std::{
    io::{BufReader, Read, Write},
    net::SocketAddr,
};

use anyhow::{Context, Result, bail, ensure};

use super::{Expect, http::connect};
use crate::load::Exchange;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;

/// As much as HTTP/2 allows, so that our own window never slows an answer down.
pub(super) const WINDOW: u32 = (1 << 31) - 1;

/// The largest frame that every server takes (RFC 9113 section 6.5.2).
pub(super) const FRAME: usize = 1 << 14;

/// Bytes both ways, plain or by TLS.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A connection whose exchange is some calls, one after another.
pub(crate) struct Grpc {
    pub(super) stream: BufReader<Box<dyn Wire>>,
    calls: Vec<Call>,
    next: u32,
    /// What the server lets us send on the connection.
    pub(super) credit: i64,
    /// What we have taken since we last gave credit.
    taken: u32,
    answer: Vec<u8>,
    turn: usize,
}

/// A call: its header block and its message, both ready to be sent, and what the answer must be.
struct Call {
    block: Vec<u8>,
    message: Vec<u8>,
    expect: Expect,
}

pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Grpc {
    /// Connects; `calls` are path, protobuf message and expectation of each.
    pub(crate) fn open(address: SocketAddr, session: &str, calls: &[(&str, Vec<u8>, Expect)]) -> Result<Self> {
        Self::over(Box::new(connect(address)?), address, session, calls)
    }

    /// The same on a connection that is there.
    pub(crate) fn over(
        mut stream: Box<dyn Wire>,
        address: SocketAddr,
        session: &str,
        calls: &[(&str, Vec<u8>, Expect)],
    ) -> Result<Self> {
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS_INITIAL_WINDOW_SIZE is number 4.
        frame(&mut hello, SETTINGS, 0, 0, &[&[0, 4][..], &WINDOW.to_be_bytes()].concat());
        frame(&mut hello, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
        stream.write_all(&hello)?;
        let calls = calls.iter().map(|(path, message, expect)| Call::new(address, path, session, message, *expect));
        let (stream, calls) = (BufReader::with_capacity(64 * 1024, stream), calls.collect::<Result<_>>()?);
        Ok(Self { stream, calls, next: 1, credit: 65_535, taken: 0, answer: Vec::new(), turn: 0 })
    }

    /// The next of its calls alone; after the last comes the first.
    pub(crate) fn turn(&mut self) -> Result<()> {
        let n = self.turn;
        self.turn = (n + 1) % self.calls.len();
        self.call(n)
    }

    /// What the last call was answered, behind its flag and its length.
    pub(crate) fn message(&self) -> &[u8] {
        self.answer.get(5..).unwrap_or_default()
    }

    fn call(&mut self, n: usize) -> Result<()> {
        let id = self.next;
        self.next += 2;
        while self.credit < self.calls[n].message.len() as i64 {
            let frame = self.read()?;
            self.heed(&frame)?;
        }
        let (call, mut out) = (&self.calls[n], Vec::with_capacity(2048));
        frame(&mut out, HEADERS, END_HEADERS, id, &call.block);
        let mut pieces = call.message.chunks(FRAME).peekable();
        while let Some(piece) = pieces.next() {
            frame(&mut out, DATA, if pieces.peek().is_some() { 0 } else { END_STREAM }, id, piece);
        }
        self.credit -= call.message.len() as i64;
        self.stream.get_mut().write_all(&out)?;
        self.answer.clear();
        loop {
            let frame = self.read()?;
            self.heed(&frame)?;
            if frame.stream == id && matches!(frame.kind, DATA | HEADERS) {
                if frame.kind == DATA {
                    self.answer.extend_from_slice(&frame.payload);
                }
                if frame.flags & END_STREAM != 0 {
                    return self.calls[n].expect.check(&self.answer);
                }
            }
        }
    }

    /// What concerns the connection, whichever call is under way.
    pub(super) fn heed(&mut self, received: &Frame) -> Result<()> {
        let mut out = Vec::new();
        match received.kind {
            SETTINGS if received.flags & ACK == 0 => frame(&mut out, SETTINGS, ACK, 0, &[]),
            PING if received.flags & ACK == 0 => frame(&mut out, PING, ACK, 0, &received.payload),
            WINDOW_UPDATE if received.stream == 0 => {
                let by: [u8; 4] = received.payload.as_slice().try_into().context("a window update of another size")?;
                self.credit += i64::from(u32::from_be_bytes(by));
            }
            DATA => {
                self.taken += u32::try_from(received.payload.len())?;
                if self.taken > WINDOW / 4 {
                    frame(&mut out, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
                    self.taken = 0;
                }
            }
            RST_STREAM | GOAWAY => bail!("the server broke off: frame {} {:?}", received.kind, received.payload),
            _ => {}
        }
        if !out.is_empty() {
            self.stream.get_mut().write_all(&out)?;
        }
        Ok(())
    }

    pub(super) fn read(&mut self) -> Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]), payload })
    }
}

impl Exchange for Grpc {
    fn once(&mut self) -> Result<()> {
        (0..self.calls.len()).try_for_each(|n| self.call(n))
    }
}

impl Call {
    fn new(to: SocketAddr, path: &str, session: &str, message: &[u8], expect: Expect) -> Result<Self> {
        let message = framed(message)?;
        ensure!(message.len() <= 65_535, "the message needs more than a stream's first window");
        Ok(Self { block: block(to, path, session)?, message, expect })
    }
}

/// The header block of a call.
pub(super) fn block(to: SocketAddr, path: &str, session: &str) -> Result<Vec<u8>> {
    // Indexed fields of the static table (RFC 7541 appendix A): `:method POST`, `:scheme http`.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", path),
        (":authority", &to.to_string()),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-ptp-session-id", session),
    ] {
        block.push(0);
        for text in [name, value] {
            ensure!(text.len() < 127, "{text} is too long for a length of one byte");
            block.push(u8::try_from(text.len())?);
            block.extend_from_slice(text.as_bytes());
        }
    }
    Ok(block)
}

/// A message behind its flag and its length.
pub(super) fn framed(message: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok([&[0][..], &length, message].concat())
}

pub(super) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    #[allow(clippy::cast_possible_truncation, reason = "at most FRAME")]
    let length = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
