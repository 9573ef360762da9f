//! One connection: what comes is begun where it was read, and what is ready is written, a batch at a time.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{Builder, Connection, Handshake, SendResponse},
};
use http::Request;

use super::{call, ledger::Ledger, silence::Silence, tap::Tap};
use crate::{
    http2_sizes as sizes,
    listen::{Limits, Serve, handler::Handler},
};

/// So many requests are begun before anything is written: their answers share a write.
const BATCH: usize = 32;
/// After so many, other connections get their turn.
const TURN: usize = 128;

/// A request, and where its answer goes.
pub(super) type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// A connection, to its end.
pub(super) struct Http2<S> {
    stage: Stage,
    handler: Arc<Handler<S>>,
    ledger: Arc<Ledger>,
    silence: Silence,
    batch: Vec<Asked>,
    is_finishing: bool,
}

enum Stage {
    Greeting(Box<Handshake<Tap, Bytes>>),
    Serving(Box<Connection<Tap, Bytes>>),
}

/// How a connection ends before its client wants it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Protocol(#[from] h2::Error),
    #[error("it said nothing for {} s and answered no ping", .0.as_secs())]
    Silent(std::time::Duration),
}

impl<S: Serve> Http2<S> {
    pub(super) fn new(
        tap: Tap,
        handler: Arc<Handler<S>>,
        limits: Limits,
        ledger: Arc<Ledger>,
        silence: Silence,
    ) -> Self {
        let stage = Stage::Greeting(Box::new(builder(limits).handshake(tap)));
        Self { stage, handler, ledger, silence, batch: Vec::new(), is_finishing: false }
    }

    /// It answers what has come, and closes.
    pub(super) fn finish(mut self: Pin<&mut Self>) {
        self.is_finishing = true;
        if let Stage::Serving(connection) = &mut self.stage {
            connection.graceful_shutdown();
        }
    }

    /// Takes requests until there is nothing to read, or a batch is together.
    fn poll_batch(
        connection: &mut Connection<Tap, Bytes>,
        batch: &mut Vec<Asked>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        while batch.len() < BATCH {
            match ready!(pin!(connection.accept()).poll(cx)) {
                Some(asked) => batch.push(asked?),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Pending
    }

    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Stage::Serving(connection) = &mut self.stage else { return Poll::Pending };
        let mut begun = 0;
        loop {
            // Each look writes what became ready since the last one.
            let over = Self::poll_batch(connection, &mut self.batch, cx);
            self.ledger.settle();
            if over.is_ready() {
                return over.map_err(Into::into);
            }
            if self.batch.is_empty() {
                return Poll::Pending;
            }
            begun += self.batch.len();
            for asked in self.batch.drain(..) {
                call::begin(&self.handler, &self.ledger, asked);
            }
            if begun >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl<S: Serve> Future for Http2<S> {
    type Output = Result<(), Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Stage::Greeting(handshake) = &mut this.stage {
            let mut connection = ready!(Pin::new(&mut **handshake).poll(cx))?;
            this.silence.begin(connection.ping_pong());
            if this.is_finishing {
                connection.graceful_shutdown();
            }
            this.stage = Stage::Serving(Box::new(connection));
        }
        if this.silence.poll(cx).is_ready() {
            // Nobody is there to say goodbye to, and what was written last has not arrived.
            this.handler.connection.cut();
            return Poll::Ready(Err(Broken::Silent(this.silence.most())));
        }
        this.poll_serve(cx)
    }
}

impl<S> Drop for Http2<S> {
    fn drop(&mut self) {
        self.ledger.close();
    }
}

fn builder(limits: Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(sizes::STREAM_WINDOW)
        .initial_connection_window_size(sizes::CONNECTION_WINDOW)
        .max_frame_size(sizes::FRAME)
        .max_send_buffer_size(sizes::SEND_BUFFER)
        .max_concurrent_streams(limits.streams)
        // A client that gives up all its calls at once is no attacker.
        .max_pending_accept_reset_streams(usize::try_from(limits.streams).unwrap_or(usize::MAX))
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
