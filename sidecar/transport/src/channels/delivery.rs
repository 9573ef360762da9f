//! A message on its way out, and the lease that decides whether it goes or comes back (design section 6).

use std::sync::Arc;

use bytes::Bytes;
use mesh_core::{NodeId, Topic};

use super::{Channels, cell::Cell};
use crate::queue::{Metadata, Served};

/// A message that was popped or peeked.
#[derive(Debug)]
pub struct Delivery {
    /// The payload, by reference.
    pub payload: Bytes,
    /// What the push brought along.
    pub metadata: Option<Arc<Metadata>>,
    /// The source node id that the push claimed.
    pub source: Option<NodeId>,
    /// Whether it was given out before and came back.
    pub redelivered: bool,
    /// What becomes of it; `None` where it stays in its queue whatever happens (a peek that retains).
    pub lease: Option<Lease>,
}

/// The right to take a message out of its queue for good. Dropped without a commit, the message goes back to its place.
#[derive(Debug)]
pub struct Lease {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    channels: Arc<Channels>,
    cell: Arc<Cell>,
    topic: Topic,
    seq: u64,
}

impl Delivery {
    pub(super) fn of(served: Served, lease: Option<Lease>) -> Self {
        let Served { payload, metadata, source, redelivered, .. } = served;
        Self { payload, metadata, source, redelivered, lease }
    }
}

impl Lease {
    pub(super) fn new(channels: &Arc<Channels>, cell: Arc<Cell>, topic: Topic, seq: u64) -> Self {
        Self { held: Some(Held { channels: Arc::clone(channels), cell, topic, seq }) }
    }

    /// The message has arrived at its reader.
    pub fn commit(mut self) {
        if let Some(Held { channels, cell, topic, seq }) = self.held.take() {
            channels.commit(&cell, &topic, seq);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Held { channels, cell, topic, seq }) = self.held.take() {
            channels.hand_back(&cell, &topic, seq);
        }
    }
}
