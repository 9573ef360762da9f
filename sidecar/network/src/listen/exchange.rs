//! One request and its answer on a connection, and whether the client surely has the answer (design section 6).

use std::{
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::{
    Connection,
    owed::{Finishing, Owed, Received},
};

/// HTTP/1.1: the next request or an orderly end proves that the answer was read; so does this long without a reset.
const PEACE: Duration = Duration::from_secs(5);
/// HTTP/2: one connection carries many calls, and its loss shows soon.
const H2_PEACE: Duration = Duration::from_secs(1);

/// A request on its connection.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    connection: Arc<Connection>,
    ordinal: u64,
    sharing: Sharing,
}

/// How many exchanges a connection carries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Many,
}

/// What a request says of the answers that were written before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its client can have read them.
    Read,
    /// Nothing: its bytes were there when the last of them was written, for its client sends requests without waiting.
    None,
}

/// Tells the body of an answer what becomes of it. The front puts one among the extensions of its response and keeps the other
/// in the body; the listener writes into it which exchange that is.
#[derive(Clone, Debug, Default)]
pub struct Settlement(Arc<Settling>);

#[derive(Debug, Default)]
struct Settling {
    exchange: OnceLock<Exchange>,
    outcome: Mutex<Outcome>,
    /// Bytes of the body that were written, and who waits for more of them: of an exchange among many.
    written: AtomicUsize,
    writer: AtomicWaker,
}

/// What is known of an answer of an exchange among many, which its client can give up by itself.
#[derive(Default)]
enum Outcome {
    #[default]
    Open,
    /// Written to its end.
    Written(Received),
    Received,
    Lost,
}

/// An answer that may still be lost; it is settled by others.
#[derive(Debug)]
pub(super) struct Losable(Weak<Settling>);

impl Settlement {
    pub(super) fn is_of(&self, exchange: Exchange) {
        // A response is answered once; a second exchange cannot be.
        let _ = self.0.exchange.set(exchange);
    }

    /// Asked when the body was taken to its end: runs `received` once the client surely has the answer, and drops it unrun
    /// when it was lost. What `received` answers is done before the client of an HTTP/1.1 connection is answered again. Without
    /// a listener there is nobody to tell, and the complete answer counts as received.
    ///
    /// A client that dies with unread bytes makes its kernel send a reset, which is the case in which it has not seen the
    /// answer. The time of peace begins when its TCP has acknowledged the last byte.
    pub fn when_received(&self, received: impl FnOnce() -> Option<Finishing> + Send + 'static) {
        match self.0.exchange.get() {
            Some(exchange) if exchange.sharing == Sharing::Many => self.when_kept(exchange, Box::new(received)),
            Some(exchange) => exchange.note(Box::new(received)),
            None => drop(received()),
        }
    }

    /// Whether the client surely has not got the answer, though it was taken to its end.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(*self.0.outcome.lock(), Outcome::Lost)
    }

    /// Ready when `bytes` of the body are written. Over HTTP/1.1 they are when the body is asked for more.
    pub fn poll_written(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let is_shared = self.0.exchange.get().is_some_and(|exchange| exchange.sharing == Sharing::Many);
        if !is_shared || self.0.written.load(Ordering::Acquire) >= bytes {
            return Poll::Ready(());
        }
        self.0.writer.register(cx.waker());
        if self.0.written.load(Ordering::Acquire) >= bytes { Poll::Ready(()) } else { Poll::Pending }
    }

    /// So many bytes more of the body were written.
    pub(super) fn wrote(&self, bytes: usize) {
        self.0.written.fetch_add(bytes, Ordering::AcqRel);
        self.0.writer.wake();
    }

    /// The client gave the answer up, or its connection ended before it was written.
    pub(super) fn lose(&self) {
        self.0.lose();
    }

    /// A way to lose it that does not keep it.
    pub(super) fn losable(&self) -> Losable {
        Losable(Arc::downgrade(&self.0))
    }

    /// As [`when_received`](Self::when_received), for as long as the client does not give the answer up.
    fn when_kept(&self, exchange: &Exchange, received: Received) {
        let mut outcome = self.0.outcome.lock();
        if matches!(*outcome, Outcome::Lost) {
            // Whatever happens when it is dropped needs no lock of ours.
            drop(outcome);
            return drop(received);
        }
        *outcome = Outcome::Written(received);
        drop(outcome);
        let this = self.clone();
        exchange.note(Box::new(move || this.0.received()));
    }
}

impl Settling {
    fn received(&self) -> Option<Finishing> {
        let was = std::mem::replace(&mut *self.outcome.lock(), Outcome::Received);
        if let Outcome::Written(received) = was { received() } else { None }
    }

    fn lose(&self) {
        let was = std::mem::replace(&mut *self.outcome.lock(), Outcome::Lost);
        // With no lock held: it goes to somebody else now.
        drop(was);
    }
}

impl Losable {
    pub(super) fn lose(&self) {
        if let Some(settling) = self.0.upgrade() {
            settling.lose();
        }
    }

    /// Nobody waits for what becomes of it.
    pub(super) fn is_settled(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Written(_) => "Written",
            Self::Received => "Received",
            Self::Lost => "Lost",
        })
    }
}

impl Exchange {
    /// The next request on `connection`, and what must be done before it is answered.
    pub(super) fn next(connection: &Arc<Connection>, sharing: Sharing, proof: Proof) -> (Self, Vec<Finishing>) {
        let ordinal = connection.count_request();
        let unfinished =
            if sharing == Sharing::One && proof == Proof::Read { connection.owed.asked(ordinal) } else { Vec::new() };
        (Self { connection: Arc::clone(connection), ordinal, sharing }, unfinished)
    }

    /// The answer was written to its end just now.
    fn note(&self, received: Received) {
        let peace = match self.sharing {
            Sharing::One => PEACE,
            Sharing::Many => H2_PEACE,
        };
        Owed::note(&self.connection, self.ordinal, peace, received);
    }
}
