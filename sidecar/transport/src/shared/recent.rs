//! Ids of pushes whose messages have been read, in one session: their senders may repeat them still, also at the session's next
//! owner, who finds them in its log. Pure.
//!
//! Ids of one process count up, so each stands as one bit among its neighbours. What was written of a block is written anew with each
//! further one of it, and the record before goes once the new one stands.

use std::collections::{HashMap, VecDeque};

use super::{Place, Record};
use crate::{
    log::{Block, Entry, lapses},
    queue::{MessageId, Origin},
};

/// Blocks that are remembered of one session, of some 250 bytes each: beyond it the oldest is forgotten.
const MOST_BLOCKS: usize = 1 << 14;

/// A block of neighbours: whose, and which.
type Name = (Origin, u64, u64, u64);

/// What has been read of late in one session.
#[derive(Debug, Default)]
pub(super) struct Recent {
    blocks: HashMap<Name, Slot>,
    order: VecDeque<Name>,
    /// When the last push of all came, in milliseconds since 1970.
    newest: u64,
}

#[derive(Debug)]
struct Slot {
    block: Block,
    /// When the last of its pushes came, in milliseconds since 1970.
    newest: u64,
    /// How often it was written; what an earlier writing left is of no use.
    writing: u64,
    /// Where it stands.
    place: Option<Place>,
}

/// A record that is to be written, and which writing of its block it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) record: Record,
    pub(super) name: Name,
    pub(super) writing: u64,
}

impl Recent {
    /// The message of a push that came at `time` is read: what is to be written of that, if anybody may repeat it still.
    pub(super) fn read(&mut self, sender: &Origin, id: MessageId, time: u64, now: u64) -> Option<Written> {
        if lapses(time) <= now {
            return None;
        }
        let name = self.add(sender, Block::of(id), time);
        let slot = self.blocks.get_mut(&name)?;
        slot.writing += 1;
        let entry = Entry::Pushed { sender: sender.clone(), blocks: vec![slot.block] };
        let record = Record::of(&entry, slot.newest, false);
        Some(Written { record, writing: slot.writing, name })
    }

    /// A record of an earlier owner says so, and stands at `place`.
    pub(super) fn found(&mut self, sender: &Origin, blocks: &[Block], time: u64, place: Place) {
        for block in blocks {
            let name = self.add(sender, *block, time);
            if let Some(slot) = self.blocks.get_mut(&name) {
                slot.place = Some(place);
            }
        }
    }

    /// What was to be written stands at `place`. Answers what is of no use any more.
    pub(super) fn stands(&mut self, name: &Name, writing: u64, place: Place) -> Option<Place> {
        match self.blocks.get_mut(name) {
            Some(slot) if slot.writing == writing => slot.place.replace(place),
            _ => Some(place),
        }
    }

    /// Forgets what nobody repeats any more, and what is too much. Answers where that stood.
    pub(super) fn forget(&mut self, now: u64) -> Vec<Place> {
        let mut gone = Vec::new();
        while let Some(oldest) = self.order.front() {
            let is_over = self.blocks.get(oldest).is_none_or(|slot| lapses(slot.newest) <= now);
            if !is_over && self.order.len() <= MOST_BLOCKS {
                break;
            }
            let Some(oldest) = self.order.pop_front() else { break };
            gone.extend(self.blocks.remove(&oldest).and_then(|slot| slot.place));
        }
        gone
    }

    /// For how many milliseconds somebody may repeat one of them still.
    pub(super) fn matters_for(&self, now: u64) -> u64 {
        if self.blocks.is_empty() { 0 } else { lapses(self.newest).saturating_sub(now) }
    }

    fn add(&mut self, sender: &Origin, block: Block, time: u64) -> Name {
        self.newest = self.newest.max(time);
        let name = (sender.clone(), block.instance, block.epoch, block.number);
        if !self.blocks.contains_key(&name) {
            self.order.push_back(name.clone());
        }
        let slot = self.blocks.entry(name.clone()).or_insert(Slot { block, newest: 0, writing: 0, place: None });
        slot.block.add(block);
        slot.newest = slot.newest.max(time);
        name
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;
    use crate::shared::Read;

    const SENDER: Origin = Origin::Application;

    fn id(sequence: u64) -> MessageId {
        MessageId { instance: 1, epoch: 2, sequence }
    }

    fn place(sequence: u64) -> Place {
        Place { sequence, index: 0 }
    }

    fn ids(written: &Written) -> Vec<u64> {
        match Read::of(written.record.bytes.clone()).unwrap().entry {
            Entry::Pushed { blocks, .. } => blocks.into_iter().flat_map(Block::ids).map(|id| id.sequence).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_writing_holds_all_of_its_block_and_the_one_before_is_of_no_use() {
        let mut recent = Recent::default();
        let first = recent.read(&SENDER, id(1), 0, 0).unwrap();
        let second = recent.read(&SENDER, id(2), 0, 0).unwrap();
        assert_eq!((ids(&first), ids(&second)), (vec![1], vec![1, 2]));
        assert_eq!(recent.stands(&first.name, first.writing, place(1)), Some(place(1)), "the second is under way");
        assert_eq!(recent.stands(&second.name, second.writing, place(2)), None);
        let third = recent.read(&SENDER, id(3), 5, 0).unwrap();
        assert_eq!(recent.stands(&third.name, third.writing, place(3)), Some(place(2)));
        assert_eq!((recent.matters_for(lapses(5) - 1), recent.matters_for(lapses(5))), (1, 0));
        assert_eq!(recent.forget(lapses(5) - 1), []);
        assert_eq!(recent.forget(lapses(5)), [place(3)]);
        assert_eq!(recent.read(&SENDER, id(4), 5, lapses(5)), None, "nobody repeats it any more");
    }

    #[test]
    fn what_an_earlier_owner_wrote_goes_into_what_is_written_next() {
        let mut recent = Recent::default();
        recent.found(&SENDER, &[Block::of(id(1))], 0, place(1));
        let next = recent.read(&SENDER, id(2), 0, 0).unwrap();
        assert_eq!(ids(&next), [1, 2]);
        assert_eq!(recent.stands(&next.name, next.writing, place(2)), Some(place(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for n in 0..=MOST_BLOCKS as u64 {
            recent.found(&SENDER, &[Block::of(id(n << 9))], 0, place(n));
        }
        assert_eq!(recent.forget(0), [place(0)]);
    }
}
