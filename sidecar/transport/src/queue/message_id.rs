//! The id of a push that another node passed on: instance, epoch, sequence (design section 6, "Across nodes").

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// No sender repeats a push for longer than this after its first try, and no receiver remembers one for longer: it bounds
/// memory. Design section 6: "the longest retry".
pub(crate) const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// Ids are remembered for so long after the last moment at which they may be repeated (design section 6).
pub(crate) const REMEMBERED: Duration = Duration::from_secs(60);

/// For so long after its push an id may matter.
pub(crate) const REMEMBERED_FOR: Duration = Duration::from_secs(LONGEST_RETRY.as_secs() + REMEMBERED.as_secs());

/// The id of a push. The same push sent again has the same one, and no other push ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// The process that numbered it: random.
    pub instance: u64,
    /// When that process began to number, so that not even a cloned machine numbers twice.
    pub epoch: u64,
    /// Its number there.
    pub sequence: u64,
}

/// The id of a push on its way into a queue, and whether it has arrived there.
#[derive(Debug)]
pub struct Numbered {
    /// The id.
    pub id: MessageId,
    /// Whether nobody but this process knows it.
    is_own: bool,
    entered: AtomicBool,
    left: AtomicBool,
}

impl Numbered {
    /// A push that is in no queue yet.
    #[must_use]
    pub fn new(id: MessageId) -> Arc<Self> {
        Self::of(id, false)
    }

    /// The same of a push that this process has numbered itself, and told nobody of: once whoever waits hears that it is kept, it never
    /// comes again.
    #[must_use]
    pub fn own(id: MessageId) -> Arc<Self> {
        Self::of(id, true)
    }

    fn of(id: MessageId, is_own: bool) -> Arc<Self> {
        Arc::new(Self { id, is_own, entered: AtomicBool::new(false), left: AtomicBool::new(false) })
    }

    /// Whether it may come again although its message was in its queue. Certain once it was.
    pub(crate) fn may_come_again(&self) -> bool {
        !self.is_own || self.is_left()
    }

    /// It is in its queue now. Said under the session's lock, so that whoever gives up its push learns the truth.
    pub(crate) fn enters(&self) {
        self.entered.store(true, Ordering::Release);
    }

    /// Whether it is, or was, in its queue.
    pub(crate) fn has_entered(&self) -> bool {
        self.entered.load(Ordering::Acquire)
    }

    /// Its caller goes while its record is being written: whether it enters is for the disk to say. Said under the session's
    /// lock, so that either the caller ends the try or whoever hears of the record.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// Whether its caller went while its record was being written.
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }
}

impl PartialEq for Numbered {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Numbered {}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, epoch, sequence } = self;
        write!(f, "{instance:016x}-{epoch:x}-{sequence}")
    }
}

impl FromStr for MessageId {
    type Err = NoMessageId;

    fn from_str(text: &str) -> Result<Self, NoMessageId> {
        let mut parts = text.split('-');
        let mut next = |radix| {
            let digits = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
            digits.and_then(|digits| u64::from_str_radix(digits, radix).ok()).ok_or(NoMessageId)
        };
        let id = Self { instance: next(16)?, epoch: next(16)?, sequence: next(10)? };
        if parts.next().is_some() { Err(NoMessageId) } else { Ok(id) }
    }
}

/// Not an id of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x-ptp-message-id is no id of the form instance-epoch-sequence")]
pub struct NoMessageId;

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for id in [
            MessageId { instance: 0, epoch: 0, sequence: 0 },
            MessageId { instance: u64::MAX, epoch: u64::MAX, sequence: u64::MAX },
            MessageId { instance: 0xabc, epoch: 0x0019_3a5b_4c5d, sequence: 17 },
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn what_is_no_id_is_not_read_as_one() {
        for text in ["", "1", "1-2", "1-2-3-4", "+1-2-3", "g-0-0", "1--3", "1-2-a", "99999999999999999-0-0"] {
            assert_eq!(text.parse::<MessageId>(), Err(NoMessageId), "{text}");
        }
    }
}
