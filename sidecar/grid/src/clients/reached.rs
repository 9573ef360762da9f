//! How many a publication reached, message by message (G-8).

use crate::Unsent;

/// How many a message reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Connections that accepted it.
    pub sent: usize,
    /// Subscribed connections that did not.
    pub failed: usize,
    /// Those of them whose queue was full.
    pub slow: usize,
    /// Those of them whose listener has a smaller limit.
    pub too_large: usize,
}

impl Reached {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent.saturating_add(other.sent),
            failed: self.failed.saturating_add(other.failed),
            slow: self.slow.saturating_add(other.slow),
            too_large: self.too_large.saturating_add(other.too_large),
        }
    }

    pub(super) fn count(&mut self, taken: Result<(), Unsent>) {
        match taken {
            Ok(()) => self.sent += 1,
            Err(unsent) => {
                self.failed += 1;
                self.slow += usize::from(unsent == Unsent::Slow);
                self.too_large += usize::from(unsent == Unsent::TooLarge);
            }
        }
    }
}

/// What became of messages that go out together.
#[derive(Debug)]
pub(super) struct Tally {
    /// Connections that accepted all of them: nearly all do.
    pub(super) whole: usize,
    /// Of all others, message by message.
    pub(super) each: Vec<Reached>,
}

impl Tally {
    pub(super) fn of(messages: usize) -> Self {
        Self { whole: 0, each: vec![Reached::default(); messages] }
    }

    pub(super) fn into_reached(mut self) -> Vec<Reached> {
        self.each.iter_mut().for_each(|reached| reached.sent += self.whole);
        self.each
    }
}
