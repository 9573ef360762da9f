//! An answer that its front gives up though its client has not got all of it: it takes nothing any more.
//!
//! The body of an answer is not asked for more while its client has no room, so that a body cannot end it. Over HTTP/2 its stream is
//! reset, and all others of the connection go on; over HTTP/1.1 the front cuts the connection, which carries nothing else.

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The front puts one among the extensions of its response, and keeps a clone.
#[derive(Clone, Debug, Default)]
pub struct Abandon(CancellationToken);

impl Abandon {
    /// The answer is given up.
    pub fn give_up(&self) {
        self.0.cancel();
    }

    /// Resolves when it is.
    pub(super) fn given_up(self) -> WaitForCancellationFutureOwned {
        self.0.cancelled_owned()
    }
}
