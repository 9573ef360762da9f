//! The grid as its two sides know it: an end user at a listener, and a backend at the 6789 of its own pod.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::socket::opened;

/// Longer than anything of this takes, where it comes at all.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct User {
    /// Where the listener is: an address and a port.
    address: String,
    /// What is said; short.
    text: String,
}

#[derive(Args)]
pub(crate) struct Backend {
    /// What is consumed.
    topic: String,
}

impl User {
    /// Says something and asks for an answer, which is printed: what was said before it has come then.
    pub(crate) async fn run(self) -> Result<()> {
        let answer = async {
            let mut stream = opened(&self.address, "/").await?;
            says(&mut stream, &self.text).await?;
            says(&mut stream, "ping").await?;
            hears(&mut stream).await
        };
        println!("{}", timeout(PATIENCE, answer).await.context("no answer in time")??);
        Ok(())
    }
}

impl Backend {
    /// Consumes the topic, and prints the first event.
    pub(crate) async fn run(self) -> Result<()> {
        let event = async {
            let mut stream = opened("127.0.0.1:6789", "/ws/v1").await?;
            says(&mut stream, &format!(r#"{{"m":"queue.pop","p":{{"t":["{}"]}},"i":1}}"#, self.topic)).await?;
            let answer = hears(&mut stream).await?;
            ensure!(answer == r#"{"E":null,"r":{"s":true},"i":1}"#, "{answer}");
            hears(&mut stream).await
        };
        println!("{}", timeout(PATIENCE, event).await.context("no event in time")??);
        Ok(())
    }
}

/// Sends a text in a frame under a mask of zeros.
async fn says(stream: &mut TcpStream, text: &str) -> Result<()> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).context("the text is too long")?;
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend(text.as_bytes());
    Ok(stream.write_all(&frame).await?)
}

/// The next text.
async fn hears(stream: &mut TcpStream) -> Result<String> {
    let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = if second == 126 { stream.read_u16().await? } else { second.into() };
    let mut payload = vec![0; length.into()];
    stream.read_exact(&mut payload).await?;
    ensure!(first == 0x81, "no text: {first:#x} {}", String::from_utf8_lossy(&payload));
    Ok(String::from_utf8(payload)?)
}
