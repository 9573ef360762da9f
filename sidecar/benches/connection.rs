//! One keep-alive HTTP/1.1 connection on a blocking socket: the cheapest client that still reads whole answers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// A connection, and the buffer that answers are read into.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "a load generator's own thread, to its own server on loopback")]
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Only the socket, without the buffer: thousands of them fit.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.stream
    }

    /// Sends one request and reads its answer; the body stays in the buffer until the next call.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request)?;
        let mut have = 0;
        let (head, body) = loop {
            let read = self.stream.read(&mut self.buffer[have..])?;
            ensure!(read > 0, "the server closed the connection");
            have += read;
            if let Some(head) = find(&self.buffer[..have], b"\r\n\r\n") {
                break (head, head + 4);
            }
            ensure!(have < self.buffer.len(), "the answer's head is too long");
        };
        let length = content_length(&self.buffer[..head])?;
        ensure!(self.buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.buffer[..head]));
        let end = body + length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        self.stream.read_exact(&mut self.buffer[have..end])?;
        Ok(&self.buffer[body..end])
    }
}

/// Where `needle` begins in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

/// The content-length of a head.
pub(crate) fn content_length(head: &[u8]) -> Result<usize> {
    let text = std::str::from_utf8(head)?;
    for line in text.split("\r\n") {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return Ok(value.trim().parse()?);
        }
    }
    bail!("no content-length in {text:?}")
}
