//! The queues of a session by topic. Few or a million, a step costs the same and moves little: no rehash of everything
//! holds up whoever comes next.
//!
//! Nearly every session has one queue or none, which lies here as it is. From the second on they lie in small parts found by
//! hash, of which one more is made and one is split for each few queues that come (linear hashing). Only queues with
//! something in them are kept. The split packets of a topic (PTP section 6.5) are found by order of name.

use std::{collections::BTreeSet, hash::BuildHasher, ops::Bound};

use mesh_core::Topic;

use super::{keys::Keys, queues::Queue};

/// What the splitting SDKs put between a topic and the number of a packet (PTP section 6.5).
const SPLIT: &str = "-mesh-split-";

/// Queues in a part, on average: looked through one after the other, by their hashes, which lie side by side.
const LOAD: usize = 8;

/// The queues of a session.
#[derive(Debug, Default)]
pub(crate) struct Topics(Amount);

#[derive(Debug, Default)]
enum Amount {
    #[default]
    None,
    One(Topic, Box<Queue>),
    Many(Box<Many>),
}

#[derive(Debug)]
struct Many {
    parts: Vec<Vec<Slot>>,
    len: usize,
    /// The names of split packets, in order.
    splits: BTreeSet<Topic>,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    topic: Topic,
    queue: Box<Queue>,
}

/// Where a walk over all queues goes on. Queues that come or move meanwhile may be met twice, none is passed over that
/// was there before and stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor(usize);

impl Topics {
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Amount::None => 0,
            Amount::One(..) => 1,
            Amount::Many(many) => many.len,
        }
    }

    pub(super) fn get(&self, topic: &Topic) -> Option<&Queue> {
        match &self.0 {
            Amount::One(name, queue) if name == topic => Some(queue),
            Amount::Many(many) => many.get(topic),
            Amount::None | Amount::One(..) => None,
        }
    }

    pub(super) fn get_mut(&mut self, topic: &Topic) -> Option<&mut Queue> {
        match &mut self.0 {
            Amount::One(name, queue) if name == topic => Some(queue),
            Amount::Many(many) => many.get_mut(topic),
            Amount::None | Amount::One(..) => None,
        }
    }

    /// Adds an empty queue, if there is none of this name.
    pub(super) fn open(&mut self, topic: &Topic) {
        match &mut self.0 {
            Amount::None => self.0 = Amount::One(topic.clone(), Box::default()),
            Amount::One(name, _) if name == topic => {}
            Amount::One(..) => {
                let mut many = Many::new();
                if let Amount::One(name, queue) = std::mem::take(&mut self.0) {
                    many.insert(name, queue);
                }
                many.insert(topic.clone(), Box::default());
                self.0 = Amount::Many(Box::new(many));
            }
            Amount::Many(many) => {
                if many.get(topic).is_none() {
                    many.insert(topic.clone(), Box::default());
                }
            }
        }
    }

    pub(super) fn remove(&mut self, topic: &Topic) -> Option<Box<Queue>> {
        match &mut self.0 {
            Amount::One(name, _) if name == topic => match std::mem::take(&mut self.0) {
                Amount::One(_, queue) => Some(queue),
                Amount::None | Amount::Many(_) => None,
            },
            Amount::Many(many) => {
                let queue = many.remove(topic);
                if many.len == 0 {
                    self.0 = Amount::None;
                }
                queue
            }
            Amount::None | Amount::One(..) => None,
        }
    }

    /// Takes out any queue.
    pub(super) fn pop(&mut self) -> Option<Box<Queue>> {
        if let Amount::Many(many) = &mut self.0
            && let Some(queue) = many.pop()
        {
            return Some(queue);
        }
        match std::mem::take(&mut self.0) {
            Amount::One(_, queue) => Some(queue),
            Amount::None | Amount::Many(_) => None,
        }
    }

    /// Up to `most` names of split packets of `topic` that are there, in order, from behind `after` on.
    pub(super) fn packets(&self, topic: &Topic, after: Option<&Topic>, most: usize) -> Vec<Topic> {
        let first = Topic::new(&format!("{topic}{SPLIT}"));
        let is_next =
            |name: &&Topic| name.as_str().starts_with(first.as_str()) && after.is_none_or(|after| *name > after);
        match &self.0 {
            Amount::None => Vec::new(),
            Amount::One(name, _) => Some(name).filter(is_next).cloned().into_iter().collect(),
            Amount::Many(many) => {
                let from = after.map_or(Bound::Included(&first), Bound::Excluded);
                let names = many.splits.range::<Topic, _>((from, Bound::Unbounded));
                names.take_while(is_next).take(most).cloned().collect()
            }
        }
    }

    /// The queues at `cursor`, some [`LOAD`] of them, and where it goes on.
    pub(super) fn part(&self, cursor: Cursor) -> (Vec<(&Topic, &Queue)>, Option<Cursor>) {
        match &self.0 {
            Amount::None => (Vec::new(), None),
            Amount::One(topic, queue) => (vec![(topic, queue)], None),
            Amount::Many(many) => {
                let slots = many.parts.get(cursor.0).into_iter().flatten();
                let next = cursor.0 + 1;
                let goes_on = (next < many.parts.len()).then_some(Cursor(next));
                (slots.map(|slot| (&slot.topic, &*slot.queue)).collect(), goes_on)
            }
        }
    }

    /// In which part a topic lies: where a walk goes on that ended there.
    pub(super) fn cursor(&self, topic: &Topic) -> Cursor {
        match &self.0 {
            Amount::None | Amount::One(..) => Cursor::default(),
            Amount::Many(many) => Cursor(many.place(Keys.hash_one(topic))),
        }
    }
}

/// Whether releasing `released` reaches `topic` (PTP decision D8).
pub(super) fn reaches(released: &Topic, topic: &Topic) -> bool {
    let is_packet = |name: &str| name.strip_prefix(released.as_str()).is_some_and(|rest| rest.starts_with(SPLIT));
    released.is_empty() || released == topic || is_packet(topic.as_str())
}

impl Many {
    fn new() -> Self {
        Self { parts: vec![Vec::new()], len: 0, splits: BTreeSet::new() }
    }

    fn get(&self, topic: &Topic) -> Option<&Queue> {
        let hash = Keys.hash_one(topic);
        self.parts.get(self.place(hash))?.iter().find(|slot| slot.is(hash, topic)).map(|slot| &*slot.queue)
    }

    fn get_mut(&mut self, topic: &Topic) -> Option<&mut Queue> {
        let hash = Keys.hash_one(topic);
        let place = self.place(hash);
        self.parts.get_mut(place)?.iter_mut().find(|slot| slot.is(hash, topic)).map(|slot| &mut *slot.queue)
    }

    fn insert(&mut self, topic: Topic, queue: Box<Queue>) {
        if topic.as_str().contains(SPLIT) {
            self.splits.insert(topic.clone());
        }
        self.len += 1;
        if self.len > self.parts.len() * LOAD {
            self.split();
        }
        let hash = Keys.hash_one(&topic);
        let place = self.place(hash);
        self.parts[place].push(Slot { hash, topic, queue });
    }

    fn remove(&mut self, topic: &Topic) -> Option<Box<Queue>> {
        let hash = Keys.hash_one(topic);
        let place = self.place(hash);
        let part = self.parts.get_mut(place)?;
        let at = part.iter().position(|slot| slot.is(hash, topic))?;
        let slot = part.swap_remove(at);
        if part.is_empty() {
            // So that the end of a million queues is not paid by whoever takes the last.
            *part = Vec::new();
        }
        self.len -= 1;
        self.splits.remove(topic);
        Some(slot.queue)
    }

    fn pop(&mut self) -> Option<Box<Queue>> {
        while let Some(part) = self.parts.last_mut() {
            if let Some(slot) = part.pop() {
                self.len -= 1;
                self.splits.remove(&slot.topic);
                return Some(slot.queue);
            }
            self.parts.pop();
        }
        None
    }

    /// Where a hash belongs: by as many of its bits as count the parts, or one less where that part is not made yet.
    fn place(&self, hash: u64) -> usize {
        let parts = self.parts.len();
        let mask = parts.next_power_of_two() - 1;
        let place = hash as usize & mask;
        if place < parts { place } else { place & (mask >> 1) }
    }

    /// Makes one more part, out of the one that holds what belongs there now.
    fn split(&mut self) {
        let new = self.parts.len();
        let old = new - (new + 1).next_power_of_two() / 2;
        self.parts.push(Vec::new());
        let slots = std::mem::take(&mut self.parts[old]);
        for slot in slots {
            let place = self.place(slot.hash);
            self.parts[place].push(slot);
        }
    }
}

impl Slot {
    fn is(&self, hash: u64, topic: &Topic) -> bool {
        self.hash == hash && self.topic == *topic
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn topic(n: u16) -> Topic {
        Topic::new(&if n.is_multiple_of(3) { format!("t{}{SPLIT}{n}", n % 2) } else { format!("t{n}") })
    }

    fn walk(topics: &Topics) -> Vec<Topic> {
        let (mut all, mut at) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = at {
            let (part, next) = topics.part(cursor);
            all.extend(part.into_iter().map(|(topic, _)| topic.clone()));
            at = next;
        }
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn topics_are_found_and_walked_like_those_of_an_ordered_map(
            operations in prop::collection::vec((any::<bool>(), 0..300u16), 0..600)
        ) {
            let (mut topics, mut model) = (Topics::default(), BTreeMap::new());
            for (opens, n) in operations {
                if opens {
                    topics.open(&topic(n));
                    model.insert(topic(n), ());
                } else {
                    prop_assert_eq!(topics.remove(&topic(n)).is_some(), model.remove(&topic(n)).is_some());
                }
                prop_assert_eq!(topics.len(), model.len());
                prop_assert_eq!(topics.get(&topic(n)).is_some(), model.contains_key(&topic(n)));
            }
            let names: Vec<_> = model.keys().cloned().collect();
            prop_assert_eq!(walk(&topics), names.clone());
            for released in ["t0", "t1", "t"].map(Topic::new) {
                let packets: Vec<_> = names.iter().filter(|n| **n != released && reaches(&released, n)).cloned().collect();
                prop_assert_eq!(topics.packets(&released, None, usize::MAX), packets);
            }
            let mut popped = 0;
            while topics.pop().is_some() {
                popped += 1;
            }
            prop_assert_eq!((popped, topics.len()), (names.len(), 0));
        }
    }
}
