//! Whether a partner of our kind still answers on a connection for small calls.
//!
//! A link that swallows everything, or a process that hangs, shows by nothing but silence, and a push that is to be repeated
//! within its 10 s must learn of it sooner than TCP does. So while calls wait and nothing at all arrives, the kernel is asked
//! whether the partner's machine acknowledges what was sent ([`Arrival`]): where it does not, the way there is gone. Where it does,
//! or that is not known, a question is asked: over HTTP/2 `/stats` on the side ([`Watched`]), in a bundle a ping; when even that
//! brings no byte, the connection is given up. Connections for large bodies are not watched: on a slow link the question would
//! stand behind megabytes of ours.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Uri};
use hyper::client::conn::http2::SendRequest;
use mesh_core::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::sleep,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::listen::unacknowledged;

/// How often is looked while calls wait.
pub(super) const BEAT: Duration = Duration::from_millis(400);
/// The same while nobody waits: 2000 partners are looked at a thousand times a second.
pub(super) const IDLE_BEAT: Duration = Duration::from_secs(2);
/// The same over HTTP/2, where nobody says that a call begins.
const IDLE_BEAT_OF_HTTP: Duration = Duration::from_millis(750);
/// Beats in a row in which nothing came and nothing was acknowledged, after one that told where it stood: calls have failed over
/// after two seconds, of the three that they may take (issue 5). TCP that lost a packet twice has sent it a third time by then.
const MOST_STILL: u32 = 3;
/// Beats of silence after which is asked, and the connection is given up. Over HTTP/2 2.4 s in all: the slowest link answers in one
/// second.
const OF_HTTP: (u32, u32) = (2, 6);
/// The same for a bundle, whose question stands behind the calls before it, up to half a megabyte on its way: 2 s and 5.2 s, early
/// enough for a push of 10 s.
const OF_BUNDLE: (u32, u32) = (5, 13);
/// Beats in which a partner may take nothing of what is sent, whatever it says meanwhile: 6 s. More than for silence: TCP that
/// repeats what was lost is quiet for as long.
const MOST_BLOCKED: u32 = 15;

/// Counts what arrives, and what leaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<Beats>);

#[derive(Debug, Default)]
struct Beats {
    come: AtomicU64,
    left: AtomicU64,
}

/// A connection whose arriving bytes are noticed, and which can be cut: hyper gives no other way to end an HTTP/2 connection
/// that keeps silent.
#[derive(Debug)]
pub(super) struct Felt<S> {
    stream: S,
    pulse: Pulse,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// A connection to be watched.
pub(super) struct Watched {
    pub(super) pulse: Pulse,
    pub(super) sender: SendRequest<Body>,
    /// The calls on it; gone when nobody can use it any more.
    pub(super) calls: Weak<AtomicUsize>,
    /// Where `/stats` is.
    pub(super) stats: Uri,
    /// Ends the connection.
    pub(super) dead: CancellationToken,
    /// Told when it is given up.
    pub(super) given_up: Box<dyn FnOnce() + Send>,
    pub(super) arrival: Arrival,
}

/// What a connection has heard lately, beat by beat. Pure: somebody else has the clock.
#[derive(Debug)]
pub(super) struct Silence {
    /// Beats after which is asked, and given up.
    limits: (u32, u32),
    has_come: bool,
    has_left: bool,
    /// Beats in a row in which an answer was awaited and nothing came.
    silent: u32,
    /// Those among them in which nothing was acknowledged either.
    still: u32,
    questions: u32,
    /// Beats in a row in which bytes were to leave and none did.
    blocked: u32,
}

/// What the kernel says of the bytes that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arriving {
    /// All or some were acknowledged since the last look, or that is not known.
    PerhapsOn,
    /// None were.
    Still,
}

/// Follows what the partner's machine acknowledges.
#[derive(Debug)]
pub(super) struct Arrival {
    ends: Option<(SocketAddr, SocketAddr)>,
    left: u64,
    /// How many were acknowledged at the last look, but for what TLS adds.
    before: Option<i64>,
}

impl Arrival {
    pub(super) fn of(socket: &TcpStream) -> Self {
        let ends = socket.local_addr().ok().zip(socket.peer_addr().ok());
        Self { ends, left: 0, before: None }
    }

    /// So many more bytes were given to the connection.
    pub(super) fn has_left(&mut self, bytes: usize) {
        self.left += bytes as u64;
    }

    /// So many were in all.
    fn have_left(&mut self, bytes: u64) {
        self.left = bytes;
    }

    /// Asks the kernel.
    pub(super) fn look(&mut self) -> Arriving {
        let waits = self.ends.and_then(|(local, peer)| unacknowledged(local, peer));
        self.judge(waits)
    }

    fn judge(&mut self, waits: Option<u64>) -> Arriving {
        let Some(waits) = waits.filter(|waits| *waits > 0) else {
            self.before = None;
            return Arriving::PerhapsOn;
        };
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let acknowledged = signed(self.left) - signed(waits);
        match self.before.replace(acknowledged) {
            Some(before) if acknowledged <= before => Arriving::Still,
            _ => Arriving::PerhapsOn,
        }
    }
}

/// Whether what is to be sent can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Free,
    Blocked,
}

/// What a beat means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Enough,
    /// The partner is to be asked this question.
    Ask(u32),
    /// The partner is not there; this is how it shows.
    Nothing(&'static str),
}

impl Silence {
    pub(super) fn of_bundle() -> Self {
        Self::within(OF_BUNDLE)
    }

    fn within(limits: (u32, u32)) -> Self {
        Self { limits, has_come: false, has_left: false, silent: 0, still: 0, questions: 0, blocked: 0 }
    }

    /// Something came.
    pub(super) fn has_come(&mut self) {
        self.has_come = true;
    }

    /// The partner took something.
    pub(super) fn has_left(&mut self) {
        self.has_left = true;
    }

    /// A beat is over. What arrives at the partner is asked for where it matters.
    pub(super) fn beat(&mut self, is_awaited: bool, line: Line, arriving: impl FnOnce() -> Arriving) -> Heard {
        let (has_come, has_left) = (std::mem::take(&mut self.has_come), std::mem::take(&mut self.has_left));
        self.blocked = if line == Line::Free || has_left { 0 } else { self.blocked + 1 };
        if self.blocked >= MOST_BLOCKED {
            return Heard::Nothing("the partner takes nothing");
        }
        if has_come || !is_awaited {
            (self.silent, self.still) = (0, 0);
            return Heard::Enough;
        }
        self.silent += 1;
        self.still = if arriving() == Arriving::Still { self.still + 1 } else { 0 };
        let (ask, over) = self.limits;
        if self.still >= MOST_STILL {
            Heard::Nothing("nothing arrives at the partner")
        } else if self.silent >= over {
            Heard::Nothing("the partner keeps silent")
        } else if self.silent == ask {
            self.questions = self.questions.wrapping_add(1);
            Heard::Ask(self.questions)
        } else {
            Heard::Enough
        }
    }
}

impl Pulse {
    fn come(&self) -> u64 {
        self.0.come.load(Ordering::Relaxed)
    }

    fn has_left(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = written {
            self.0.left.fetch_add(*written as u64, Ordering::Relaxed);
        }
    }

    fn left(&self) -> u64 {
        self.0.left.load(Ordering::Relaxed)
    }
}

impl<S> Felt<S> {
    pub(super) fn new(stream: S, pulse: &Pulse, dead: &CancellationToken) -> Self {
        Self { stream, pulse: pulse.clone(), cut: Box::pin(dead.clone().cancelled_owned()) }
    }
}

impl Watched {
    /// Watches until the connection is over, or ends it.
    pub(super) async fn watch(mut self) {
        let (mut silence, mut before) = (Silence::within(OF_HTTP), self.pulse.come());
        let mut beat = IDLE_BEAT_OF_HTTP;
        loop {
            sleep(beat).await;
            let Some(calls) = self.calls.upgrade().map(|calls| calls.load(Ordering::Relaxed)) else { return };
            if self.sender.is_closed() {
                return;
            }
            beat = if calls > 0 { BEAT } else { IDLE_BEAT_OF_HTTP };
            let now = self.pulse.come();
            if now != std::mem::replace(&mut before, now) {
                silence.has_come();
            }
            self.arrival.have_left(self.pulse.left());
            match silence.beat(calls > 0, Line::Free, || self.arrival.look()) {
                Heard::Enough => {}
                Heard::Ask(_) => self.ask(),
                Heard::Nothing(what) => {
                    tracing::info!(address = %self.stats, "a connection is given up: {what}");
                    (self.given_up)();
                    return self.dead.cancel();
                }
            }
        }
    }

    /// Any byte of the answer will do; it ends with the connection.
    fn ask(&mut self) {
        let mut request = Request::new(Body::Empty);
        request.uri_mut().clone_from(&self.stats);
        let answer = self.sender.send_request(request);
        tokio::spawn(async move { answer.await.ok() });
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Felt<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.0.come.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Felt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.pulse.has_left(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.pulse.has_left(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What so many beats come to, while an answer is awaited and nothing comes.
    fn beats(silence: &mut Silence, count: u32, arriving: Arriving) -> Vec<Heard> {
        (0..count).map(|_| silence.beat(true, Line::Free, || arriving)).collect()
    }

    #[test]
    fn a_partner_that_keeps_silent_is_asked_and_then_given_up() {
        let mut silence = Silence::within((2, 4));
        assert_eq!(silence.beat(false, Line::Free, || Arriving::Still), Heard::Enough, "nobody waits");
        assert_eq!(beats(&mut silence, 2, Arriving::PerhapsOn), [Heard::Enough, Heard::Ask(1)]);
        silence.has_come();
        assert_eq!(beats(&mut silence, 3, Arriving::PerhapsOn), [Heard::Enough, Heard::Enough, Heard::Ask(2)]);
        let end = [Heard::Enough, Heard::Nothing("the partner keeps silent")];
        assert_eq!(beats(&mut silence, 2, Arriving::PerhapsOn), end);
    }

    #[test]
    fn a_way_on_which_nothing_arrives_is_given_up_sooner() {
        let mut silence = Silence::of_bundle();
        assert_eq!(beats(&mut silence, 2, Arriving::Still), [Heard::Enough; 2]);
        assert_eq!(beats(&mut silence, 1, Arriving::PerhapsOn), [Heard::Enough], "a packet came through");
        let end = [Heard::Enough, Heard::Ask(1), Heard::Nothing("nothing arrives at the partner")];
        assert_eq!(beats(&mut silence, 3, Arriving::Still), end);
    }

    #[test]
    fn what_is_acknowledged_is_told_from_what_is_written_meanwhile() {
        let mut arrival = Arrival { ends: None, left: 0, before: None };
        let mut look = |more: usize, waits: Option<u64>| {
            arrival.has_left(more);
            arrival.judge(waits)
        };
        let (on, still) = (Arriving::PerhapsOn, Arriving::Still);
        assert_eq!(look(1000, Some(1000)), on, "it was never asked before");
        assert_eq!(look(0, Some(1000)), still);
        assert_eq!(look(500, Some(1500)), still, "more was written, nothing arrived");
        assert_eq!(look(500, Some(1500)), on, "as much arrived as was written");
        assert_eq!(look(0, Some(0)), on);
        assert_eq!(look(100, Some(100)), on, "all before that had arrived");
        assert_eq!(look(0, None), on, "the system does not say");
    }

    #[test]
    fn a_partner_that_talks_and_takes_nothing_is_given_up_too() {
        let mut silence = Silence::of_bundle();
        let mut beat = |has_left: bool, line| {
            silence.has_come();
            if has_left {
                silence.has_left();
            }
            silence.beat(true, line, || Arriving::Still)
        };
        let mut blocked =
            |beats: u32| (0..beats).map(|_| beat(false, Line::Blocked)).filter(|h| *h != Heard::Enough).count();
        assert_eq!(blocked(MOST_BLOCKED - 1), 0);
        assert_eq!(beat(true, Line::Blocked), Heard::Enough, "a slow partner takes a little now and then");
        let mut blocked =
            |beats: u32| (0..beats).map(|_| beat(false, Line::Blocked)).filter(|h| *h != Heard::Enough).count();
        assert_eq!(blocked(MOST_BLOCKED - 1), 0);
        assert_eq!(beat(false, Line::Free), Heard::Enough);
        let last: Vec<_> = (0..MOST_BLOCKED).map(|_| beat(false, Line::Blocked)).collect();
        assert_eq!(last.last(), Some(&Heard::Nothing("the partner takes nothing")));
    }
}
