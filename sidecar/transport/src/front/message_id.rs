//! The ids of pushes that are passed on (design section 6, "Across nodes"). A push that is sent again carries the same one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::MessageId;

/// Numbers the pushes of this process.
#[derive(Debug)]
pub(crate) struct MessageIds {
    instance: u64,
    epoch: u64,
    next: AtomicU64,
}

impl MessageIds {
    /// Begins to number: under a random instance, from now.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self { instance: rand::random(), epoch, next: AtomicU64::new(1) }
    }

    pub(crate) fn next(&self) -> MessageId {
        MessageId { instance: self.instance, epoch: self.epoch, sequence: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pushes_have_one_id_not_even_of_two_processes_that_start_together() {
        let (one, other) = (MessageIds::new(), MessageIds::new());
        let mut all = [one.next(), one.next(), other.next(), other.next()];
        all.sort();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
