//! One request and its answer on a connection, and whether the client surely has the answer (design section 6).

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{Connection, owed::Owed};

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
pub struct Settlement(Arc<OnceLock<Exchange>>);

impl Settlement {
    pub(super) fn is_of(&self, exchange: Exchange) {
        // A response is answered once; a second exchange cannot be.
        let _ = self.0.set(exchange);
    }

    /// Asked when the body was taken to its end: runs `received` once the client surely has the answer, and drops it unrun
    /// when it was lost. Without a listener there is nobody to tell, and the complete answer counts as received.
    ///
    /// A client that dies with unread bytes makes its kernel send a reset, which is the case in which it has not seen the
    /// answer. What the kernel still holds back is not asked (that needs an unsafe call); a link that breaks is noticed when
    /// something is sent on it.
    pub fn when_received(&self, received: impl FnOnce() + Send + 'static) {
        match self.0.get() {
            Some(exchange) => exchange.when_received(received),
            None => received(),
        }
    }
}

impl Exchange {
    /// The next request on `connection`.
    pub(super) fn next(connection: &Arc<Connection>, sharing: Sharing, proof: Proof) -> Self {
        let ordinal = connection.count_request();
        if sharing == Sharing::One && proof == Proof::Read {
            connection.owed.asked(ordinal);
        }
        Self { connection: Arc::clone(connection), ordinal, sharing }
    }

    fn when_received(&self, received: impl FnOnce() + Send + 'static) {
        let peace = match self.sharing {
            Sharing::One => PEACE,
            Sharing::Many => H2_PEACE,
        };
        Owed::note(&self.connection, self.ordinal, peace, Box::new(received));
    }
}
