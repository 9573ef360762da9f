//! Bare NATS with a fan: one connection to the server, and what comes there goes to each WebSocket here, as it is. What several gateways
//! of one grid are measured by: it looks at nothing, answers nothing, and keeps nothing for who is slow.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;

use crate::client::{Http, WebSocket};

/// The subject.
pub(crate) const SUBJECT: &str = "room";
/// The answer to the key that every client here brings.
const WELCOME: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// What is read of NATS at once, and written to each as one piece.
const BUFFER: usize = 64 << 10;

type Listeners = Arc<Mutex<Vec<TcpStream>>>;

/// Serves until it is killed.
pub(super) fn serve(port: &str, nats: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    let (listeners, nats) = (Listeners::default(), Http::open(nats.parse()?)?.into_socket());
    let theirs = Arc::clone(&listeners);
    thread::spawn(move || fan_out(nats, &theirs));
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte)? == 0 {
                break;
            }
            head.extend(byte);
        }
        // A probe says nothing.
        if !head.is_empty() {
            stream.write_all(WELCOME)?;
            listeners.lock().push(stream);
        }
    }
    Ok(())
}

fn fan_out(nats: TcpStream, listeners: &Listeners) -> Result<()> {
    nats.set_nodelay(true)?;
    let mut to = nats.try_clone()?;
    let mut from = BufReader::with_capacity(BUFFER, nats);
    let (mut line, mut frames) = (String::new(), Vec::new());
    from.read_line(&mut line)?;
    write!(to, "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {SUBJECT} 1\r\n")?;
    loop {
        line.clear();
        ensure!(from.read_line(&mut line)? > 0, "NATS has gone");
        if line.starts_with("PING") {
            to.write_all(b"PONG\r\n")?;
            continue;
        }
        if !line.starts_with("MSG ") {
            bail!("NATS said {line:?}");
        }
        let size: usize = line.split_whitespace().last().context("no size")?.parse()?;
        let mut payload = vec![0; size + 2];
        from.read_exact(&mut payload)?;
        payload.truncate(size);
        frames.extend(WebSocket::unmasked(1, &payload)?);
        // What has come together goes on together.
        if from.buffer().is_empty() {
            for stream in listeners.lock().iter_mut() {
                stream.write_all(&frames)?;
            }
            frames.clear();
        }
    }
}
