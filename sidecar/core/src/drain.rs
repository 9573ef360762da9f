//! The orderly end: who is asked to finish, and how one knows that all have.
//!
//! Every connection, upgraded connection and background task holds a [`Drained`]; `axum` and `hyper` forget upgraded
//! ones, so they are counted here.

use std::{future::Future, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The one who asks.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    ask: CancellationToken,
    tasks: TaskTracker,
}

/// One of those who are asked.
#[derive(Clone, Debug)]
pub struct Drained {
    ask: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// Nobody is asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle for those who are to be asked.
    #[must_use]
    pub fn handle(&self) -> Drained {
        Drained { ask: self.ask.clone(), tasks: self.tasks.clone() }
    }

    /// Asks all to finish, and waits for them at most `limit`. Answers how many were still busy.
    pub async fn run(&self, limit: Duration) -> usize {
        self.ask.cancel();
        self.tasks.close();
        if timeout(limit, self.tasks.wait()).await.is_ok() { 0 } else { self.tasks.len() }
    }
}

impl Drained {
    /// Resolves when the end was asked for.
    pub async fn asked(&self) {
        self.ask.cancelled().await;
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.ask.is_cancelled()
    }

    /// Runs `task` by itself; the drain waits for its end.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// The same on `runtime`, which need not be this one.
    pub fn spawn_on<F>(&self, task: F, runtime: &tokio::runtime::Handle) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn_on(task, runtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_drain_waits_for_those_it_asked() {
        let drain = Drain::new();
        let handle = drain.handle();
        let inner = handle.clone();
        let task = handle.spawn(async move { inner.asked().await });
        assert_eq!(drain.run(Duration::from_secs(5)).await, 0);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_says_who_did_not_finish() {
        let drain = Drain::new();
        let _stuck = drain.handle().spawn(std::future::pending::<()>());
        assert_eq!(drain.run(Duration::from_secs(5)).await, 1);
    }
}
