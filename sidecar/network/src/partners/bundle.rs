//! Carries the calls of one bundle to a partner of our kind and their answers back (`crate::bundle`).
//!
//! One task for a connection. It writes once in a turn of the runtime: whoever has something to send in that turn travels in
//! the same record. Nobody waits for company: an idle connection sends at once.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    task::yield_now,
    time::{Instant, Sleep, sleep},
};
use tokio_util::io::poll_read_buf;

use super::{
    calls::{Calls, Handle, Why},
    pulse::{Arrival, BEAT, Heard, IDLE_BEAT, Line, Silence},
};
use crate::bundle::frame::{self, Broken, Kind};

/// What is read at once, at the least: two TLS records.
const READ: usize = 32 * 1024;
/// Memory for what is sent that is kept for the next turn: a busy one.
const MOST_KEPT: usize = 64 * 1024;

/// A connection whose partner has said that it is ready.
pub(super) struct Carrier<S> {
    stream: S,
    calls: Arc<Calls>,
    /// What has come and was not understood yet. Without memory of its own while it is empty.
    come: BytesMut,
    /// What is being sent, and how much of it was.
    out: Vec<u8>,
    sent: usize,
    silence: Silence,
    arrival: Arrival,
    beat: Pin<Box<Sleep>>,
    /// Nobody waited at the last beat: the next one is far.
    rests: bool,
}

/// What the carrier is woken for.
enum Turn {
    Send,
    End,
}

/// Begins a bundle on a new connection: waits until the partner is ready.
///
/// # Errors
/// Those of the stream, among them a refusal of our certificate, which comes only now; bytes that are no bundle.
pub(super) async fn begin<S>(mut stream: S, arrival: Arrival) -> io::Result<(Handle, Carrier<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut come = BytesMut::new();
    loop {
        if let Some((hello, used)) = frame::first(&come)? {
            if hello.kind != Kind::Hello {
                return Err(Broken::OutOfTurn(hello.kind).into());
            }
            come.advance(used);
            break;
        }
        if stream.read_buf(&mut come).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let calls = Arc::new(Calls::default());
    let handle = Handle::new(&calls);
    let (silence, beat) = (Silence::of_bundle(), Box::pin(sleep(BEAT)));
    let (out, sent, rests) = (Vec::new(), 0, false);
    Ok((handle, Carrier { stream, calls, come, out, sent, silence, arrival, beat, rests }))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrier<S> {
    /// Carries until nobody can make a call any more, or the connection breaks.
    ///
    /// # Errors
    /// Why it broke.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let done = self.carry().await;
        if let Err(e) = &done {
            self.calls.end(&Why::Ended(e.to_string()));
        }
        done
    }

    async fn carry(&mut self) -> io::Result<()> {
        loop {
            match poll_fn(|cx| self.poll_turn(cx)).await? {
                Turn::Send => {}
                Turn::End => return self.stream.shutdown().await,
            }
            // Whoever is ready in this turn of the runtime comes along.
            yield_now().await;
            poll_fn(|cx| self.poll_send(cx)).await?;
        }
    }

    /// Reads answers until there is something to send.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        self.calls.register(cx.waker());
        self.poll_come(cx)?;
        if self.calls.is_done() {
            return Poll::Ready(Ok(Turn::End));
        }
        self.poll_beat(cx, Line::Free)?;
        if self.calls.has_bytes() { Poll::Ready(Ok(Turn::Send)) } else { Poll::Pending }
    }

    /// Sends all that waits, and reads on meanwhile.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.sent == self.out.len() {
                self.sent = 0;
                self.out.clear();
                self.out.shrink_to(MOST_KEPT);
                self.calls.take_bytes(&mut self.out);
                if self.out.is_empty() {
                    let flushed = Pin::new(&mut self.stream).poll_flush(cx)?;
                    return if flushed.is_ready() { Poll::Ready(Ok(())) } else { self.poll_meanwhile(cx) };
                }
                if std::mem::take(&mut self.rests) {
                    self.beat.as_mut().reset(Instant::now() + BEAT);
                }
            }
            let rest = self.out.get(self.sent..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => {
                    self.sent += written;
                    self.calls.have_left(written);
                    self.arrival.has_left(written);
                    self.silence.has_left();
                }
                Poll::Pending => return self.poll_meanwhile(cx),
            }
        }
    }

    /// What goes on while nothing can be sent: a partner that cannot send its answers takes no calls either.
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_come(cx)?;
        self.poll_beat(cx, Line::Blocked)?;
        Poll::Pending
    }

    fn poll_come(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            self.come.reserve(READ);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.come)? {
                Poll::Ready(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(_) => {
                    self.silence.has_come();
                    while let Some((frame, used)) = frame::first(&self.come)? {
                        self.calls.take(frame)?;
                        self.come.advance(used);
                    }
                }
                Poll::Pending => {
                    if self.come.is_empty() {
                        self.come = BytesMut::new();
                    }
                    return Ok(());
                }
            }
        }
    }

    fn poll_beat(&mut self, cx: &mut Context<'_>, line: Line) -> io::Result<()> {
        while self.beat.as_mut().poll(cx).is_ready() {
            let is_awaited = self.calls.is_waiting();
            self.rests = !is_awaited && line == Line::Free;
            self.beat.as_mut().reset(Instant::now() + if self.rests { IDLE_BEAT } else { BEAT });
            match self.silence.beat(is_awaited, line, || self.arrival.look()) {
                Heard::Enough => {}
                Heard::Ask(question) => self.calls.ask(question),
                Heard::Nothing(what) => return Err(io::Error::new(io::ErrorKind::TimedOut, what)),
            }
            if line == Line::Blocked && self.calls.is_deserted() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody waits for what the partner does not take"));
            }
        }
        Ok(())
    }
}

impl<S> Drop for Carrier<S> {
    fn drop(&mut self) {
        self.calls.end(&Why::Ended("it was closed".into()));
    }
}
