//! What a record of a session's shared log says, as bytes: an entry of the log on disk, with what stands in that log's own heads and
//! marks. Pure.
//!
//! A version, the kind, flags, when it was first written, and the entry's body.

use bytes::{Buf as _, Bytes};

use crate::log::{Entry, Kind};

/// Other versions are not read: their program hands out what is unread.
const VERSION: u8 = 1;
/// Before the body.
const HEAD: usize = 11;
/// It was given out before it was written.
const GIVEN: u8 = 1;

/// A record on its way into a session's shared log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) bytes: Bytes,
    /// When it was first written, in milliseconds since 1970.
    pub(crate) time: u64,
}

/// A record as it is found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) entry: Entry,
    pub(crate) time: u64,
    pub(crate) given: bool,
}

impl Record {
    /// What says `entry`, first written at `time` (milliseconds since 1970).
    pub(crate) fn of(entry: &Entry, time: u64, given: bool) -> Self {
        let (kind, own, payload) = entry.body();
        let mut bytes = Vec::with_capacity(HEAD + own.len() + payload.len());
        bytes.extend([VERSION, kind as u8, u8::from(given) * GIVEN]);
        bytes.extend_from_slice(&time.to_le_bytes());
        bytes.extend_from_slice(&own);
        bytes.extend_from_slice(&payload);
        Self { bytes: bytes.into(), time }
    }
}

impl Read {
    /// What a record says; `None`: it is of another version, or no record.
    pub(crate) fn of(mut bytes: Bytes) -> Option<Self> {
        let [version, kind, flags] = *bytes.first_chunk()?;
        let time = u64::from_le_bytes(*bytes.get(3..HEAD)?.first_chunk()?);
        if version != VERSION {
            return None;
        }
        bytes.advance(HEAD);
        Some(Self { entry: Entry::decode(Kind::of(kind)?, bytes)?, time, given: flags & GIVEN != 0 })
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use mesh_core::{SessionId, Topic};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Draft, MessageId, Numbered, Origin,
        log::{Keeping, Stored},
    };

    #[test]
    fn it_is_read_as_it_was_written() {
        let draft = Draft {
            payload: "hello".into(),
            metadata: None,
            source: None,
            origin: Origin::Application,
            id: Some(Numbered::new(MessageId { instance: 1, epoch: 2, sequence: 3 })),
        };
        let (session, topic, keeping) = (SessionId::new("s"), Topic::new("t"), Keeping::UntilRead);
        for given in [false, true] {
            let stored = Stored { session: session.clone(), topic: topic.clone(), draft: draft.clone(), keeping };
            let record = Record::of(&Entry::Message(stored.clone()), 7, given);
            assert_eq!(Read::of(record.bytes.clone()), Some(Read { entry: Entry::Message(stored), time: 7, given }));
            let mut later = record.bytes.to_vec();
            later[0] += 1;
            assert_eq!(Read::of(later.into()), None, "of a later version");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Read::of(bytes.into());
        }
    }
}
