//! A WebSocket through the own node, held as a user's program holds one: it says how it was ended, and comes back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A frame of text as a client sends it, under a mask of zeros.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
/// Between two of them, and between two tries to open one.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than a gateway needs to start anew.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a program says of a connection that broke without a word (RFC 6455 section 7.4.1).
const BROKE: u16 = 1006;

#[derive(Args)]
pub(crate) struct Socket {
    /// Its path at the own node.
    path: String,
}

impl Socket {
    /// Prints `open`, then `closed CODE` when it is ended, then `open again after MS`, and ends.
    pub(crate) async fn run(self) -> Result<()> {
        let stream = timeout(PATIENCE, self.open()).await.context("no WebSocket in time")?;
        println!("open");
        println!("closed {}", held(stream).await);
        let closed = Instant::now();
        timeout(PATIENCE, self.open()).await.context("no WebSocket in time")?;
        println!("open again after {}", closed.elapsed().as_millis());
        Ok(())
    }

    /// Tries until one stands and answers.
    async fn open(&self) -> TcpStream {
        loop {
            match self.one().await {
                Ok(stream) => return stream,
                Err(e) => e2e::say(&format!("not yet: {e:#}")),
            }
            sleep(PAUSE).await;
        }
    }

    async fn one(&self) -> Result<TcpStream> {
        let mut stream = opened("127.0.0.1:7304", &self.path).await?;
        stream.write_all(HELLO).await?;
        match frame(&mut stream).await? {
            None => Ok(stream),
            Some(code) => bail!("closed at once with {code}"),
        }
    }
}

/// A WebSocket at that address, once it is one.
#[expect(clippy::disallowed_methods, reason = "a program in a pod calls whom its test names, and nobody else")]
pub(crate) async fn opened(address: &str, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        said.push(stream.read_u8().await?);
    }
    ensure!(said.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&said));
    Ok(stream)
}

/// Says something now and then until it is ended, and with which code.
async fn held(mut stream: TcpStream) -> u16 {
    loop {
        let said = async {
            stream.write_all(HELLO).await?;
            frame(&mut stream).await
        };
        match said.await {
            Ok(None) => sleep(PAUSE).await,
            Ok(Some(code)) => return code,
            Err(_) => return BROKE,
        }
    }
}

/// Reads a frame; the code, if it is the last one.
async fn frame(stream: &mut TcpStream) -> Result<Option<u16>> {
    let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
    let masked = if second & 0x80 == 0 { 0 } else { 4 };
    // None of ours is longer than what one byte says.
    let mut payload = vec![0; usize::from(second & 0x7f) + masked];
    stream.read_exact(&mut payload).await?;
    let code = payload.first_chunk().copied().map(u16::from_be_bytes);
    Ok(code.filter(|_| first & 0xf == 8))
}
