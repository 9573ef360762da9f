//! The load generator as one event loop: all connections on one thread, closed loop, as wrk and h2load do it.
//!
//! Threads that block (`load.rs`) are woken one by one, and where two processors share the work each wake-up that crosses
//! them costs more than the exchange. A loop answers many at once, on both sides; it shows what the servers cost themselves.

use std::{
    io::{ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::{
    client::{Expect, content_length, find},
    load::{WARM_UP, cpu},
    process::{self, Server},
    stats::Round,
};

/// What is said on one connection over and over.
pub(crate) struct Script {
    pub(crate) to: SocketAddr,
    pub(crate) steps: Vec<(Vec<u8>, Expect)>,
}

/// A server that stays silent for so long has stalled.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events taken at a time; there are fewer connections.
const EVENTS: usize = 64;

/// One connection on its way through its script.
struct Connection {
    stream: TcpStream,
    steps: Vec<(Vec<u8>, Expect)>,
    step: usize,
    /// Bytes of the step's request that are out.
    sent: usize,
    buffer: Vec<u8>,
    have: usize,
    /// Where the answer's body begins and ends, once its head is there.
    body: Option<(usize, usize)>,
    begun: Instant,
}

/// One round of `length`; CPU time is that of `servers`.
pub(crate) fn round(scripts: Vec<Script>, servers: &[&Server], length: Duration) -> Result<Round> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut all = scripts.into_iter().map(Connection::open).collect::<Result<Vec<_>>>()?;
    let (begun, servers_before, own_before) = (Instant::now(), cpu(servers)?, process::own_cpu()?);
    let (from, until) = (begun + WARM_UP, begun + WARM_UP + length);
    let (mut latencies, mut count) = (Vec::with_capacity(1 << 20), 0_u32);
    for (n, connection) in all.iter_mut().enumerate() {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&poll, &connection.stream, EventData::new_u64(n as u64), flags)?;
        connection.begin()?;
    }
    let mut events = [MaybeUninit::uninit(); EVENTS];
    let patience = rustix::event::Timespec::try_from(PATIENCE)?;
    // What was begun comes to its end: a message left behind would be the next round's.
    let mut busy = all.len();
    while busy > 0 {
        let (ready, _) = epoll::wait(&poll, &mut events, Some(&patience))?;
        ensure!(!ready.is_empty(), "no server answered for {PATIENCE:?}");
        for event in ready {
            let n = usize::try_from(event.data.u64())?;
            let connection = all.get_mut(n).context("an event of nobody")?;
            if connection.is_over() {
                continue;
            }
            while let Some(latency) = connection.advance().with_context(|| format!("connection {n}"))? {
                count += 1;
                if connection.begun >= from {
                    latencies.push(latency);
                }
                if Instant::now() >= until {
                    busy -= 1;
                    break;
                }
                connection.begin()?;
            }
        }
    }
    let (elapsed, servers, own) = (begun.elapsed(), cpu(servers)? - servers_before, process::own_cpu()? - own_before);
    Round::of(latencies, length, servers / count.max(1), own.as_secs_f64() / elapsed.as_secs_f64() / process::cores())
}

impl Connection {
    fn open(script: Script) -> Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "a load generator's own thread, to its own server on loopback")]
        let stream = TcpStream::connect(script.to).with_context(|| format!("connect to {}", script.to))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let buffer = vec![0; 64 * 1024];
        Ok(Self { stream, steps: script.steps, step: 0, sent: 0, buffer, have: 0, body: None, begun: Instant::now() })
    }

    /// Begins an exchange with its first request.
    fn begin(&mut self) -> Result<()> {
        (self.step, self.begun) = (0, Instant::now());
        self.ask()
    }

    /// Whether its last exchange is over and no other was begun.
    fn is_over(&self) -> bool {
        self.step == self.steps.len()
    }

    fn ask(&mut self) -> Result<()> {
        (self.sent, self.have, self.body) = (0, 0, None);
        self.send()
    }

    /// Sends what the socket takes.
    fn send(&mut self) -> Result<()> {
        let request = &self.steps[self.step].0;
        while self.sent < request.len() {
            match self.stream.write(&request[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => bail!(error),
            }
        }
        Ok(())
    }

    /// Goes on as far as the socket lets it; how long the exchange took where it is over.
    fn advance(&mut self) -> Result<Option<Duration>> {
        self.send()?;
        while self.read()? {
            let (request, expect) = &self.steps[self.step];
            ensure!(self.sent == request.len(), "an answer before its request was out");
            let (start, end) = self.body.context("no body")?;
            expect.check(&self.buffer[start..end])?;
            self.step += 1;
            if self.step == self.steps.len() {
                return Ok(Some(self.begun.elapsed()));
            }
            self.ask()?;
        }
        Ok(None)
    }

    /// Whether the answer is whole. Where it is not, more will come, and be said by an event.
    fn read(&mut self) -> Result<bool> {
        loop {
            match self.stream.read(&mut self.buffer[self.have..]) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(read) => self.have += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => bail!(error),
            }
            if self.body.is_none() {
                let Some(head) = find(&self.buffer[..self.have], b"\r\n\r\n") else { continue };
                ensure!(self.buffer.starts_with(b"HTTP/1.1 200"), "not the answer that was asked for");
                let end = head + 4 + content_length(&self.buffer[..head])?;
                self.body = Some((head + 4, end));
                // One byte more, so that a buffer that is full is never taken for the end of the stream.
                self.buffer.resize(self.buffer.len().max(end + 1), 0);
            }
            if self.body.is_some_and(|(_, end)| self.have >= end) {
                return Ok(true);
            }
        }
    }
}
