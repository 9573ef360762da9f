//! Where a message stands that outlives its process: on this machine's disk, or in the log that its session has for all gateways of
//! the node.

use std::sync::Arc;

use crate::{
    log,
    shared::{self, Recorded},
};

/// A record of a message, or of what goes with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// On this machine's disk.
    Disk(log::Kept),
    /// In the log of its session.
    Shared(Arc<Recorded>),
}

/// What is written before a message enters its queue.
#[derive(Debug)]
pub(crate) enum ToKeep {
    /// To this machine's disk.
    Disk(Box<log::Record>),
    /// To the log of its session.
    Shared(shared::Record),
}

/// Records by where they are.
#[derive(Debug, Default)]
pub(crate) struct ByPlace {
    pub(crate) disk: Vec<log::Kept>,
    pub(crate) shared: Vec<Arc<Recorded>>,
}

impl FromIterator<Kept> for ByPlace {
    fn from_iter<I: IntoIterator<Item = Kept>>(all: I) -> Self {
        let mut by_place = Self::default();
        for one in all {
            match one {
                Kept::Disk(kept) => by_place.disk.push(kept),
                Kept::Shared(recorded) => by_place.shared.push(recorded),
            }
        }
        by_place
    }
}
