//! Whether a partner of our kind still answers on a connection for small calls.
//!
//! A link that swallows everything, or a process that hangs, shows by nothing but silence, and a push that is to be repeated
//! within its 10 s must learn of it sooner than TCP does. So while calls wait and nothing at all arrives, a question is asked:
//! over HTTP/2 `/stats` on the side ([`Watched`]), in a bundle a ping ([`Silence`]); when even that brings no byte, the
//! connection is given up. Connections for large bodies are not watched: on a slow link the question would stand behind
//! megabytes of ours.

use std::{
    io,
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
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Silence after which is asked. With [`ANSWER`] a break is known after 3 s at the latest: the time in which calls must have
/// failed over (issue 5), and early enough for a push of 10 s to be repeated.
const BEAT: Duration = Duration::from_millis(750);
/// The time for the answer; the slowest link answers in one second.
const ANSWER: Duration = Duration::from_millis(1500);

/// The same for a bundle, whose question stands behind the calls before it: up to half a megabyte on its way. A break is known after
/// 6 s at the latest, early enough for a push of 10 s too.
pub(super) const BUNDLE_BEAT: Duration = Duration::from_secs(2);
/// Beats in which a partner may take nothing of what is sent, whatever it says meanwhile. One more than for silence: TCP that
/// repeats what was lost is quiet for as long.
const MOST_BLOCKED: u32 = 3;

/// Counts what arrives.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

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
}

/// What a bundle has heard lately, beat by beat. Pure: its carrier has the clock.
#[derive(Debug, Default)]
pub(super) struct Silence {
    has_come: bool,
    has_left: bool,
    has_asked: bool,
    questions: u32,
    /// Beats in a row in which bytes were to leave and none did.
    blocked: u32,
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
    /// Something came.
    pub(super) fn has_come(&mut self) {
        self.has_come = true;
    }

    /// The partner took something.
    pub(super) fn has_left(&mut self) {
        self.has_left = true;
    }

    /// A beat is over.
    pub(super) fn beat(&mut self, is_awaited: bool, line: Line) -> Heard {
        let (has_come, has_left) = (std::mem::take(&mut self.has_come), std::mem::take(&mut self.has_left));
        self.blocked = if line == Line::Free || has_left { 0 } else { self.blocked + 1 };
        if self.blocked >= MOST_BLOCKED {
            return Heard::Nothing("the partner takes nothing");
        }
        if has_come || !is_awaited {
            self.has_asked = false;
            return Heard::Enough;
        }
        if std::mem::replace(&mut self.has_asked, true) {
            return Heard::Nothing("the partner keeps silent");
        }
        self.questions = self.questions.wrapping_add(1);
        Heard::Ask(self.questions)
    }
}

impl Pulse {
    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
        let mut before = self.pulse.beats();
        loop {
            sleep(BEAT).await;
            let Some(calls) = self.calls.upgrade().map(|calls| calls.load(Ordering::Relaxed)) else { return };
            let now = self.pulse.beats();
            if self.sender.is_closed() {
                return;
            }
            if calls == 0 || now != std::mem::replace(&mut before, now) {
                continue;
            }
            let mut request = Request::new(Body::Empty);
            request.uri_mut().clone_from(&self.stats);
            let answered = timeout(ANSWER, self.sender.send_request(request)).await.is_ok();
            if !answered && self.pulse.beats() == now {
                tracing::info!(address = %self.stats, "a connection keeps silent and is given up");
                (self.given_up)();
                return self.dead.cancel();
            }
            before = self.pulse.beats();
        }
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
            self.pulse.0.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Felt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_that_keeps_silent_is_asked_and_then_given_up() {
        let mut silence = Silence::default();
        assert_eq!(silence.beat(false, Line::Free), Heard::Enough, "nobody waits");
        assert_eq!(silence.beat(true, Line::Free), Heard::Ask(1));
        silence.has_come();
        assert_eq!(silence.beat(true, Line::Free), Heard::Enough);
        assert_eq!(silence.beat(true, Line::Free), Heard::Ask(2));
        assert_eq!(silence.beat(true, Line::Free), Heard::Nothing("the partner keeps silent"));
    }

    #[test]
    fn a_partner_that_talks_and_takes_nothing_is_given_up_too() {
        let mut silence = Silence::default();
        let mut beat = |has_left: bool, line| {
            silence.has_come();
            if has_left {
                silence.has_left();
            }
            silence.beat(true, line)
        };
        for line in [Line::Blocked, Line::Blocked, Line::Free, Line::Blocked, Line::Blocked] {
            assert_eq!(beat(false, line), Heard::Enough);
        }
        assert_eq!(beat(true, Line::Blocked), Heard::Enough, "a slow partner takes a little now and then");
        assert_eq!(beat(false, Line::Blocked), Heard::Enough);
        assert_eq!(beat(false, Line::Blocked), Heard::Enough);
        assert_eq!(beat(false, Line::Blocked), Heard::Nothing("the partner takes nothing"));
    }
}
