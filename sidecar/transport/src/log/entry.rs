//! What the records of the log say, as bytes. Pure.
//!
//! A body is a list of texts, each with its length before it, and what is left is the payload. A flag says which of the
//! texts are there.

use std::sync::Arc;

use bytes::Bytes;
use mesh_core::{NodeId, SessionId, Topic};

use super::{
    pushed::{self, Block, WORDS},
    record::{HEAD, Kind, Record},
};
use crate::queue::{Draft, Metadata, Numbered, Origin};

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A message that nobody has read.
    Message(Stored),
    /// A released session, refused until then (milliseconds since 1970).
    Tombstone { session: SessionId, until: u64 },
    /// A partner that may read what applications push in the session.
    Involved { session: SessionId, partner: NodeId },
    /// Pushes of a sender whose messages are gone.
    Pushed { sender: Origin, blocks: Vec<Block> },
}

/// A message with its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) session: SessionId,
    pub(crate) topic: Topic,
    pub(crate) draft: Draft,
    pub(crate) keeping: Keeping,
}

/// How long a message of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Until it is read: a message of `store: Disk`.
    UntilRead,
    /// As one of `store: Memory`: it only lives through a restart here, and goes with its session when that is idle.
    WithSession,
}

const SOURCE: u8 = 1;
const PARTNER: u8 = 2;
const MESSAGE_ID: u8 = 4;
const METADATA: u8 = 8;
const WITH_SESSION: u8 = 16;

impl Entry {
    /// The record that says it, first written at `time` (milliseconds since 1970). The payload is not copied.
    pub(crate) fn record(&self, time: u64) -> Record {
        let mut front = vec![0; HEAD];
        let (kind, payload) = self.encode(&mut front);
        let mut record = Record::new(kind, front, payload, time);
        match self {
            Self::Message(stored) => record.numbered = stored.draft.numbered(),
            Self::Tombstone { until, .. } => record.lapses = Some(*until),
            Self::Involved { .. } => {}
            Self::Pushed { .. } => record.lapses = Some(pushed::lapses(time)),
        }
        record
    }

    /// Of which kind it is, and the body of its record: what is its own, and the payload behind that.
    pub(crate) fn body(&self) -> (Kind, Vec<u8>, Bytes) {
        let mut own = Vec::new();
        let (kind, payload) = self.encode(&mut own);
        (kind, own, payload)
    }

    /// Of which kind it is, and its payload; what stands before that goes to the end of `front`.
    fn encode(&self, front: &mut Vec<u8>) -> (Kind, Bytes) {
        match self {
            Self::Message(stored) => {
                stored.encode(front);
                (Kind::Message, stored.draft.payload.clone())
            }
            Self::Tombstone { session, until } => {
                front.extend_from_slice(&until.to_le_bytes());
                put(front, session.as_str());
                (Kind::Tombstone, Bytes::new())
            }
            Self::Involved { session, partner } => {
                put(front, session.as_str());
                put(front, partner.as_str());
                (Kind::Involved, Bytes::new())
            }
            Self::Pushed { sender, blocks } => {
                front.push(u8::from(*sender != Origin::Application) * PARTNER);
                if let Origin::Partner(partner) = sender {
                    put(front, partner.as_str());
                }
                for Block { instance, epoch, number, bits } in blocks {
                    let words = [instance, epoch, number].into_iter().chain(bits);
                    words.for_each(|word| front.extend_from_slice(&word.to_le_bytes()));
                }
                (Kind::Pushed, Bytes::new())
            }
        }
    }

    /// What `body` says; `None` if it is no body of that kind.
    pub(crate) fn decode(kind: Kind, body: Bytes) -> Option<Self> {
        let mut rest = Rest(body);
        Some(match kind {
            Kind::Message => Self::Message(Stored::decode(rest)?),
            Kind::Tombstone => {
                let until = u64::from_le_bytes(*rest.take(8)?.first_chunk()?);
                Self::Tombstone { session: SessionId::new(&rest.text()?), until }
            }
            Kind::Involved => {
                Self::Involved { session: SessionId::new(&rest.text()?), partner: NodeId::new(&rest.text()?) }
            }
            Kind::Pushed => {
                let is_partner = *rest.take(1)?.first()? == PARTNER;
                let sender = if is_partner { Origin::Partner(NodeId::new(&rest.text()?)) } else { Origin::Application };
                Self::Pushed { sender, blocks: rest.blocks()? }
            }
        })
    }
}

impl Stored {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { session, topic, draft, keeping } = self;
        let message_id = draft.id.as_ref().map(|numbered| numbered.id.to_string());
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let partner = match &draft.origin {
            Origin::Application => None,
            Origin::Partner(partner) => Some(partner),
        };
        out.push(
            flag(draft.source.is_some(), SOURCE)
                | flag(partner.is_some(), PARTNER)
                | flag(message_id.is_some(), MESSAGE_ID)
                | flag(draft.metadata.is_some(), METADATA)
                | flag(*keeping == Keeping::WithSession, WITH_SESSION),
        );
        put(out, session.as_str());
        put(out, topic.as_str());
        let optional = [draft.source.as_ref().map(NodeId::as_str), partner.map(NodeId::as_str), message_id.as_deref()];
        optional.into_iter().flatten().for_each(|text| put(out, text));
        if let Some(metadata) = &draft.metadata {
            put_number(out, metadata.len());
            for (name, value) in &**metadata {
                put(out, name);
                put(out, value);
            }
        }
    }

    fn decode(mut rest: Rest) -> Option<Self> {
        let flags = *rest.take(1)?.first()?;
        let (session, topic) = (SessionId::new(&rest.text()?), Topic::new(&rest.text()?));
        let mut optional =
            |flag: u8| -> Option<Option<String>> { if flags & flag == 0 { Some(None) } else { rest.text().map(Some) } };
        let (source, partner, message_id) = (optional(SOURCE)?, optional(PARTNER)?, optional(MESSAGE_ID)?);
        let metadata = if flags & METADATA == 0 { None } else { Some(Arc::new(rest.metadata()?)) };
        Some(Self {
            session,
            topic,
            draft: Draft {
                payload: rest.0,
                metadata,
                source: source.map(|id| NodeId::new(&id)),
                origin: partner.map_or(Origin::Application, |id| Origin::Partner(NodeId::new(&id))),
                id: message_id.map(|id| id.parse().map(Numbered::new)).transpose().ok()?,
            },
            keeping: if flags & WITH_SESSION == 0 { Keeping::UntilRead } else { Keeping::WithSession },
        })
    }
}

/// What of a body is not read yet.
struct Rest(Bytes);

impl Rest {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(*self.take(4)?.first_chunk()?)).ok()
    }

    fn blocks(&mut self) -> Option<Vec<Block>> {
        let mut blocks = Vec::new();
        while !self.0.is_empty() {
            let [instance, epoch, number] = [self.word()?, self.word()?, self.word()?];
            let mut bits = [0; WORDS];
            for word in &mut bits {
                *word = self.word()?;
            }
            blocks.push(Block { instance, epoch, number, bits });
        }
        Some(blocks)
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        String::from_utf8(self.take(length)?.into()).ok()
    }

    fn metadata(&mut self) -> Option<Metadata> {
        (0..self.number()?).map(|_| Some((self.text()?, self.text()?))).collect()
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Texts come from headers and bodies whose sizes are bounded far below 4 GiB.
fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::queue::MessageId;

    fn stored() -> impl Strategy<Value = Stored> {
        let text = || "[a-zA-Z0-9é.]{0,12}";
        let optional = || prop::option::of("[a-z0-9]{1,12}");
        let metadata = prop::option::of(prop::collection::btree_map(text(), text(), 0..4));
        let payload = prop::collection::vec(any::<u8>(), 0..64);
        let id = prop::option::of(any::<(u64, u64, u64)>());
        (text(), text(), optional(), optional(), id, metadata, payload, any::<bool>()).prop_map(
            |(session, topic, source, partner, id, metadata, payload, until_read)| Stored {
                session: SessionId::new(&session),
                topic: Topic::new(&topic),
                draft: Draft {
                    payload: payload.into(),
                    metadata: metadata.map(Arc::new),
                    source: source.map(|id| NodeId::new(&id)),
                    origin: partner.map_or(Origin::Application, |id| Origin::Partner(NodeId::new(&id))),
                    id: id.map(|(instance, epoch, sequence)| Numbered::new(MessageId { instance, epoch, sequence })),
                },
                keeping: if until_read { Keeping::UntilRead } else { Keeping::WithSession },
            },
        )
    }

    fn body(entry: &Entry) -> Vec<u8> {
        let record = entry.record(0);
        let mut slices = Vec::new();
        record.slices(&mut slices);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let length = match entry {
            Entry::Message(stored) => {
                let mut front = Vec::new();
                stored.encode(&mut front);
                front.len() + stored.draft.payload.len()
            }
            Entry::Tombstone { session, .. } => 12 + session.as_str().len(),
            Entry::Involved { session, partner } => 8 + session.as_str().len() + partner.as_str().len(),
            Entry::Pushed { sender: Origin::Application, blocks } => 1 + 88 * blocks.len(),
            Entry::Pushed { sender: Origin::Partner(partner), blocks } => {
                5 + partner.as_str().len() + 88 * blocks.len()
            }
        };
        bytes[HEAD..HEAD + length].to_vec()
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(stored in stored()) {
            let entry = Entry::Message(stored);
            prop_assert_eq!(Entry::decode(Kind::Message, body(&entry).into()), Some(entry));
        }

        #[test]
        fn a_body_of_any_bytes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for kind in [Kind::Message, Kind::Tombstone, Kind::Involved, Kind::Pushed] {
                let _ = Entry::decode(kind, bytes.clone().into());
            }
        }
    }

    #[test]
    fn all_that_is_no_message_is_read_as_it_was_written() {
        let session = SessionId::new("s1");
        let tombstone = Entry::Tombstone { session: session.clone(), until: 1_700_000_000_000 };
        let involved = Entry::Involved { session, partner: NodeId::new("LX-B") };
        let blocks: Vec<_> =
            (0..3).map(|n| Block { instance: n, epoch: 7, number: n << 40, bits: [n + 1; WORDS] }).collect();
        let partners = Entry::Pushed { sender: Origin::Partner(NodeId::new("LX-B")), blocks: blocks.clone() };
        let members = Entry::Pushed { sender: Origin::Application, blocks };
        let all = [
            (Kind::Tombstone, tombstone),
            (Kind::Involved, involved),
            (Kind::Pushed, partners),
            (Kind::Pushed, members),
        ];
        for (kind, entry) in all {
            assert_eq!(Entry::decode(kind, body(&entry).into()), Some(entry));
        }
    }
}
