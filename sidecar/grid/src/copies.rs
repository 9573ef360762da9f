//! Messages of topics that are consumed in ack mode have a copy beside this node's memory, where there is a place for it, so that
//! they survive the loss of the node (G-15). The copy is never what is given out from: that is memory, as long as this node is there.
//!
//! Here is what is wanted and when; a [`Copies`] keeps, and says by [`Grid::adopt`] what another node has left.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;

use crate::{Grid, Topic, elsewhere::Copied, envelope::Event};

/// Keeps copies. Both are called under locks: they wait for nothing, and call nothing of the grid.
pub trait Copies: fmt::Debug + Send + Sync {
    /// Keeps a copy of a message under its name, which no other message of this process has.
    fn keep(&self, name: u64, record: Bytes);

    /// A message was acknowledged, given to somebody who acknowledges nothing, or dropped: its copy is not needed any more.
    fn forget(&self, name: u64);
}

/// A message that another node has left.
#[derive(Debug)]
pub struct Left(Copied);

impl Left {
    /// `None`: it is of no version that is known here.
    #[must_use]
    pub fn read(record: Bytes) -> Option<Self> {
        Copied::read(record).map(Self)
    }

    /// Where it belongs.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }
}

/// What became of a message that another node has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It is in its topic.
    Taken,
    /// There are as many topics as there may be, and its own is not among them.
    NoTopic,
    /// The topics together hold as much as they may.
    NoRoom,
}

/// What a topic wants of the copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One of this message.
    Kept(u64, Event),
    /// That one no more.
    Forgotten(u64),
}

impl Grid {
    /// From now on `copies` are kept. Before anybody is served.
    pub fn copied_by(&self, copies: Arc<dyn Copies>) {
        self.topics.copied_by(copies);
    }

    /// Takes over a message that another node has left: it is given out here, as one that may have been given out before. `named` hears
    /// the name of its copy before it can be forgotten.
    pub fn adopt(&self, left: &Left, named: impl FnOnce(u64)) -> Adopted {
        let (adopted, resumed) = self.topics.adopt(&left.0, named);
        self.resume(resumed);
        adopted
    }

    /// Those of some topics that have a place, or would get one if a message came.
    pub fn placed<'a>(&self, topics: impl IntoIterator<Item = &'a Topic>) -> Vec<Topic> {
        self.topics.placed(topics)
    }

    /// Another node has taken over the messages of these copies: they are not given out here any more.
    pub fn yield_copied(&self, names: &HashSet<u64>) {
        let resumed = self.topics.yield_copied(names);
        self.resume(resumed);
    }

    /// Copies under these names were not kept: each is handed to [`Copies::keep`] again, if its message is here still.
    pub fn copy_again(&self, names: &BTreeSet<u64>) {
        self.topics.copy_again(names);
    }
}

/// As the copy of a message of a topic.
pub(crate) fn record(topic: &Topic, event: Event) -> Bytes {
    Copied { topic: topic.clone(), event }.write()
}
