//! One keep-alive HTTP/1.1 connection on a blocking socket.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use super::Expect;
use crate::load::Exchange;

/// Longer than any call of the bench may wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, and the buffer that answers are read into.
pub(crate) struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self::over(connect(address)?))
    }

    /// As a caller of another address of this machine.
    pub(crate) fn open_from(from: IpAddr, address: SocketAddr) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect(&address.into()).with_context(|| format!("connect to {address} from {from}"))?;
        let stream = TcpStream::from(socket);
        ready(&stream)?;
        Ok(Self::over(stream))
    }

    fn over(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// Only the socket, without the buffer: thousands of them fit.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.stream
    }

    /// Sends a request whose answer is read later.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request)?)
    }

    /// Sends one request and reads its answer; the body stays in the buffer until the next call.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.send(request)?;
        self.answer()
    }

    /// Reads one answer.
    pub(crate) fn answer(&mut self) -> Result<&[u8]> {
        let mut have = 0;
        let head = loop {
            let read = match self.stream.read(&mut self.buffer[have..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            ensure!(read > 0, "the server closed the connection");
            have += read;
            if let Some(head) = find(&self.buffer[..have], b"\r\n\r\n") {
                break head;
            }
            ensure!(have < self.buffer.len(), "the answer's head is too long");
        };
        ensure!(self.buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.buffer[..have.min(400)]));
        let body = head + 4;
        let end = body + content_length(&self.buffer[..head])?;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        ensure!(have <= end, "more than one answer came");
        self.stream.read_exact(&mut self.buffer[have..end])?;
        Ok(&self.buffer[body..end])
    }
}

/// The same requests, one after another, as one exchange.
pub(crate) struct Sequence {
    connection: Http,
    steps: Vec<(Vec<u8>, Expect)>,
}

impl Sequence {
    pub(crate) fn open(address: SocketAddr, steps: Vec<(Vec<u8>, Expect)>) -> Result<Box<dyn Exchange>> {
        Ok(Self::over(Http::open(address)?, steps))
    }

    pub(crate) fn over(connection: Http, steps: Vec<(Vec<u8>, Expect)>) -> Box<dyn Exchange> {
        Box::new(Self { connection, steps })
    }
}

impl Exchange for Sequence {
    fn once(&mut self) -> Result<()> {
        for (request, expect) in &self.steps {
            expect.check(self.connection.exchange(request)?)?;
        }
        Ok(())
    }
}

/// A socket for small requests at once and answers within reason.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    #[allow(clippy::disallowed_methods, reason = "a load generator's own thread, to its own server on loopback")]
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    ready(&stream)?;
    Ok(stream)
}

fn ready(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(())
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
