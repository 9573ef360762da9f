//! A connection that carries a bundle: calls of another node of our kind, many at a time ([`crate::bundle`]).
//!
//! Each call goes to the same service as a request over HTTP (`served.rs`: until its whole answer is here). What is answered at
//! once, as most pushes are, costs no task; all that was answered since the last look goes out in one write.

mod served;

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use futures::{
    FutureExt as _, StreamExt as _,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use http::{Request, header};
use mesh_core::Body;
use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};
use tokio_util::io::poll_read_buf;

use super::{
    Serve,
    exchange::Proof,
    handler::Handler,
    rare::{Rare, until_end},
    wire::Stream,
};
use crate::bundle::{
    CALLS_OF_A_BUNDLE, LONGEST_BODY,
    frame::{self, Broken, Frame, Kind},
    head,
};
use served::{Answer, Served, Unsettled};

/// What is read at once, at the least: two TLS records.
const READ: usize = 32 * 1024;
/// Memory for answers that is kept for the next ones: those of a busy turn.
const MOST_KEPT: usize = 32 * 1024;
/// Answers that nobody takes: beyond it nothing more is read, begun or answered. Four of the longest, so that there is always
/// something to send while the next ones are made.
const MOST_UNSENT: usize = 256 * 1024;

/// Serves calls until the caller ends the connection.
///
/// # Errors
/// Those of the stream, and bytes that are no bundle.
pub(super) async fn serve<S: Serve>(stream: Stream, handler: Arc<Handler<S>>, rare: &mut Rare) -> io::Result<()> {
    let bundle = pin!(Bundle::new(stream, handler));
    let Some(ended) = until_end(bundle, rare, |bundle| bundle.get_mut().leave()).await else { return Ok(()) };
    ended?.shutdown().await
}

struct Bundle<S> {
    handler: Arc<Handler<S>>,
    /// Taken at the end.
    stream: Option<Stream>,
    /// What has come and was not understood yet. Without memory of its own while it is empty.
    come: BytesMut,
    /// What is to go out, and how much of it has.
    out: Vec<u8>,
    sent: usize,
    /// Calls that were not answered at once.
    calls: FuturesUnordered<Abortable<Served>>,
    cancels: HashMap<u32, AbortHandle>,
    /// Answers among `out` that somebody waits to settle.
    unsettled: Unsettled,
}

impl<S: Serve> Bundle<S> {
    fn new(stream: Stream, handler: Arc<Handler<S>>) -> Self {
        let mut out = Vec::new();
        frame::put_bare(&mut out, Kind::Hello, 0);
        Self {
            handler,
            stream: Some(stream),
            come: BytesMut::new(),
            out,
            sent: 0,
            calls: FuturesUnordered::new(),
            cancels: HashMap::new(),
            unsettled: Unsettled::default(),
        }
    }

    /// The caller is to bring no new calls here; when it has no more, it ends the connection.
    fn leave(&mut self) {
        frame::put_bare(&mut self.out, Kind::Leaving, 0);
    }

    /// Too much waits to go out: nothing more is begun or answered until the caller has taken it.
    fn is_full(&self) -> bool {
        self.out.len() - self.sent >= MOST_UNSENT
    }

    /// Reads and serves until nothing more comes, or too much waits to go out. Ready at the caller's end.
    fn poll_come(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.understand(cx)?;
            if self.is_full() {
                break;
            }
            let Some(stream) = &mut self.stream else { break };
            self.come.reserve(READ);
            match poll_read_buf(Pin::new(stream), cx, &mut self.come)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    if self.come.is_empty() {
                        self.come = BytesMut::new();
                    }
                    break;
                }
            }
        }
        Poll::Pending
    }

    /// Serves what has come. What there is no room for stays where it is.
    fn understand(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let mut come = std::mem::take(&mut self.come);
        while !self.is_full()
            && let Some((frame, used)) = frame::first(&come)?
        {
            self.take(frame, cx)?;
            come.advance(used);
        }
        self.come = come;
        Ok(())
    }

    fn take(&mut self, Frame { kind, call, content }: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Broken> {
        match kind {
            Kind::Call if self.calls.len() >= CALLS_OF_A_BUNDLE => frame::put_bare(&mut self.out, Kind::Refused, call),
            Kind::Call if self.cancels.contains_key(&call) => return Err(Broken::OutOfTurn(kind)),
            // The frame is whole: what it holds is a matter of this call, and the others go on.
            Kind::Call => match read(content) {
                Ok(request) => self.begin(call, request, cx),
                Err(broken) => self.put(Answer::refused(call, &broken)),
            },
            Kind::Cancel => {
                if let Some(cancel) = self.cancels.remove(&call) {
                    cancel.abort();
                }
                self.unsettled.lose(call);
            }
            Kind::Ping => frame::put_bare(&mut self.out, Kind::Pong, call),
            Kind::Hello | Kind::Answer | Kind::Refused | Kind::Leaving | Kind::Pong => {
                return Err(Broken::OutOfTurn(kind));
            }
        }
        Ok(())
    }

    fn begin(&mut self, call: u32, request: Request<Body>, cx: &mut Context<'_>) {
        let mut served = Served::new(call, self.handler.answer(request, Proof::Read));
        if let Poll::Ready(answer) = served.poll_unpin(cx) {
            return self.put(answer);
        }
        let (cancel, registration) = AbortHandle::new_pair();
        self.cancels.insert(call, cancel);
        self.calls.push(Abortable::new(served, registration));
    }

    fn put(&mut self, Answer { call, mut head, body, owed }: Answer) {
        // What it says of a connection is said of none here.
        head.headers.remove(header::CONNECTION);
        frame::put(&mut self.out, Kind::Answer, call, |out| {
            head::put_answer(out, head.status, &head.headers);
            out.extend_from_slice(&body);
        });
        if let Some(owed) = owed {
            self.unsettled.note(owed);
        }
    }

    fn poll_calls(&mut self, cx: &mut Context<'_>) {
        while !self.is_full()
            && let Poll::Ready(Some(done)) = self.calls.poll_next_unpin(cx)
        {
            // A call that was cancelled has no answer.
            if let Ok(answer) = done {
                self.cancels.remove(&answer.call);
                self.put(answer);
            }
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.sent = 0;
        self.out.clear();
        self.out.shrink_to(MOST_KEPT);
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.unsettled.are_written();
        Poll::Ready(Ok(()))
    }
}

impl<S: Serve> Future for Bundle<S> {
    type Output = io::Result<Stream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            this.poll_calls(cx);
            if this.poll_come(cx)?.is_ready() {
                return this.stream.take().map_or(Poll::Pending, |stream| Poll::Ready(Ok(stream)));
            }
            // Calls that had to wait are looked at once more: they had no waker before.
            this.poll_calls(cx);
            let was_full = this.is_full();
            ready!(this.poll_out(cx))?;
            if !was_full {
                return Poll::Pending;
            }
        }
    }
}

/// A call, as the service takes it.
fn read(content: &[u8]) -> Result<Request<Body>, Broken> {
    let (request, body) = head::call(content)?;
    if body.len() > LONGEST_BODY {
        return Err(Broken::TooLong(body.len()));
    }
    Ok(request.map(|()| Body::from(bytes::Bytes::copy_from_slice(body))))
}
