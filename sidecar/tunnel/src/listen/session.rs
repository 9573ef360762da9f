//! A connection whose node was admitted, to its end: it asks for its address, and packets go both ways.
//!
//! One task, which reads, forwards, writes and keeps time. It waits for nobody: what a receiver has no room for is dropped by the
//! hub, so a connection that stalls stalls alone.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::Ipv4Addr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use mesh_websocket::{Close, CloseCode, Data, Opcode, Part, Read, Reader, Reading, Texts};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_rustls::server::TlsStream;

use super::{
    clock::{Clock, Due},
    handshake::{self, First},
    head,
    writing::Writing,
};
use crate::{
    hub::{Hub, Peer, Wakes},
    packet::batch,
    seam::NoAddress,
};

/// The largest message (NC section 4).
const MESSAGE: usize = 1024 * 1024;
/// The largest one before the node has its address: the question is shorter, and a packet that comes too early has 2048 bytes at most
/// (NC section 4). Whoever has a token and nothing else holds no more memory than that.
const EARLY: usize = 4096;
/// What is read at a time.
const PIECE: usize = 16 * 1024;
/// Pieces that a node may bring before others of its thread have their turn.
const PIECES_IN_A_ROW: usize = 8;
/// How long the end of TLS may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Text holds packets, which are no UTF-8.
const READING: Reading = Reading { texts: Texts::Bytes, ..Reading::messages(MESSAGE) };

thread_local! {
    static PIECES: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// A node's connection.
pub(super) struct Session {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    token: String,
    stream: TlsStream<TcpStream>,
    reader: Reader,
    writing: Writing,
    wakes: Wakes,
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    phase: Phase,
    /// It broke the protocol: what it sends is not read any more, and it has its close to read.
    is_deaf: bool,
}

#[derive(Debug)]
enum Phase {
    /// It has not asked for its address.
    New,
    /// The control plane chooses one.
    Addressing(JoinHandle<Result<Ipv4Addr, NoAddress>>),
    /// Packets go both ways.
    Open,
    /// Our close waits or was given out; whatever comes but the node's own is passed over.
    Closing,
    /// The node has closed: the connection ends with our answer.
    Answering,
    /// Both have closed, or the connection is lost.
    Over(&'static str),
}

impl Session {
    /// A node's connection after its 101. `more`: bytes that came behind the head.
    pub(super) fn new(
        hub: Arc<Hub>,
        peer: Arc<Peer>,
        token: String,
        stream: TlsStream<TcpStream>,
        more: &[u8],
    ) -> Self {
        let now = Instant::now();
        let mut reader = Reader::default();
        reader.extend(more);
        Self {
            clock: Clock::new(now, hub.since),
            hub,
            peer,
            token,
            stream,
            reader,
            writing: Writing::default(),
            wakes: Wakes::default(),
            sleep: Box::pin(sleep_until(now)),
            phase: Phase::New,
            is_deaf: false,
        }
    }

    /// Serves the node until it has gone. It stays in its box: a task keeps what it is given beside what it makes of it.
    pub(super) async fn run(mut self: Box<Self>) {
        let why = poll_fn(|cx| self.poll(cx)).await;
        self.hub.leave(&self.peer);
        tracing::info!(peer = %self.peer.id, from = %self.peer.from, "the tunnel of a node ended: {why}");
        // The end takes room when it comes, and not before.
        let _ = Box::pin(timeout(GOODBYE, self.stream.shutdown())).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        if self.poll_read(cx).is_err() {
            self.over("the connection is lost");
        }
        // What was just read may have asked for it.
        self.poll_address(cx);
        self.wakes.wake(&self.hub);
        // What was just read may have to be answered, so writing comes behind it.
        if self.poll_write(cx).is_err() {
            self.over("the connection is lost");
        }
        self.poll_clock(cx);
        if let Phase::Over(why) = self.phase { Poll::Ready(why) } else { Poll::Pending }
    }

    fn over(&mut self, why: &'static str) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(why);
        }
    }

    fn poll_address(&mut self, cx: &mut Context<'_>) {
        let Phase::Addressing(choosing) = &mut self.phase else { return };
        let Poll::Ready(chosen) = Pin::new(choosing).poll(cx) else { return };
        self.addressed(chosen.unwrap_or(Err(NoAddress::Unwritten)));
    }

    /// The reply goes out first, and the table has the node only then (NC section 4).
    fn addressed(&mut self, chosen: Result<Ipv4Addr, NoAddress>) {
        self.phase = Phase::Open;
        match chosen {
            Ok(address) => {
                self.clock.greeted();
                let reply = handshake::reply(&self.hub.subnet.cidr_of(address));
                // Where it is not the node's session any more, its close waits already.
                if self.hub.connect(&self.peer, address, reply.as_bytes()) {
                    tracing::info!(peer = %self.peer.id, %address, from = %self.peer.from, "a node joined the tunnel");
                }
            }
            Err(NoAddress::Gone) => self.hub.end(&self.peer, head::invalid(&self.token)),
            Err(e @ (NoAddress::Exhausted | NoAddress::Unwritten)) => {
                tracing::warn!(peer = %self.peer.id, "a node gets no address: {e}");
                self.hub.end(&self.peer, Close::new(CloseCode::RESTART, "come again later"));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        for _ in 0..PIECES_IN_A_ROW {
            self.understand();
            if matches!(self.phase, Phase::Over(_)) {
                return Ok(());
            }
            let read = PIECES.with_borrow_mut(|piece| {
                let mut piece = ReadBuf::new(piece);
                let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
                if !self.is_deaf {
                    self.reader.extend(piece.filled());
                }
                read.map_ok(|()| piece.filled().len())
            });
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(read) => {
                    read?;
                }
            }
        }
        self.understand();
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn understand(&mut self) {
        while !self.is_deaf && !matches!(self.phase, Phase::Over(_)) {
            match self.reader.next(self.reading()) {
                Ok(Some(read)) => self.take(read),
                Ok(None) => return,
                Err(close) => {
                    self.hub.end(&self.peer, close);
                    self.is_deaf = true;
                    self.reader = Reader::default();
                }
            }
        }
    }

    /// Who was sent away before it had its address holds no more than before, either.
    fn reading(&self) -> Reading {
        if self.peer.address().is_none() { Reading { message_bytes: EARLY, ..READING } } else { READING }
    }

    fn take(&mut self, read: Read) {
        match (&self.phase, read) {
            (_, Read::Ping(payload)) => self.peer.pong(payload),
            (_, Read::Pong(_)) => {
                let after = self.clock.pong(Instant::now());
                self.peer.answered(after);
            }
            (Phase::Closing, Read::Close(_)) => self.over("it was closed"),
            (_, Read::Close(close)) => {
                // It is answered by the same code, and that is the end.
                self.hub.end(&self.peer, Close { code: close.code, reason: "".into() });
                self.phase = Phase::Answering;
            }
            (Phase::Open, Read::Part(Part { opcode: Opcode::Text, data: Data::Binary(packet), .. })) => {
                self.hub.forward(&self.peer, &packet, &mut self.wakes);
            }
            (Phase::Open, Read::Part(Part { opcode: Opcode::Binary, data: Data::Binary(mut packets), .. }))
                if self.peer.batches() =>
            {
                while let Some(packet) = batch::next(&mut packets) {
                    self.hub.forward(&self.peer, &packet, &mut self.wakes);
                }
            }
            (Phase::New, Read::Part(Part { opcode: Opcode::Text, data: Data::Binary(text), .. })) => self.first(&text),
            // Binary messages are ignored, and so is text at the wrong time.
            (_, Read::Part(_)) => {}
        }
    }

    fn first(&mut self, text: &[u8]) {
        match handshake::read(text) {
            First::Other => {}
            First::Broken => {
                self.hub.end(&self.peer, Close::protocol("the first message is JSON with a connectionState"));
            }
            First::Asks => {
                let (desk, peer) = (Arc::clone(&self.hub.desk), self.peer.id);
                // It may have to be written to disk.
                self.phase = Phase::Addressing(spawn_blocking(move || desk.address(peer)));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.writing.is_empty() {
                let Some(outgoing) = self.peer.take(cx.waker()) else {
                    self.clock.blocked(false, Instant::now());
                    if matches!(self.phase, Phase::Answering) {
                        self.over("it closed the connection");
                    }
                    return Ok(());
                };
                if outgoing.close.is_some() {
                    self.closing();
                }
                self.writing.put(outgoing.pieces);
            }
            let clock = &mut self.clock;
            match self.writing.poll(&mut self.stream, cx, || clock.written()) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    self.clock.blocked(true, Instant::now());
                    return Ok(());
                }
            }
        }
    }

    /// Our close is on its way.
    fn closing(&mut self) {
        if !matches!(self.phase, Phase::Answering) {
            self.phase = Phase::Closing;
        }
        self.clock.closing(Instant::now());
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) {
        while !matches!(self.phase, Phase::Over(_)) {
            match self.clock.due(Instant::now()) {
                Due::Dead(why) => {
                    // Who was told to go and did not answer has not died.
                    if !self.peer.has_ended() {
                        self.hub.found_dead(&self.peer, why);
                    }
                    self.over(why);
                }
                Due::Ping => {
                    self.peer.ping();
                    cx.waker().wake_by_ref();
                }
                Due::Nothing(at) => {
                    if self.sleep.deadline() != at {
                        self.sleep.as_mut().reset(at);
                    }
                    if self.sleep.as_mut().poll(cx).is_pending() {
                        return;
                    }
                }
            }
        }
    }
}
