//! Which pushes with an id a segment has seen: their senders may repeat them, also when their messages are gone and the segment
//! is to be used again. What is still needed then is written once more, as a record of its own (design section 6).
//!
//! Pure. Ids of one process count up, so each stands as one bit among its 512 neighbours.

use std::collections::HashMap;

use super::{entry::Entry, record::Record};
use crate::queue::{MessageId, Origin, REMEMBERED_FOR};

/// Neighbours in a block, as a power of two.
const BLOCK: u32 = 9;
/// Words of a block.
pub(crate) const WORDS: usize = (1 << BLOCK) / 64;
/// Blocks of one sender in one segment: half a million neighbours, more than fit. What a sender numbers otherwise, no node of our
/// kind does; beyond it its ids may be forgotten.
const MOST_BLOCKS: usize = 1024;

/// 512 neighbouring ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) instance: u64,
    pub(crate) epoch: u64,
    pub(crate) number: u64,
    pub(crate) bits: [u64; WORDS],
}

/// What one sender has pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Blocks {
    bits: HashMap<(u64, u64, u64), [u64; WORDS]>,
    /// When the last of them came, in milliseconds since 1970.
    newest: u64,
}

/// The pushes that a segment has seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed(HashMap<Origin, Blocks>);

impl Block {
    /// The block of one id, with it alone in it.
    pub(crate) fn of(id: MessageId) -> Self {
        let within = id.sequence & ((1 << BLOCK) - 1);
        let mut bits = [0; WORDS];
        if let Some(word) = bits.get_mut((within / 64) as usize) {
            *word = 1 << (within % 64);
        }
        Self { instance: id.instance, epoch: id.epoch, number: id.sequence >> BLOCK, bits }
    }

    /// Takes in what is in another writing of the same block.
    pub(crate) fn add(&mut self, other: Self) {
        self.bits.iter_mut().zip(other.bits).for_each(|(known, new)| *known |= new);
    }

    /// All ids that are in it.
    pub(crate) fn ids(self) -> impl Iterator<Item = MessageId> {
        let Self { instance, epoch, number, bits } = self;
        let set = (0..1 << BLOCK)
            .filter(move |n: &u64| bits.get((n / 64) as usize).is_some_and(|word| word & (1 << (n % 64)) != 0));
        set.map(move |n| MessageId { instance, epoch, sequence: (number << BLOCK) | n })
    }
}

impl Pushed {
    /// A push that came at `time`.
    pub(crate) fn add(&mut self, sender: &Origin, id: MessageId, time: u64) {
        self.add_block(sender, Block::of(id), time);
    }

    /// Several of them, the last of which came at `time`.
    pub(crate) fn add_block(&mut self, sender: &Origin, block: Block, time: u64) {
        if !self.0.contains_key(sender) {
            self.0.insert(sender.clone(), Blocks::default());
        }
        let Some(blocks) = self.0.get_mut(sender) else { return };
        blocks.newest = blocks.newest.max(time);
        let place = (block.instance, block.epoch, block.number);
        if blocks.bits.len() < MOST_BLOCKS || blocks.bits.contains_key(&place) {
            let known = blocks.bits.entry(place).or_default();
            known.iter_mut().zip(block.bits).for_each(|(known, new)| *known |= new);
        }
    }

    /// Forgets what nobody repeats any more.
    pub(crate) fn lapse(&mut self, now: u64) {
        self.0.retain(|_, blocks| lapses(blocks.newest) > now);
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The records that say it, one for each sender.
    pub(crate) fn records(&self) -> Vec<Record> {
        let all = self.0.iter().map(|(sender, blocks)| {
            let list =
                blocks.bits.iter().map(|(&(instance, epoch, number), &bits)| Block { instance, epoch, number, bits });
            Entry::Pushed { sender: sender.clone(), blocks: list.collect() }.record(blocks.newest)
        });
        all.collect()
    }

    #[cfg(test)]
    /// What is remembered: sender, ids, and when the last of the sender's came.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Origin, MessageId, u64)> {
        self.0.iter().flat_map(|(sender, blocks)| {
            let list =
                blocks.bits.iter().map(|(&(instance, epoch, number), &bits)| Block { instance, epoch, number, bits });
            list.flat_map(Block::ids).map(move |id| (sender, id, blocks.newest))
        })
    }
}

/// When a push that came at `time` need not be remembered any more.
pub(crate) fn lapses(time: u64) -> u64 {
    time.saturating_add(u64::try_from(REMEMBERED_FOR.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mesh_core::NodeId;
    use proptest::prelude::*;

    use super::*;

    fn partner(name: &str) -> Origin {
        Origin::Partner(NodeId::new(name))
    }

    proptest! {
        #[test]
        fn it_remembers_as_a_set_does(numbers in prop::collection::vec((0_u64..2, 0_u64..3000), 0..300)) {
            let (mut pushed, mut model) = (Pushed::default(), BTreeSet::new());
            for (instance, sequence) in numbers {
                let id = MessageId { instance, epoch: 7, sequence };
                pushed.add(&partner("b"), id, sequence);
                model.insert(id);
            }
            prop_assert_eq!(pushed.all().map(|(_, id, _)| id).collect::<BTreeSet<_>>(), model);
        }
    }

    #[test]
    fn each_sender_is_forgotten_in_its_time() {
        let mut pushed = Pushed::default();
        let id = MessageId { instance: 1, epoch: 2, sequence: 3 };
        pushed.add(&partner("b"), id, 1_000);
        pushed.add(&partner("c"), id, 5_000);
        pushed.lapse(lapses(1_000));
        assert_eq!(pushed.all().collect::<Vec<_>>(), [(&partner("c"), id, 5_000)]);
        pushed.lapse(lapses(5_000));
        assert!(pushed.is_empty());
    }

    #[test]
    fn one_sender_cannot_fill_the_memory_nor_push_out_another() {
        let mut pushed = Pushed::default();
        for n in 0..2 * MOST_BLOCKS as u64 {
            pushed.add(&partner("b"), MessageId { instance: n, epoch: 0, sequence: 0 }, 1);
        }
        let id = MessageId { instance: 1, epoch: 2, sequence: 3 };
        pushed.add(&partner("c"), id, 1);
        assert_eq!(pushed.all().count(), MOST_BLOCKS + 1);
        assert!(pushed.all().any(|(sender, known, _)| (sender, known) == (&partner("c"), id)));
    }
}
