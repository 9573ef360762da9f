//! The end of a port, in order: whoever has a connection gets the answers that it waits for, and is told to ask elsewhere.
//!
//! A connection without a request under way stays open at first: its client may be writing one, and API servers do not repeat
//! a review that met a closed connection.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Shared by a port's connections and who ends it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing {
    asked: CancellationToken,
    over: CancellationToken,
    connections: TaskTracker,
}

impl Closing {
    /// From now on each connection ends with its next answer.
    pub(crate) fn ask(&self) {
        self.asked.cancel();
    }

    /// Resolves when connections end that wait for no answer.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Whether the end was asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Counts a connection for as long as it lives, or work that is to come to its end without one.
    pub(crate) fn counted<F: Future>(&self, connection: F) -> impl Future<Output = F::Output> + use<F> {
        self.connections.track_future(connection)
    }

    /// Ends the connections that wait for no answer, and waits until no other is left, for so long at most.
    pub(crate) async fn done(&self, limit: Duration) {
        self.over.cancel();
        self.connections.close();
        if timeout(limit, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "the time is up, answers under way are cut");
        }
    }
}
