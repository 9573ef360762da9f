//! Which pushes of one sender have entered already, and which are being tried: a sender of our kind repeats a push with the
//! same id while it does not know the outcome (design section 6, "Across nodes").
//!
//! A pure structure. Ids of one process count up, so what has entered is kept as one bit each, in blocks of 512 neighbours:
//! a sender of 20 000 pushes a second is remembered for 70 s in 200 KB.

use std::{
    collections::{HashMap, VecDeque},
    task::Waker,
};

use tokio::time::Instant;

use crate::queue::MessageId;

/// Neighbours in a block, as a power of two.
const BLOCK: u32 = 9;
/// Words of a block.
const WORDS: usize = (1 << BLOCK) / 64;
/// Blocks of one sender, 2 MB of memory: eight million neighbours, or 16 384 ids that are no neighbours at all. Beyond it the
/// oldest block is forgotten.
const MOST_BLOCKS: usize = 1 << 14;
/// Blocks that each new one looks at, whether they are due: more than one, so that the old go faster than new ones come.
const LOOK_AT: usize = 2;

/// What one sender has pushed of late.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    blocks: HashMap<BlockId, Block>,
    order: VecDeque<BlockId>,
    /// Pushes that are being tried, and who waits for what becomes of them.
    tried: HashMap<MessageId, Vec<Waker>>,
}

/// Instance, epoch, and number of the block.
type BlockId = (u64, u64, u64);

#[derive(Debug)]
struct Block {
    bits: [u64; WORDS],
    /// When the last of them may be forgotten.
    until: Instant,
}

/// Where a push stands that has just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody tries it: whoever asked does now.
    First,
    /// Somebody tries it; the waker is called when that is decided.
    Tried,
    /// It has entered.
    Entered,
}

impl Repeats {
    /// A push has come.
    pub(super) fn begin(&mut self, id: MessageId, waker: &Waker) -> Standing {
        if self.has_entered(id) {
            return Standing::Entered;
        }
        match self.tried.get_mut(&id) {
            None => {
                self.tried.insert(id, Vec::new());
                Standing::First
            }
            Some(waiting) => {
                if !waiting.iter().any(|other| other.will_wake(waker)) {
                    waiting.push(waker.clone());
                }
                Standing::Tried
            }
        }
    }

    /// A try is over. The push has entered and is remembered until `until`, or it has not and the next may try. Answers whom
    /// to wake: all, since one that is woken may just be going away.
    pub(super) fn end(&mut self, id: MessageId, entered: Option<Instant>, now: Instant) -> Vec<Waker> {
        if let Some(until) = entered {
            self.remember(id, until, now);
        }
        self.tried.remove(&id).unwrap_or_default()
    }

    /// Remembers that a push has entered, until `until`.
    pub(super) fn remember(&mut self, id: MessageId, until: Instant, now: Instant) {
        let (block_id, word, bit) = split(id);
        if !self.blocks.contains_key(&block_id) {
            self.make_room(now);
            self.order.push_back(block_id);
        }
        let block = self.blocks.entry(block_id).or_insert(Block { bits: [0; WORDS], until });
        block.bits[word] |= bit;
        block.until = block.until.max(until);
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&mut self, now: Instant) -> bool {
        self.blocks.retain(|_, block| block.until > now);
        self.order.retain(|block_id| self.blocks.contains_key(block_id));
        self.blocks.is_empty() && self.tried.is_empty()
    }

    fn has_entered(&self, id: MessageId) -> bool {
        let (block_id, word, bit) = split(id);
        self.blocks.get(&block_id).is_some_and(|block| block.bits[word] & bit != 0)
    }

    fn make_room(&mut self, now: Instant) {
        for _ in 0..LOOK_AT {
            let Some(block_id) = self.order.pop_front() else { return };
            if self.blocks.get(&block_id).is_some_and(|block| block.until > now) && self.order.len() < MOST_BLOCKS - 1 {
                self.order.push_back(block_id);
            } else {
                self.blocks.remove(&block_id);
            }
        }
    }
}

fn split(id: MessageId) -> (BlockId, usize, u64) {
    let within = id.sequence & ((1 << BLOCK) - 1);
    ((id.instance, id.epoch, id.sequence >> BLOCK), (within / 64) as usize, 1 << (within % 64))
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use proptest::prelude::*;

    use super::*;

    fn id(sequence: u64) -> MessageId {
        MessageId { instance: 1, epoch: 2, sequence }
    }

    #[test]
    fn a_push_is_tried_once_at_a_time_and_enters_once() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let (one, until) = (Waker::noop(), now + Duration::from_secs(70));
        assert_eq!(repeats.begin(id(7), one), Standing::First);
        assert_eq!(repeats.begin(id(7), one), Standing::Tried);
        assert_eq!(repeats.begin(id(8), one), Standing::First, "another push waits for nobody");
        assert_eq!(repeats.end(id(7), None, now).len(), 1, "it did not enter: the next may try");
        assert_eq!(repeats.begin(id(7), one), Standing::First);
        assert!(repeats.end(id(7), Some(until), now).is_empty());
        assert_eq!(repeats.begin(id(7), one), Standing::Entered);
        assert_eq!(repeats.begin(MessageId { epoch: 3, ..id(7) }, one), Standing::First, "after a restart");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_in_time() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let until = now + Duration::from_secs(70);
        // No two are neighbours: the worst that a sender can do.
        for n in 0..3 * MOST_BLOCKS as u64 {
            repeats.remember(id(n << BLOCK), until, now);
        }
        assert!(repeats.blocks.len() <= MOST_BLOCKS && repeats.order.len() <= MOST_BLOCKS);
        assert!(repeats.has_entered(id((3 * MOST_BLOCKS as u64 - 1) << BLOCK)), "the newest is kept");
        for n in 0..2 * MOST_BLOCKS as u64 {
            repeats.remember(MessageId { instance: 9, ..id(n << BLOCK) }, until + Duration::from_secs(70), until);
            if repeats.blocks.keys().all(|(instance, ..)| *instance == 9) {
                return;
            }
        }
        panic!("the old are still there");
    }

    proptest! {
        #[test]
        fn it_remembers_as_a_set_does(numbers in proptest::collection::vec(0_u64..3000, 0..300)) {
            let (mut repeats, mut model, now) = (Repeats::default(), HashSet::new(), Instant::now());
            let until = now + Duration::from_secs(1);
            for number in numbers {
                prop_assert_eq!(repeats.has_entered(id(number)), !model.insert(number));
                repeats.remember(id(number), until, now);
            }
            prop_assert!(!repeats.is_empty(now) || model.is_empty());
            prop_assert!(repeats.is_empty(until));
        }
    }
}
