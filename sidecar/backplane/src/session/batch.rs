//! One message of a session's log, as bytes: what its owner appended at once. Pure.
//!
//! A batch says who wrote it and which of that one's batches it is, so that an owner whose answer was lost finds out whether it
//! landed. One without entries is a fence. Entries are named by where they first stood ([`Place`]), and keep that name when they are
//! moved.

use bytes::{BufMut as _, Bytes};

/// The version of these bytes.
const VERSION: u8 = 1;
/// Version, writer, number, epoch.
const HEAD: usize = 1 + 3 * 8;
/// What stands before an entry: its kind and its length.
const ENTRY_HEAD: usize = 1 + 4;
/// What a place takes.
const PLACE: usize = 8 + 4;

const RECORD: u8 = 1;
const LARGE: u8 = 2;
const CONSUMED: u8 = 3;
const MOVED_RECORD: u8 = 4;
const MOVED_LARGE: u8 = 5;

/// Where an entry first stood: the sequence number of its batch, and how many stood there before it. They ascend as the entries came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The number of its batch in the stream.
    pub sequence: u64,
    /// Which entry of the batch it is.
    pub index: u32,
}

/// What an owner appended at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// A number that only this opening of the log has.
    pub(crate) writer: u64,
    /// How many batches this writer wrote before.
    pub(crate) number: u64,
    /// The owner's epoch, for people.
    pub(crate) epoch: u64,
    pub(crate) entries: Vec<Entry>,
}

/// One thing that a batch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A record.
    Record(Body),
    /// Records that are read, and count no more.
    Consumed(Vec<Place>),
    /// A record that stood elsewhere, and stands here from now on.
    Moved(Place, Body),
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Itself.
    Whole(Bytes),
    /// It is larger than a message of NATS may be: its pieces stand under this name.
    Pieces(Pieces),
}

/// A large record in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pieces {
    /// Under which its pieces stand.
    pub(crate) name: u64,
    /// How many there are.
    pub(crate) count: u32,
    /// How many bytes they have together.
    pub(crate) length: u64,
}

impl Batch {
    /// As it is appended.
    pub(crate) fn write(&self) -> Bytes {
        let size = HEAD + self.entries.iter().map(Entry::size).sum::<usize>();
        let mut out = Vec::with_capacity(size);
        out.put_u8(VERSION);
        [self.writer, self.number, self.epoch].into_iter().for_each(|word| out.put_u64_le(word));
        self.entries.iter().for_each(|entry| entry.write(&mut out));
        out.into()
    }

    /// `None`: these are no bytes of a version that is known here.
    pub(crate) fn read(bytes: Bytes) -> Option<Self> {
        let mut rest = Rest(bytes);
        if rest.byte()? != VERSION {
            return None;
        }
        let [writer, number, epoch] = [rest.word()?, rest.word()?, rest.word()?];
        let mut entries = Vec::new();
        while !rest.0.is_empty() {
            entries.push(Entry::read(&mut rest)?);
        }
        Some(Self { writer, number, epoch, entries })
    }

    /// The records in it, each by where it first stood, if the batch stands there.
    pub(crate) fn records(&self, sequence: u64) -> impl Iterator<Item = (Place, &Body)> {
        (0..).zip(&self.entries).filter_map(move |(index, entry)| match entry {
            Entry::Record(body) => Some((Place { sequence, index }, body)),
            Entry::Moved(place, body) => Some((*place, body)),
            Entry::Consumed(_) => None,
        })
    }

    /// What a batch without entries takes.
    pub(crate) const fn head() -> usize {
        HEAD
    }
}

impl Entry {
    /// What a place takes.
    pub(crate) const PLACE: usize = PLACE;

    /// How many bytes it takes once it is moved, if it is a record.
    pub(crate) fn size_moved(&self) -> usize {
        self.size() + if matches!(self, Self::Record(_)) { PLACE } else { 0 }
    }

    /// How many bytes it takes in a batch.
    pub(crate) fn size(&self) -> usize {
        ENTRY_HEAD
            + match self {
                Self::Record(body) => body.size(),
                Self::Consumed(places) => PLACE * places.len(),
                Self::Moved(_, body) => PLACE + body.size(),
            }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Record(Body::Whole(_)) => RECORD,
            Self::Record(Body::Pieces(_)) => LARGE,
            Self::Consumed(_) => CONSUMED,
            Self::Moved(_, Body::Whole(_)) => MOVED_RECORD,
            Self::Moved(_, Body::Pieces(_)) => MOVED_LARGE,
        };
        out.put_u8(kind);
        // A batch is far smaller than 4 GiB.
        out.put_u32_le(u32::try_from(self.size() - ENTRY_HEAD).unwrap_or(u32::MAX));
        match self {
            Self::Record(body) => body.write(out),
            Self::Consumed(places) => places.iter().for_each(|place| place.write(out)),
            Self::Moved(place, body) => {
                place.write(out);
                body.write(out);
            }
        }
    }

    fn read(rest: &mut Rest) -> Option<Self> {
        let kind = rest.byte()?;
        let length = usize::try_from(rest.half()?).ok()?;
        let mut within = Rest(rest.take(length)?);
        let entry = match kind {
            RECORD => Self::Record(Body::Whole(within.all())),
            LARGE => Self::Record(Body::Pieces(Pieces::read(&mut within)?)),
            CONSUMED => {
                let mut places = Vec::with_capacity(length / PLACE);
                while !within.0.is_empty() {
                    places.push(Place::read(&mut within)?);
                }
                Self::Consumed(places)
            }
            MOVED_RECORD => Self::Moved(Place::read(&mut within)?, Body::Whole(within.all())),
            MOVED_LARGE => Self::Moved(Place::read(&mut within)?, Body::Pieces(Pieces::read(&mut within)?)),
            _ => return None,
        };
        within.0.is_empty().then_some(entry)
    }
}

impl Body {
    fn size(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Pieces(_) => 8 + 4 + 8,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(bytes) => out.extend_from_slice(bytes),
            Self::Pieces(Pieces { name, count, length }) => {
                out.put_u64_le(*name);
                out.put_u32_le(*count);
                out.put_u64_le(*length);
            }
        }
    }
}

impl Pieces {
    fn read(rest: &mut Rest) -> Option<Self> {
        Some(Self { name: rest.word()?, count: rest.half()?, length: rest.word()? })
    }
}

impl Place {
    fn write(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.sequence);
        out.put_u32_le(self.index);
    }

    fn read(rest: &mut Rest) -> Option<Self> {
        Some(Self { sequence: rest.word()?, index: rest.half()? })
    }
}

/// What is not read yet.
struct Rest(Bytes);

impl Rest {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn all(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn half(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        any::<(u64, u32)>().prop_map(|(sequence, index)| Place { sequence, index })
    }

    fn body() -> impl Strategy<Value = Body> {
        let pieces = any::<(u64, u32, u64)>().prop_map(|(name, count, length)| Pieces { name, count, length });
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Body::Whole(bytes.into())),
            pieces.prop_map(Body::Pieces),
        ]
    }

    fn entry() -> impl Strategy<Value = Entry> {
        prop_oneof![
            body().prop_map(Entry::Record),
            prop::collection::vec(place(), 0..5).prop_map(Entry::Consumed),
            (place(), body()).prop_map(|(place, body)| Entry::Moved(place, body)),
        ]
    }

    proptest! {
        #[test]
        fn a_batch_is_read_as_it_was_written(head in any::<[u64; 3]>(), entries in prop::collection::vec(entry(), 0..6)) {
            let [writer, number, epoch] = head;
            let batch = Batch { writer, number, epoch, entries };
            let bytes = batch.write();
            prop_assert_eq!(bytes.len(), Batch::head() + batch.entries.iter().map(Entry::size).sum::<usize>());
            prop_assert_eq!(Batch::read(bytes), Some(batch));
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Some(batch) = Batch::read(bytes.clone().into()) {
                prop_assert_eq!(batch.write(), bytes);
            }
        }
    }
}
