//! A client that sends bytes as they are, and ends as it likes.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Node, connect};

/// How long an answer may take that is known to come: a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Raw {
    pub(crate) tcp: TcpStream,
    read: Vec<u8>,
}

/// An answer, taken apart no further than its length needs.
#[derive(Clone)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    /// Lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.status, self.text())
    }
}

impl Heard {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// The code of the protocol, wherever it stands.
    pub(crate) fn code(&self) -> Option<String> {
        let text = self.text();
        text.find("E0000000").and_then(|at| text.get(at..at + 11)).map(str::to_owned)
    }
}

impl Raw {
    pub(crate) async fn to(node: &Node) -> Self {
        Self { tcp: connect(Ipv4Addr::LOCALHOST, node.data).await, read: Vec::new() }
    }

    /// Writes; `false` where the other end has closed.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.tcp.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next answer; `None` where the connection ends before one is complete.
    pub(crate) async fn answer(&mut self) -> Option<Heard> {
        timeout(PATIENCE, self.whole_answer()).await.expect("an answer or an end")
    }

    /// All that still comes until the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let more = async { while self.more().await {} };
        timeout(PATIENCE, more).await.expect("the end of the connection");
        std::mem::take(&mut self.read)
    }

    /// Reads so many bytes and leaves the rest in the kernel.
    pub(crate) async fn read_only(&mut self, bytes: usize) {
        let mut some = vec![0; bytes];
        timeout(PATIENCE, self.tcp.read_exact(&mut some)).await.expect("so many bytes").unwrap();
    }

    /// Ends with a reset, whatever was read.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }

    async fn whole_answer(&mut self) -> Option<Heard> {
        let head = loop {
            let end = self.read.windows(4).position(|w| w == b"\r\n\r\n");
            match end {
                Some(at) => break self.read.drain(..at + 4).collect::<Vec<_>>(),
                None if !self.more().await => return None,
                None => {}
            }
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.get(9..12)?.parse().ok()?;
        let heard = Heard { status, head, body: Vec::new() };
        if status == 100 {
            return Box::pin(self.whole_answer()).await;
        }
        let body = match heard.header("content-length").map(|length| length.parse().unwrap()) {
            Some(length) => self.take(length).await?,
            None if heard.header("transfer-encoding").is_some() => self.chunked().await?,
            None => Vec::new(),
        };
        Some(Heard { body, ..heard })
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            if !self.more().await {
                return None;
            }
        }
        Some(self.read.drain(..length).collect())
    }

    async fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                line.push(char::from(self.take(1).await?[0]));
            }
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            body.extend(self.take(size).await?);
            self.take(2).await?;
            if size == 0 {
                return Some(body);
            }
        }
    }

    async fn more(&mut self) -> bool {
        matches!(self.tcp.read_buf(&mut self.read).await, Ok(1..))
    }
}
