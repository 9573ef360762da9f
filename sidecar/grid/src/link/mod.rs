//! One client's connection, from its handshake to its end.
//!
//! ```text
//! clock.rs     when it is asked, and when it is given up (pure)
//! inbound.rs   what becomes of what it sends
//! renewal.rs   a new token, while it is looked at
//! ```
//! A task for each client, polled when its socket has something, and when what waits for the client is not written by others. It
//! holds no buffer while nothing happens: bytes are read into one that all clients of a thread share.

mod clock;
mod inbound;
mod renewal;

use std::{
    cell::RefCell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use futures::FutureExt as _;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

pub(crate) use self::renewal::Bearer;
use self::{
    clock::{Clock, Due, Times},
    inbound::{Inbound, holds},
    renewal::Renewal,
};
use crate::{
    Grid,
    clients::Client,
    envelope::Happened,
    purse::Share,
    shared::Shared,
    stream::Stream,
    wire::{Close, CloseCode, Opcode, Read, Reader, Reading},
};

/// What is read at a time.
const PIECE: usize = 16 * 1024;
/// Pieces that a client may bring before others of its thread have their turn.
const PIECES_IN_A_ROW: usize = 8;
/// And what may be made of them until then, for a piece may hold thousands of frames, or open to a thousand times its size: bytes
/// of messages, each counted with what it costs at least.
const WORK_IN_A_ROW: usize = 256 * 1024;
const WORK_OF_FRAME: usize = 1024;

/// What a client may leave unfinished without a question: most messages are smaller, and most clients have none.
const UNASKED: usize = 4 * 1024;

thread_local! {
    static PIECES: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// A client's connection.
pub(crate) struct Link {
    grid: Arc<Grid>,
    client: Arc<Client>,
    stream: Stream<Shared>,
    reader: Reader,
    inbound: Inbound,
    /// Of what clients leave unfinished together.
    share: Share,
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    renewal: Renewal,
    /// The end that was agreed on, or that the peer asked for.
    end: Option<Box<Close>>,
    /// Whether our close is among what is being written.
    says_end: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our close waits, is on its way or was written; whatever comes but the peer's is passed over.
    Closing,
    /// The peer has closed: whatever else it sends is passed over, and the connection ends with our close (RFC 6455 section 7.1.1).
    Answering,
    /// Both have closed, or the connection is lost.
    Over,
}

/// What a handshake found out of a client.
pub(crate) struct Greeted<'a> {
    pub(crate) uri: &'a str,
    pub(crate) subprotocol: &'a str,
    pub(crate) headers: &'a [(String, String)],
    /// Bytes that came behind the handshake.
    pub(crate) more: &'a [u8],
    /// How long its credentials hold.
    pub(crate) expires: Option<Duration>,
    /// Who may renew them, where the listener has them.
    pub(crate) bearer: Option<Bearer>,
}

impl Link {
    /// A client whose handshake was answered.
    pub(crate) fn new(grid: Arc<Grid>, client: Arc<Client>, stream: Stream<Shared>, greeted: Greeted<'_>) -> Self {
        let now = Instant::now();
        let hold = holds(&client).map(|hold| Duration::from_secs(hold.timeout_seconds.into()));
        let mut reader = Reader::default();
        reader.extend(greeted.more);
        let mut inbound = Inbound::new(greeted.subprotocol);
        let remote = client.remote.to_string();
        let handshake = Happened::Handshake { uri: greeted.uri, remote: &remote, headers: greeted.headers };
        inbound.opened(&grid, &client, handshake, now_ms());
        if let Stream::Plain(socket) = &stream {
            client.share(socket.clone());
        }
        Self {
            share: Share::of(&grid.unfinished),
            clock: Clock::new(now.into_std(), hold, greeted.expires),
            sleep: Box::pin(sleep_until(now)),
            grid,
            client,
            stream,
            reader,
            inbound,
            renewal: Renewal::of(greeted.bearer),
            end: None,
            says_end: false,
            phase: Phase::Open,
        }
    }

    /// Serves the client until it has gone, and tells its topic.
    pub(crate) async fn run(mut self: Box<Self>) {
        let served = AssertUnwindSafe(std::future::poll_fn(|cx| self.poll(cx))).catch_unwind().await;
        if served.is_err() {
            self.broken();
        }
        self.grid.clients.end(&self.client);
        let close = self.end.take().map(|close| *close).or_else(|| self.client.closing()).unwrap_or_default();
        self.grid.metrics.closed(close.code);
        self.inbound.closed(&self.grid, &self.client, &close, now_ms());
    }

    /// A fault of ours has ended it; the panic hook has told. The client learns that as far as its socket takes it at once, and nothing
    /// of it stays here.
    fn broken(&mut self) {
        let close = Close::new(CloseCode::INTERNAL, "a fault of this node: come again");
        self.client.close(close.clone());
        self.end = Some(Box::new(close));
        let mut cx = Context::from_waker(Waker::noop());
        // What failed may fail again.
        let _ = catch_unwind(AssertUnwindSafe(|| self.poll_write(&mut cx)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_inward(cx);
        // What was just read may have to be answered, so writing comes behind it.
        if self.poll_write(cx).is_err() {
            self.phase = Phase::Over;
        }
        self.poll_clock(cx);
        if self.phase == Phase::Over { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_inward(&mut self, cx: &mut Context<'_>) {
        // Before anything is looked at: whoever changes it from here on wakes this task.
        self.client.watch(cx.waker());
        if self.client.is_closing() {
            self.ending();
        }
        if self.client.is_cut() {
            self.phase = Phase::Over;
            return;
        }
        self.inbound.release(&self.grid, &self.client);
        self.poll_renewal(cx);
        if self.poll_read(cx).is_err() {
            self.phase = Phase::Over;
        }
        self.poll_renewal(cx);
    }

    /// A new token that counts moves the end of the session; one that does not is told.
    fn poll_renewal(&mut self, cx: &mut Context<'_>) {
        if let Some(token) = self.inbound.take_token() {
            self.renewal.begin(&self.grid, &self.client, token, Instant::now().into_std());
        }
        if let Some(expires) = self.renewal.poll(&self.grid, &self.client, cx) {
            let now = Instant::now().into_std();
            self.clock.expires(expires.and_then(|expires| now.checked_add(expires)));
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut work = WORK_IN_A_ROW;
        for _ in 0..PIECES_IN_A_ROW {
            self.understand(&mut work);
            self.count();
            if self.phase == Phase::Over {
                return Ok(());
            }
            if work == 0 {
                break;
            }
            if self.phase == Phase::Open && !self.inbound.reads(&self.grid, &self.client) {
                self.clock.not_read(Instant::now().into_std());
                return Ok(());
            }
            let read = PIECES.with_borrow_mut(|piece| {
                let mut piece = ReadBuf::new(piece);
                let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
                self.reader.extend(piece.filled());
                read.map_ok(|()| piece.filled().len())
            });
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.clock.read(Instant::now().into_std());
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Closes it where it leaves more unfinished than there is room for.
    fn count(&mut self) {
        let held = self.reader.held() + self.inbound.held_bytes();
        if !self.share.holds(held.saturating_sub(UNASKED)) && self.phase == Phase::Open {
            self.close(Close::new(CloseCode::POLICY, "too much is unfinished on this node: come again later"));
            // Nothing more of it is understood, and it need not answer.
            (self.reader, self.phase) = (Reader::default(), Phase::Answering);
            self.share.holds(0);
        }
    }

    /// Takes in whatever of what has come is whole, as long as there is `work` left to do in this turn.
    fn understand(&mut self, work: &mut usize) {
        let reading = Reading { deflates: self.client.deflates, ..self.client.rules.reading };
        while *work > 0
            && self.phase != Phase::Over
            && (self.phase != Phase::Open || self.inbound.reads(&self.grid, &self.client))
        {
            match self.reader.next(reading) {
                Ok(Some(read)) => {
                    *work = work.saturating_sub(WORK_OF_FRAME + size(&read));
                    self.take(read);
                }
                Ok(None) => return,
                // A peer that breaks the protocol after our close is not waited for.
                Err(_) if self.phase != Phase::Open => self.phase = Phase::Over,
                Err(close) => {
                    self.close(close);
                    if self.reader.has_closed() {
                        self.phase = Phase::Answering;
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, read: Read) {
        let ts = now_ms();
        if self.phase != Phase::Open {
            if matches!(read, Read::Close(_)) {
                self.phase = Phase::Answering;
            }
            return;
        }
        match read {
            Read::Part(part) => {
                self.grid.metrics.messages_in.inc();
                self.grid.metrics.bytes_in.inc_by(part.data.len() as u64);
                self.inbound.part(&self.grid, &self.client, part, ts);
            }
            Read::Ping(payload) => {
                self.grid.clients.pong(&self.client, &payload);
                self.inbound.control(&self.grid, &self.client, (Opcode::Ping, &payload), ts);
            }
            Read::Pong(payload) => self.inbound.control(&self.grid, &self.client, (Opcode::Pong, &payload), ts),
            Read::Close(close) => {
                self.inbound.control(&self.grid, &self.client, (Opcode::Close, &close.payload()), ts);
                // It is answered by the same code, and that is the end.
                self.client.close(Close { code: close.code, reason: "".into() });
                self.ending();
                self.phase = Phase::Answering;
                self.end = Some(Box::new(close));
            }
        }
    }

    fn close(&mut self, close: Close) {
        self.client.close(close);
        self.ending();
    }

    /// Nothing is taken in any more, and there is a time for what is still to be written.
    fn ending(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
        self.clock.ending(Instant::now().into_std());
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let client = Arc::clone(&self.client);
        let mut line = client.line();
        loop {
            if line.is_empty() {
                let Some(outgoing) = client.take(cx.waker()) else {
                    self.clock.blocked(false, Instant::now().into_std());
                    if self.says_end {
                        self.clock.closing(Instant::now().into_std());
                    }
                    if self.phase == Phase::Answering {
                        self.phase = Phase::Over;
                    }
                    return Ok(());
                };
                if let Some(close) = outgoing.close {
                    self.ending();
                    self.says_end = true;
                    self.end.get_or_insert_with(|| Box::new(close));
                }
                line.put(outgoing.frames);
            }
            let clock = &mut self.clock;
            let all = line.poll(&mut self.stream, cx, |bytes| {
                client.written(bytes);
                clock.blocked(false, Instant::now().into_std());
            })?;
            if all.is_pending() {
                client.blocked();
                self.clock.blocked(true, Instant::now().into_std());
                return Ok(());
            }
        }
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) {
        let times = Times::of(&self.client.rules.listener.limits);
        if self.inbound.is_released() {
            self.clock.released();
        }
        while self.phase != Phase::Over {
            match self.clock.due(Instant::now().into_std(), &times) {
                Due::Drop => self.phase = Phase::Over,
                Due::Ping => {
                    self.clock.pinged(Instant::now().into_std());
                    self.client.ping();
                    cx.waker().wake_by_ref();
                }
                Due::Close(close) => {
                    self.close(close);
                    cx.waker().wake_by_ref();
                }
                Due::Nothing(at) => {
                    let at = at.into();
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

/// Bytes of a message; those of control frames are few.
fn size(read: &Read) -> usize {
    match read {
        Read::Part(part) => part.data.len(),
        Read::Ping(_) | Read::Pong(_) | Read::Close(_) => 0,
    }
}

/// Milliseconds since 1970, as events tell them.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
