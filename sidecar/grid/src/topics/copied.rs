//! Copies of what is consumed in ack mode, as all topics of a node have them (see `copies.rs`).

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

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

    /// Those of some topics that have a place, or would get one if a message came.
    pub(crate) fn placed<'a>(&self, topics: impl IntoIterator<Item = &'a Topic>) -> Vec<Topic> {
        let mut topics = topics.into_iter().peekable();
        if topics.peek().is_none() {
            return Vec::new();
        }
        let (table, settings) = (self.table.lock(), self.settings.read());
        let is_named = |topic: &Topic| settings.named.contains(topic.as_str());
        let is_kept = |queue: &Arc<Mutex<Queue>>| Arc::strong_count(queue) > 1 || !queue.lock().is_unused();
        let kept = table.iter().filter(|(topic, queue)| !is_named(topic) && is_kept(queue)).count();
        let mut free = usize::from(settings.defaults.count).saturating_sub(kept);
        let mut has_place = |topic: &&Topic| {
            let is_there = is_named(topic) || table.contains_key(*topic);
            let is_new = !is_there && free > 0;
            free -= usize::from(is_new);
            is_there || is_new
        };
        topics.filter(&mut has_place).cloned().collect()
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
