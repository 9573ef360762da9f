//! One request and its answer on a connection, and whether the client surely has the answer (design section 6).

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::Connection;

/// HTTP/1.1: the next request or an orderly end proves that the answer was read; so does this long without a reset.
const PEACE: Duration = Duration::from_secs(5);
/// HTTP/2: one connection carries many calls, and its loss shows soon.
const H2_PEACE: Duration = Duration::from_secs(1);

/// A request on its connection. Every request carries one among its extensions.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection.
    pub connection: Arc<Connection>,
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

/// What became of an answer that was written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The client has it.
    Received,
    /// The connection was lost before that was certain.
    Lost,
}

impl Exchange {
    pub(super) fn new(connection: Arc<Connection>, ordinal: u64, sharing: Sharing) -> Self {
        Self { connection, ordinal, sharing }
    }

    /// Asked when the answer's body was taken to its end: waits until the client surely has it, or surely may not.
    ///
    /// A client that dies with unread bytes makes its kernel send a reset, which is the case in which it has not seen the
    /// answer. What the kernel still holds back is not asked (that needs an unsafe call); a link that breaks is noticed when
    /// something is sent on it.
    pub async fn fate(&self) -> Fate {
        let peace = match self.sharing {
            Sharing::One => PEACE,
            Sharing::Many => H2_PEACE,
        };
        tokio::select! {
            biased;
            () = self.connection.ended() => {}
            () = self.connection.request_after(self.ordinal), if self.sharing == Sharing::One => {}
            () = sleep(peace) => {}
        }
        if self.connection.is_broken() { Fate::Lost } else { Fate::Received }
    }
}
