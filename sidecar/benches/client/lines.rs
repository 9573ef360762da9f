//! Just enough of the protocols of Redis and NATS to hand a value over and to see that it arrived.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, bail, ensure};

use super::http::connect;

/// A connection to Redis (RESP2).
pub(crate) struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: BufReader::new(connect(address)?) })
    }

    /// A command as it goes over the wire.
    pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    pub(crate) fn send(&mut self, command: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(command)?)
    }

    /// Reads one answer; its payload bytes, of an array the sum.
    pub(crate) fn answer(&mut self) -> Result<usize> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let rest = || line[1..].trim().parse::<usize>().with_context(|| format!("Redis said {line:?}"));
        match line.as_bytes().first() {
            Some(b':' | b'+') => Ok(0),
            Some(b'$') => {
                let mut value = vec![0; rest()? + 2];
                self.stream.read_exact(&mut value)?;
                Ok(value.len() - 2)
            }
            Some(b'*') => (0..rest()?).map(|_| self.answer()).sum(),
            _ => bail!("Redis said {line:?}"),
        }
    }
}

/// A connection to NATS that publishes to a JetStream subject and reads the acknowledgements.
pub(crate) struct Nats {
    stream: BufReader<TcpStream>,
    inbox: String,
}

impl Nats {
    /// Connects; answers come to an inbox of its own.
    pub(crate) fn open(address: SocketAddr, n: usize) -> Result<Self> {
        let mut nats = Self { stream: BufReader::new(connect(address)?), inbox: format!("_INBOX.bench{n}") };
        let mut info = String::new();
        nats.stream.read_line(&mut info)?;
        ensure!(info.starts_with("INFO "), "NATS said {info:?}");
        let hello =
            format!("CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true}}\r\nSUB {} 1\r\n", nats.inbox);
        nats.stream.get_mut().write_all(hello.as_bytes())?;
        Ok(nats)
    }

    /// A publication of `payload` that asks for an acknowledgement.
    pub(crate) fn publication(&self, subject: &str, payload: &[u8]) -> Vec<u8> {
        let head = format!("PUB {subject} {} {}\r\n", self.inbox, payload.len());
        [head.as_bytes(), payload, b"\r\n"].concat()
    }

    /// Listens to a subject.
    pub(crate) fn subscribe(&mut self, subject: &str) -> Result<()> {
        Ok(write!(self.stream.get_mut(), "SUB {subject} 2\r\n")?)
    }

    /// Publishes without asking for an acknowledgement.
    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) -> Result<()> {
        let head = format!("PUB {subject} {}\r\n", payload.len());
        Ok(self.stream.get_mut().write_all(&[head.as_bytes(), payload, b"\r\n"].concat())?)
    }

    /// Reads the next message; where its acknowledgement goes.
    pub(crate) fn message(&mut self) -> Result<String> {
        let (words, _) = self.read()?;
        let [_, _, reply] = words.as_slice() else { bail!("NATS gave no message: {words:?}") };
        Ok(reply.clone())
    }

    /// Asks for a message of a stream: where its acknowledgement goes, and what is in it.
    pub(crate) fn asked(&mut self, request: &[u8]) -> Result<(String, Vec<u8>)> {
        self.send(request)?;
        let (words, payload) = self.read()?;
        // One with headers says that there is none.
        let [_, _, reply] = words.as_slice() else { bail!("NATS gave no message: {words:?}") };
        Ok((reply.clone(), payload))
    }

    /// The next message that comes: its subject, and what is in it.
    pub(crate) fn next(&mut self) -> Result<(String, Vec<u8>)> {
        let (words, payload) = self.read()?;
        Ok((words.into_iter().next().context("no subject")?, payload))
    }

    /// Sends without reading.
    pub(crate) fn send(&mut self, publication: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(publication)?)
    }

    /// Reads the next answer.
    pub(crate) fn confirmation(&mut self) -> Result<Vec<u8>> {
        self.read().map(|(_, payload)| payload)
    }

    /// What stands before the size of the next message, and its payload, which headers come before where there are some.
    fn read(&mut self) -> Result<(Vec<String>, Vec<u8>)> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if line.starts_with("PING") {
                self.stream.get_mut().write_all(b"PONG\r\n")?;
                continue;
            }
            // With headers, of which the last number is the size as well.
            ensure!(line.starts_with("MSG ") || line.starts_with("HMSG "), "NATS said {line:?}");
            let mut words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
            let size: usize = words.pop().context("no size")?.parse()?;
            let mut payload = vec![0; size + 2];
            self.stream.read_exact(&mut payload)?;
            payload.truncate(size);
            return Ok((words, payload));
        }
    }

    /// Sends it and reads the answer.
    pub(crate) fn exchange(&mut self, publication: &[u8]) -> Result<Vec<u8>> {
        self.send(publication)?;
        self.confirmation()
    }
}
