//! What is written with one fsync: new records in order, and old ones that are moved.

use std::io::{self, IoSlice};

use super::{
    inbox::Landed,
    kept::Kept,
    record::Record,
    segment::{Mark, Segment},
};

/// Bytes after which a group is full: enough to keep a disk busy, little enough that nobody waits long behind it.
pub(super) const FULL: u64 = 8 << 20;

/// What is written at a time: marks of the same file wait that long at most.
const PIECE: usize = 64;

/// What is written with one fsync.
#[derive(Default)]
pub(super) struct Group {
    /// Where it begins among the records of its segment.
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) members: Vec<Member>,
    /// The segments whose ids of pushes are in it.
    pub(super) handed_on: Vec<u64>,
    /// Whether all but the heads is there already.
    pub(super) heads_only: bool,
}

/// A record of a group.
pub(super) struct Member {
    pub(super) record: Record,
    pub(super) slot: u32,
    pub(super) at: u64,
    pub(super) what: What,
}

/// Why a record is in a group.
pub(super) enum What {
    /// It is new, and somebody waits to hear that it is on disk.
    New(Landed),
    /// It says what other segments knew of pushes whose messages are gone.
    Known,
    /// It is moved here, and had that mark when it was read.
    Moved { kept: Kept, mark: Mark },
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether there is room for `size` bytes more.
    pub(super) fn takes(&self, size: u64) -> bool {
        self.is_empty() || self.bytes + size <= FULL
    }

    /// Writes all to `segment` and makes it durable.
    pub(super) fn write(&self, segment: &Segment) -> io::Result<()> {
        let mut at = self.at;
        for members in self.members.chunks(PIECE) {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(3 * members.len());
            for member in members {
                if self.heads_only {
                    slices.push(IoSlice::new(member.record.head()));
                } else {
                    member.record.slices(&mut slices);
                }
            }
            segment.write(at, &mut slices)?;
            at += members.iter().map(|member| member.record.size()).sum::<u64>();
        }
        for member in &self.members {
            if let What::Moved { mark, .. } = member.what
                && mark > Mark::Fresh
            {
                segment.mark(member.slot, 1, mark)?;
            }
        }
        segment.sync()
    }
}
