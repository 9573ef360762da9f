//! Many WebSockets that only listen, on one thread: it counts what comes, and says when all of it has.

use std::{
    io::{ErrorKind, Read},
    mem::MaybeUninit,
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    fd::OwnedFd,
};

use super::websocket::{WebSocket, head};

/// Longer than any server needs for a batch.
const PATIENCE: Duration = Duration::from_secs(20);
const EVENTS: usize = 256;

/// Those who listen.
pub(crate) struct Audience {
    poll: OwnedFd,
    all: Vec<Listener>,
    buffer: Vec<u8>,
    /// Payload that has come, of messages.
    came: u64,
}

struct Listener {
    stream: TcpStream,
    /// Of a head that is not whole.
    head: Vec<u8>,
    left: usize,
    is_message: bool,
}

impl Audience {
    pub(crate) fn new(sockets: Vec<WebSocket>) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut all = Vec::with_capacity(sockets.len());
        for (n, socket) in sockets.into_iter().enumerate() {
            let stream = socket.into_socket()?;
            stream.set_nonblocking(true)?;
            epoll::add(&poll, &stream, EventData::new_u64(n as u64), EventFlags::IN)?;
            all.push(Listener { stream, head: Vec::new(), left: 0, is_message: false });
        }
        Ok(Self { poll, all, buffer: vec![0; 256 * 1024], came: 0 })
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Passes over whatever comes in `span`.
    pub(crate) fn pass_over(&mut self, span: Duration) -> Result<()> {
        let until = Instant::now() + span;
        while Instant::now() < until {
            self.read(until.saturating_duration_since(Instant::now()))?;
        }
        self.came = 0;
        Ok(())
    }

    /// Waits until each has got `bytes` more of payload; the moment of the last.
    pub(crate) fn wait(&mut self, bytes: usize) -> Result<Instant> {
        let until = (self.all.len() * bytes) as u64;
        while self.came < until {
            let is_something = self.read(PATIENCE)?;
            ensure!(is_something, "{} bytes of {until} came, and then nothing for {PATIENCE:?}", self.came);
        }
        ensure!(self.came == until, "more came than was sent: {} bytes of {until}", self.came);
        self.came = 0;
        Ok(Instant::now())
    }

    /// Reads from those for whom something has come, within `patience`; whether there was anybody.
    fn read(&mut self, patience: Duration) -> Result<bool> {
        let patience = rustix::event::Timespec::try_from(patience)?;
        let mut events = [MaybeUninit::uninit(); EVENTS];
        let (ready, _) = epoll::wait(&self.poll, &mut events, Some(&patience))?;
        for event in &*ready {
            let n = usize::try_from(event.data.u64())?;
            let listener = self.all.get_mut(n).context("an event of nobody")?;
            match listener.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed a listener's connection"),
                Ok(read) => self.came += listener.take(&self.buffer[..read]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => bail!(e),
            }
        }
        Ok(!ready.is_empty())
    }
}

impl Listener {
    /// Bytes of messages within `bytes`.
    fn take(&mut self, mut bytes: &[u8]) -> u64 {
        let mut came = 0;
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let some = self.left.min(bytes.len());
                (self.left, bytes) = (self.left - some, &bytes[some..]);
                came += if self.is_message { some as u64 } else { 0 };
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            if let Some((size, length)) = head(&self.head)
                && self.head.len() == size
            {
                (self.left, self.is_message) = (length, self.head[0] & 15 < 8);
                self.head.clear();
            }
        }
        came
    }
}
