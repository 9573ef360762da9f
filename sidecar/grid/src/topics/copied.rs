//! Copies of what is consumed in ack mode, as all topics of a node have them (see `copies.rs`).

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::Topics;
use crate::{
    ClientId, Topic,
    copies::{self, Adopted, Copies, Wanted},
    elsewhere::Copied,
    queue::Queue,
};

impl Topics {
    /// From now on copies are kept there: of topics that are made later.
    pub(crate) fn copied_by(&self, copies: Arc<dyn Copies>) {
        // Once, before anybody is served.
        let _ = self.copies.set(copies);
    }

    /// Takes a message over that another node has left, where there is room; answers whom to read again, too.
    pub(crate) fn adopt(&self, left: &Copied, named: impl FnOnce(u64)) -> (Adopted, Vec<ClientId>) {
        if !self.purse.has_room(left.event.size()) {
            return (Adopted::NoRoom, Vec::new());
        }
        let Some(queue) = self.of(&left.topic) else { return (Adopted::NoTopic, Vec::new()) };
        let mut queue = queue.lock();
        named(queue.adopt(left.event.clone()));
        self.give(&left.topic, &mut queue);
        (Adopted::Taken, queue.resumed())
    }

    /// Another node has taken over the messages of these copies.
    pub(crate) fn yield_copied(&self, names: &HashSet<u64>) -> Vec<ClientId> {
        self.each(&self.all(), |queue| queue.yield_copied(names))
    }

    /// Asks again for copies under these names.
    pub(crate) fn copy_again(&self, names: &BTreeSet<u64>) {
        self.each(&self.all(), |queue| queue.copy_again(names));
    }

    /// Tells whoever keeps copies what a topic wants of them.
    pub(super) fn copy_wanted(&self, topic: &Topic, queue: &mut Queue) {
        let Some(copies) = self.copies.get() else { return };
        for wanted in queue.wanted() {
            match wanted {
                Wanted::Kept(name, event) => copies.keep(name, copies::record(topic, event)),
                Wanted::Forgotten(name) => copies.forget(name),
            }
        }
    }
}
