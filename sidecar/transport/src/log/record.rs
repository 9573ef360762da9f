//! A record of the log: a head of 56 bytes, and a body that only `entry.rs` understands. Pure: bytes in, bytes out.
//!
//! A head names the life of the segment for which it was written, so neither what the file held in an earlier life nor what
//! somebody forged in a payload looks like a record of this one (`life.rs`). It also says how much of the segment was on disk when
//! it was written: that tells a tail that was cut by a crash from a record that was lost in the middle.

use std::io::IoSlice;

use bytes::Bytes;

use super::life::Life;
use crate::queue::{MessageId, Origin};

/// The size of a head.
pub(crate) const HEAD: usize = 56;

/// Records begin at multiples of this, so that a search for them need not look everywhere.
pub(crate) const ALIGN: usize = 8;

/// How a head begins, after its checksum.
const MAGIC: [u8; 3] = *b"rec";

/// What a record is about; the byte on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message.
    Message = 1,
    /// The id of a released session.
    Tombstone = 2,
    /// A partner that a session involves.
    Involved = 3,
    /// Ids of pushes whose messages are gone.
    Pushed = 4,
}

impl Kind {
    /// The kind of that byte.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Message,
            2 => Self::Tombstone,
            3 => Self::Involved,
            4 => Self::Pushed,
            _ => return None,
        })
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// The bytes of the body.
    pub(crate) length: u64,
    /// The checksum of the body.
    pub(crate) body: u32,
    /// When it was first written, in milliseconds since 1970.
    pub(crate) time: u64,
    /// Its number in the whole log. A record that is moved keeps it.
    pub(crate) id: u64,
    /// Which record of its segment it is.
    pub(crate) slot: u32,
    /// Up to which offset the segment was on disk when this was written.
    pub(crate) synced: u64,
}

/// A record on its way to the disk: the head is filled in when its place is known, the payload is written from where it is.
#[derive(Debug)]
pub(crate) struct Record {
    /// Head and the beginning of the body.
    front: Vec<u8>,
    payload: Bytes,
    head: Head,
    /// When it loses its meaning by itself, in milliseconds since 1970.
    pub(crate) lapses: Option<u64>,
    /// The id of the push, and who pushed.
    pub(crate) numbered: Option<(Origin, MessageId)>,
}

/// What of a record is known before its place is: all behind the head.
#[derive(Debug)]
pub(crate) struct Body {
    own: Vec<u8>,
    payload: Bytes,
}

impl Body {
    /// The bytes that its record takes on disk.
    pub(crate) fn size(&self) -> u64 {
        size((self.own.len() + self.payload.len()) as u64)
    }

    /// It in pieces of at most `size` bytes.
    pub(crate) fn pieces(&self, size: usize) -> impl Iterator<Item = &[u8]> {
        self.own.chunks(size).chain(self.payload.chunks(size))
    }
}

impl Record {
    /// A record whose body is `front`, from [`HEAD`] on, followed by `payload`.
    pub(crate) fn new(kind: Kind, front: Vec<u8>, payload: Bytes, time: u64) -> Self {
        let own = front.get(HEAD..).unwrap_or_default();
        let mut check = crc32fast::Hasher::new();
        check.update(own);
        check.update(&payload);
        let length = (own.len() + payload.len()) as u64;
        let head = Head { kind, length, body: check.finalize(), time, id: 0, slot: 0, synced: 0 };
        Self { front, payload, head, lapses: None, numbered: None }
    }

    /// A record as it stands on disk, to be written once more elsewhere.
    pub(crate) fn again(head: Head, bytes: Vec<u8>) -> Self {
        Self { front: bytes, payload: Bytes::new(), head, lapses: None, numbered: None }
    }

    /// The bytes that it takes on disk.
    pub(crate) fn size(&self) -> u64 {
        size(self.head.length)
    }

    /// Its number in the whole log.
    pub(crate) fn id(&self) -> u64 {
        self.head.id
    }

    /// When it was first written, in milliseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.head.time
    }

    /// Fills in its place.
    pub(crate) fn place(&mut self, life: Life, id: u64, slot: u32, synced: u64) {
        (self.head.id, self.head.slot, self.head.synced) = (id, slot, synced);
        if let Some(front) = self.front.first_chunk_mut::<HEAD>() {
            *front = self.head.encode(life);
        }
    }

    /// All behind its head. The payload is not copied.
    pub(crate) fn body(&self) -> Body {
        Body { own: self.front.get(HEAD..).unwrap_or_default().to_vec(), payload: self.payload.clone() }
    }

    /// Its head alone.
    pub(crate) fn head(&self) -> &[u8] {
        self.front.get(..HEAD).unwrap_or_default()
    }

    /// What is to be written, with what fills it up to the next record.
    pub(crate) fn slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) {
        const FILL: [u8; ALIGN] = [0; ALIGN];
        out.push(IoSlice::new(&self.front));
        if !self.payload.is_empty() {
            out.push(IoSlice::new(&self.payload));
        }
        let fill = usize::try_from(self.size()).unwrap_or(0).saturating_sub(self.front.len() + self.payload.len());
        if let Some(fill) = FILL.get(..fill).filter(|fill| !fill.is_empty()) {
            out.push(IoSlice::new(fill));
        }
    }
}

/// The bytes that a record with a body of `length` takes.
pub(crate) fn size(length: u64) -> u64 {
    (HEAD as u64).saturating_add(length).checked_next_multiple_of(ALIGN as u64).unwrap_or(u64::MAX)
}

impl Head {
    fn encode(&self, life: Life) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        let mut at = 4;
        let mut put = |bytes: &[u8]| {
            if let Some(to) = out.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&MAGIC);
        put(&[self.kind as u8]);
        put(&life.get().to_le_bytes());
        put(&self.length.to_le_bytes());
        put(&self.body.to_le_bytes());
        put(&self.slot.to_le_bytes());
        put(&self.synced.to_le_bytes());
        put(&self.id.to_le_bytes());
        put(&self.time.to_le_bytes());
        let check = check(&out);
        if let Some(to) = out.first_chunk_mut() {
            *to = check.to_le_bytes();
        }
        out
    }

    /// The head that `bytes` begin with; `None` if it is none of a segment in its `life`.
    pub(crate) fn decode(bytes: &[u8], life: Life) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD>()?;
        // Cheap, and false nearly everywhere where a search looks.
        if bytes[4..7] != MAGIC || bytes[8..16] != life.get().to_le_bytes() {
            return None;
        }
        if check(bytes) != u32::from_le_bytes(*bytes.first_chunk()?) {
            return None;
        }
        let kind = Kind::of(bytes[7])?;
        let number = |at: usize| bytes.get(at..at + 8)?.first_chunk().map(|b| u64::from_le_bytes(*b));
        let small = |at: usize| bytes.get(at..at + 4)?.first_chunk().map(|b| u32::from_le_bytes(*b));
        Some(Self {
            kind,
            length: number(16)?,
            body: small(24)?,
            slot: small(28)?,
            synced: number(32)?,
            id: number(40)?,
            time: number(48)?,
        })
    }
}

/// Of all behind itself, the life included.
fn check(head: &[u8; HEAD]) -> u32 {
    crc32fast::hash(&head[4..])
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The life with that number.
    pub(crate) fn life(number: u64) -> Life {
        Life::of(number).unwrap()
    }

    /// A record as it stands in a segment in its `life`.
    pub(crate) fn written(life: Life, id: u64, slot: u32, synced: u64, body: &[u8]) -> Vec<u8> {
        let mut record = Record::new(Kind::Message, vec![0; HEAD], Bytes::copy_from_slice(body), 7);
        record.place(life, id, slot, synced);
        let mut slices = Vec::new();
        record.slices(&mut slices);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(bytes.len() as u64, record.size());
        bytes
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written_and_with_any_bit_flipped_not_at_all(
            number in 1..u64::MAX, id: u64, slot: u32, synced: u64, body in prop::collection::vec(any::<u8>(), 0..40), bit in 0..HEAD * 8
        ) {
            let mut bytes = written(life(number), id, slot, synced, &body);
            let head = Head::decode(&bytes, life(number)).unwrap();
            let expected = Head {
                kind: Kind::Message, length: body.len() as u64, body: crc32fast::hash(&body), time: 7, id, slot, synced,
            };
            prop_assert_eq!(head, expected);
            prop_assert_eq!(Head::decode(&bytes, life(number + 1)), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Head::decode(&bytes, life(number)), None);
        }
    }
}
