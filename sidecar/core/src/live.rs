//! The holder of the snapshot in force. Readers load it without a lock; they are told when it changes.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::Snapshot;

/// The snapshot in force.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    changed: watch::Sender<u64>,
}

impl Live {
    /// Starts with `first`.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        let changed = watch::Sender::new(first.generation);
        Self { current: ArcSwap::from_pointee(first), changed }
    }

    /// The snapshot for one short look: no reference count is touched.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot to keep over an await.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts `next` in force under the next generation number.
    pub fn swap(&self, mut next: Snapshot) {
        next.generation = self.load().generation + 1;
        let generation = next.generation;
        self.current.store(Arc::new(next));
        self.changed.send_replace(generation);
    }

    /// The generation in force, and every later one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
