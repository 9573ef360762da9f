//! A message, who pushed it, and who may read it (PTP section 2, last paragraph, and section 5.3).

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use mesh_core::NodeId;
use tokio::time::Instant;

use super::{Charge, MessageId, Numbered, involved::Involved};
use crate::{kept::Kept, log::Keeping};

/// The metadata that a push brought along.
pub type Metadata = BTreeMap<String, String>;

/// What a message is charged at least: an empty one takes memory too, so that a byte budget bounds their number.
const LEAST_CHARGE: u64 = 256;

/// What an entry of the metadata is charged beside its text: many tiny ones take far more memory than their bytes (two
/// strings, their allocations, and a place in the map), and a partner chooses how many there are.
const ENTRY_CHARGE: usize = 128;

/// Payloads up to this size are copied out of what they arrived in: at 8 KiB that takes as long as an allocation.
const COPIED: u64 = 8 * 1024;

/// A message as it is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The payload, by reference.
    pub payload: Bytes,
    /// Kept with the message and given out with it; `None` where there is none.
    pub metadata: Option<Arc<Metadata>>,
    /// The source node id that the push claimed: what Kuscia's filter looks at.
    pub source: Option<NodeId>,
    /// Who really pushed it.
    pub origin: Origin,
    /// Its id, where another node passed it on and may do so again.
    pub id: Option<Arc<Numbered>>,
}

/// Who pushed a message, as far as it was proven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An application (or a sidecar) of this node.
    Application,
    /// A partner, by its verified node id.
    Partner(NodeId),
}

/// Who asks for a message, and which ones it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Who asks, as far as it was proven.
    pub who: Origin,
    /// Only messages whose push claimed this source (PTP section 5.3).
    pub source: Option<NodeId>,
}

impl Reader {
    /// An application of this node that takes whatever is oldest.
    #[must_use]
    pub fn application() -> Self {
        Self { who: Origin::Application, source: None }
    }

    /// A partner that takes whatever it may see.
    #[must_use]
    pub fn partner(node: NodeId) -> Self {
        Self { who: Origin::Partner(node), source: None }
    }

    /// Whether `message` is for this reader, in a session that involves `involved`.
    pub(crate) fn takes(&self, message: &Message, involved: &Involved) -> bool {
        self.who.sees(&message.draft.origin, involved)
            && self.source.as_ref().is_none_or(|wanted| message.draft.source.as_ref() == Some(wanted))
    }
}

impl Origin {
    /// Whether a message from `pusher` is visible: to an application always, to a partner only its own, and what an
    /// application pushed in a session that involves it.
    pub(crate) fn sees(&self, pusher: &Self, involved: &Involved) -> bool {
        match (self, pusher) {
            (Self::Application, _) => true,
            (Self::Partner(me), Self::Partner(them)) => me == them,
            (Self::Partner(me), Self::Application) => involved.has(me),
        }
    }
}

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its place: ascending within a session.
    pub(crate) seq: u64,
    /// When it came.
    pub(crate) since: Instant,
    /// Whether it was given out before.
    pub(crate) redelivered: bool,
    pub(crate) draft: Draft,
    /// Its bytes in the budgets; given back when the message goes.
    pub(crate) charge: Charge,
    /// Its record in the log, where it has one.
    pub(crate) kept: Option<Kept>,
}

/// A message that is on disk, as it enters its queue.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) draft: Draft,
    pub(crate) charge: Charge,
    /// Its record; `None` where it is in memory only from now on.
    pub(crate) kept: Option<Kept>,
    pub(crate) keeping: Keeping,
    /// When it came.
    pub(crate) since: Instant,
    /// Whether it was given out before.
    pub(crate) redelivered: bool,
}

/// A message on its way to whoever asked: the queue keeps it until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) seq: u64,
    pub(crate) payload: Bytes,
    pub(crate) metadata: Option<Arc<Metadata>>,
    pub(crate) source: Option<NodeId>,
    pub(crate) redelivered: bool,
    pub(crate) kept: Option<Kept>,
}

impl Draft {
    /// Copies the payload out of a buffer that is far larger, or may be: a small frame must not keep a connection's whole
    /// read buffer in memory, which nobody charges. `body` is the size of the body that the payload came in.
    pub(crate) fn hold_no_more_than_its_own(&mut self, body: u64) {
        let own = self.payload.len() as u64;
        let is_small = own <= COPIED;
        if (is_small || body > own + own / 8) && !self.payload.is_unique() {
            self.payload = Bytes::copy_from_slice(&self.payload);
        }
    }

    /// Who pushed it, and its id, where it has one.
    pub(crate) fn numbered(&self) -> Option<(Origin, MessageId)> {
        self.id.as_ref().map(|numbered| (self.origin.clone(), numbered.id))
    }

    /// The same, and what is known of the try.
    pub(crate) fn tried(&self) -> Option<(Origin, Arc<Numbered>)> {
        self.id.as_ref().map(|numbered| (self.origin.clone(), Arc::clone(numbered)))
    }

    /// What the message is charged in the budgets.
    pub(crate) fn cost(&self) -> u64 {
        (self.size() as u64).max(LEAST_CHARGE)
    }

    /// The memory of its payload and its metadata, in bytes.
    pub(crate) fn size(&self) -> usize {
        let entries = self.metadata.iter().flat_map(|map| map.iter());
        let metadata: usize = entries.map(|(name, value)| ENTRY_CHARGE + name.len() + value.len()).sum();
        self.payload.len() + metadata
    }
}

impl Message {
    /// What is given out of it.
    pub(crate) fn served(&self) -> Served {
        Served {
            seq: self.seq,
            payload: self.draft.payload.clone(),
            metadata: self.draft.metadata.clone(),
            source: self.draft.source.clone(),
            redelivered: self.redelivered,
            kept: self.kept.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tiny_entries_of_metadata_are_charged_for_the_memory_that_they_take() {
        let metadata: Metadata = (0..1000).map(|n| (n.to_string(), String::new())).collect();
        let draft = Draft {
            payload: Bytes::new(),
            metadata: Some(Arc::new(metadata)),
            source: None,
            origin: Origin::Application,
            id: None,
        };
        let strings = 1000 * 2 * size_of::<String>();
        assert!(draft.cost() > strings as u64, "{} is less than {strings}", draft.cost());
    }

    #[test]
    fn a_partner_sees_its_own_and_what_applications_push_in_a_session_that_involves_it() {
        let (a, b) = (NodeId::new("LX-A"), NodeId::new("LX-B"));
        let partner = |id: &NodeId| Origin::Partner(id.clone());
        let table = [
            // who asks, who pushed, whom the session involves, seen
            (Origin::Application, Origin::Application, vec![], true),
            (Origin::Application, partner(&a), vec![], true),
            (partner(&a), partner(&a), vec![], true),
            (partner(&a), partner(&NodeId::new("lx-a")), vec![], true),
            (partner(&a), partner(&b), vec![a.clone(), b.clone()], false),
            (partner(&a), Origin::Application, vec![], false),
            (partner(&a), Origin::Application, vec![b.clone()], false),
            (partner(&a), Origin::Application, vec![b.clone(), a.clone()], true),
        ];
        for (who, pusher, partners, seen) in table {
            let mut involved = Involved::default();
            partners.iter().for_each(|partner| assert!(involved.add(partner)));
            assert_eq!(who.sees(&pusher, &involved), seen, "{who:?} {pusher:?} {involved:?}");
        }
    }
}
