//! One WebSocket on a blocking socket. What it sends is masked with zeros, which changes nothing and costs nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A connection that has become a WebSocket.
pub(crate) struct WebSocket {
    stream: TcpStream,
    /// What has come and was not read yet.
    came: Vec<u8>,
}

impl WebSocket {
    /// Asks for `path` on a connection. `more` are header lines, each with its end.
    pub(crate) fn over(mut stream: TcpStream, path: &str, more: &str) -> Result<Self> {
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n{more}\r\n"
        )?;
        let mut came = Vec::with_capacity(512);
        let head = loop {
            if let Some(head) = super::find(&came, b"\r\n\r\n") {
                break head;
            }
            let mut piece = [0; 512];
            let read = stream.read(&mut piece)?;
            ensure!(read > 0, "the server closed the connection within the handshake");
            came.extend_from_slice(&piece[..read]);
        };
        ensure!(came.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&came));
        came.drain(..head + 4);
        Ok(Self { stream, came })
    }

    /// A message of a client as it goes over the wire.
    pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Result<Vec<u8>> {
        Self::framed(opcode, 0x80, &[0; 4], payload)
    }

    /// The same of a server.
    pub(crate) fn unmasked(opcode: u8, payload: &[u8]) -> Result<Vec<u8>> {
        Self::framed(opcode, 0, &[], payload)
    }

    fn framed(opcode: u8, masked: u8, mask: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
        let mut frame = vec![0x80 | opcode];
        match u16::try_from(payload.len())? {
            short @ 0..126 => frame.push(masked | u8::try_from(short)?),
            long => {
                frame.push(masked | 126);
                frame.extend(long.to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload);
        Ok(frame)
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.write(&Self::frame(TEXT, text.as_bytes())?)
    }

    /// Sends frames that were made before.
    pub(crate) fn write(&mut self, frames: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(frames)?)
    }

    /// The payload of the next message.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>> {
        loop {
            let (opcode, payload) = self.one()?;
            match opcode {
                PING => self.write(&Self::frame(PONG, &payload)?)?,
                0..=2 => return Ok(payload),
                _ => anyhow::bail!("a frame of type {opcode}: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }

    fn one(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            if let Some((head, length)) = head(&self.came)
                && self.came.len() >= head + length
            {
                let opcode = self.came[0] & 15;
                let payload = self.came[head..head + length].to_vec();
                self.came.drain(..head + length);
                return Ok((opcode, payload));
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece).context("no frame")?;
            ensure!(read > 0, "the server closed the connection");
            self.came.extend_from_slice(&piece[..read]);
        }
    }

    /// The socket alone, for whoever counts what comes; nothing is left unread.
    pub(crate) fn into_socket(self) -> Result<TcpStream> {
        ensure!(self.came.is_empty(), "something came that nobody has read");
        Ok(self.stream)
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }
}

/// The size of a server's frame's head and of its payload, once that much has come.
pub(crate) fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    match (bytes.get(1)? & 127, bytes) {
        (126, [_, _, a, b, ..]) => Some((4, usize::from(u16::from_be_bytes([*a, *b])))),
        (127, [_, _, a, b, c, d, e, f, g, h, ..]) => {
            Some((10, usize::try_from(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])).ok()?))
        }
        (126 | 127, _) => None,
        (short, _) => Some((2, usize::from(short))),
    }
}
