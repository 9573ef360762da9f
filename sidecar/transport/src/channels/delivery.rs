//! A message on its way out, and the lease that decides whether it goes or comes back (design section 6).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use mesh_core::{NodeId, Topic};
use mesh_network::listen::Finishing;

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
    held: Option<Owner>,
}

/// What becomes of a leased message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has arrived at its reader and goes.
    Commit,
    /// It has not, and goes back to its place.
    Return,
}

/// Whose queue the message is in.
#[derive(Debug)]
enum Owner {
    Here(Spot),
    /// Another node's: it is told what becomes of it.
    There(Told),
    /// Ours, and a node that popped it settles it by that name; this is only the answer that brings it there.
    Answer {
        name: Arc<str>,
        unwritten: Told,
    },
}

struct Told(Box<dyn FnOnce(Verdict) + Send + Sync>);

/// Where a leased message is.
#[derive(Debug)]
struct Spot {
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
        channels.metrics.leases.inc();
        Self { held: Some(Owner::Here(Spot { channels: Arc::clone(channels), cell, topic, seq })) }
    }

    /// A lease on a message of another node; `told` passes on what becomes of it.
    pub(crate) fn there(told: impl FnOnce(Verdict) + Send + Sync + 'static) -> Self {
        Self { held: Some(Owner::There(Told(Box::new(told)))) }
    }

    /// A lease that another node holds as `name`, on the way there; `unwritten` runs if the answer is not written to its end.
    pub(crate) fn answer(name: Arc<str>, unwritten: impl FnOnce() + Send + Sync + 'static) -> Self {
        let unwritten = Told(Box::new(move |verdict| {
            if verdict == Verdict::Return {
                unwritten();
            }
        }));
        Self { held: Some(Owner::Answer { name, unwritten }) }
    }

    /// By which name the node that is answered settles it.
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        match &self.held {
            Some(Owner::Answer { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Its answer was written to its end. What the other node settles is out of this answer's hands then.
    pub(crate) fn written(self) -> Option<Self> {
        if self.name().is_some() {
            // The other node settles it, so nothing is done here.
            drop(self.commit());
            return None;
        }
        Some(self)
    }

    /// The message has arrived at its reader. What is answered must be done before anybody is told so.
    pub fn commit(mut self) -> Option<Finishing> {
        self.settle(Verdict::Commit)
    }

    fn settle(&mut self, verdict: Verdict) -> Option<Finishing> {
        match self.held.take()? {
            Owner::There(told) | Owner::Answer { unwritten: told, .. } => {
                (told.0)(verdict);
                None
            }
            Owner::Here(Spot { channels, cell, topic, seq }) => {
                channels.metrics.leases.dec();
                match verdict {
                    Verdict::Commit => channels.commit(&cell, &topic, seq),
                    Verdict::Return => {
                        channels.hand_back(&cell, &topic, seq);
                        None
                    }
                }
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.settle(Verdict::Return));
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}
