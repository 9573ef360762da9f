//! What stands at the beginning of a segment's file, and where the rest is. Pure.
//!
//! A file is a title page, one byte for each record (its mark), and the records. The marks stand apart from the records so
//! that a commit changes one byte of a page that thousands of messages share, and never needs room that may not be there.

use super::life::Life;

/// The title has a page of its own; the title itself fits into one sector, which disks write whole or not at all.
pub(crate) const PAGE: u64 = 4096;

/// The bytes of a title.
pub(crate) const TITLE: usize = 64;

/// Of these, what its checksum covers.
const SAID: usize = 56;

const MAGIC: [u8; 8] = *b"mesh-log";

/// Of what is written here. In version 1 a record named its segment by a number that anybody could guess.
const VERSION: u32 = 2;

/// One mark for so many bytes of records: the least that a message is charged, so that both run out together.
const BYTES_PER_SLOT: u64 = 256;

/// How a segment's file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// How many records it can hold.
    pub(crate) slots: u32,
    /// How many bytes of records it can hold.
    pub(crate) capacity: u64,
}

/// What a title says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Title {
    /// Nothing of what follows counts.
    Blank {
        layout: Layout,
        /// The number of the segment that it was last, so that numbers go on where nothing else is left; 0: it was none yet.
        last: u64,
    },
    /// A segment of the log.
    Segment {
        layout: Layout,
        /// Its number; segments are numbered in the order in which they were begun.
        number: u64,
        life: Life,
        /// The segment that was written before it, and where its records ended.
        before: Option<(u64, u64)>,
    },
}

/// Why bytes are no title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTitle {
    /// They are something else, or damaged.
    Unreadable,
    /// They were written by another version of the log.
    Version(u32),
}

impl Layout {
    /// The layout for `capacity` bytes of records.
    pub(crate) fn of(capacity: u64) -> Self {
        let slots = u32::try_from(capacity / BYTES_PER_SLOT).unwrap_or(u32::MAX).max(1);
        Self { slots, capacity }
    }

    /// The layout for one record of `size` bytes.
    pub(crate) fn single(size: u64) -> Self {
        Self { slots: 1, capacity: size }
    }

    /// Where the mark of `slot` stands.
    pub(crate) fn mark(&self, slot: u32) -> u64 {
        PAGE + u64::from(slot)
    }

    /// Where the records begin.
    pub(crate) fn records(&self) -> u64 {
        PAGE + u64::from(self.slots).next_multiple_of(PAGE)
    }

    /// How long the file is.
    pub(crate) fn length(&self) -> u64 {
        self.records().saturating_add(self.capacity)
    }
}

impl Title {
    pub(crate) fn encode(&self) -> [u8; TITLE] {
        let (layout, number, life, before) = match self {
            Self::Blank { layout, last } => (layout, *last, 0, None),
            Self::Segment { layout, number, life, before } => (layout, *number, life.get(), *before),
        };
        let (before_number, before_end) = before.unwrap_or_default();
        let mut out = Vec::with_capacity(TITLE);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&layout.slots.to_le_bytes());
        for value in [layout.capacity, number, life, before_number, before_end] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.resize(TITLE, 0);
        out.try_into().unwrap_or([0; TITLE])
    }

    /// The title that `bytes` are.
    pub(crate) fn decode(bytes: &[u8; TITLE]) -> Result<Self, NoTitle> {
        let version = bytes.get(8..12).and_then(|version| version.first_chunk()).map(|b| u32::from_le_bytes(*b));
        match version.filter(|_| bytes.starts_with(&MAGIC)) {
            Some(VERSION) => Self::read(bytes).ok_or(NoTitle::Unreadable),
            Some(other) => Err(NoTitle::Version(other)),
            None => Err(NoTitle::Unreadable),
        }
    }

    fn read(bytes: &[u8; TITLE]) -> Option<Self> {
        let (said, check) = bytes.split_at(SAID);
        let number = |at: usize| said.get(at..at + 8)?.first_chunk().map(|b| u64::from_le_bytes(*b));
        let small = |at: usize| said.get(at..at + 4)?.first_chunk().map(|b| u32::from_le_bytes(*b));
        if crc32fast::hash(said) != u32::from_le_bytes(*check.first_chunk()?) {
            return None;
        }
        let (layout, number_of) = (Layout { slots: small(12)?, capacity: number(16)? }, number(24)?);
        let before = Some((number(40)?, number(48)?)).filter(|(number, _)| *number > 0);
        Some(match Life::of(number(32)?) {
            None => Self::Blank { layout, last: number_of },
            Some(life) => Self::Segment { layout, number: number_of, life, before },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_read_as_they_were_written_and_with_a_bit_flipped_not_at_all() {
        let layout = Layout::of(1 << 20);
        let titles = [
            Title::Blank { layout, last: 0 },
            Title::Blank { layout, last: 7 },
            Title::Segment { layout, number: 1, life: Life::begin(), before: None },
            Title::Segment { layout, number: 7, life: Life::begin(), before: Some((6, 12345)) },
        ];
        for title in titles {
            let bytes = title.encode();
            assert_eq!(Title::decode(&bytes), Ok(title));
            for bit in 0..(SAID + 4) * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Title::decode(&flipped).is_err(), "bit {bit}");
            }
        }
        assert_eq!(Title::decode(&[0; TITLE]), Err(NoTitle::Unreadable));
    }

    #[test]
    fn marks_and_records_do_not_meet() {
        for capacity in [0, 1, 255, 4096, 1 << 25, 1 << 33] {
            let layout = Layout::of(capacity);
            assert!(layout.mark(layout.slots - 1) < layout.records(), "{capacity}");
            assert_eq!(layout.length(), layout.records() + capacity);
        }
    }
}
