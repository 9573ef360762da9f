//! How long the writer waits for company. Pure.
//!
//! Callers that were answered together come again together, a moment later. A group that is begun with the first of them
//! makes the others wait for a whole fsync, and the disk works twice for what one fsync could do. So the writer waits a
//! little for as many as there were, and not at all where an fsync is cheap or nobody was there.

use std::time::{Duration, Instant};

/// The share of an fsync that is spent on waiting, at most.
const SHARE: u32 = 4;

/// Below this waiting gains nothing: a thread sleeps no more exactly than that.
const SHORTEST: Duration = Duration::from_micros(50);

/// A disk that takes longer is under way for others too; waiting longer would only add to that.
const LONGEST: Duration = Duration::from_millis(2);

/// One fsync counts as so many times the average at most: one of many that meets others on the disk takes a hundred times as long,
/// and says nothing of the next.
const LEAP: u32 = 2;

/// How long the writer waits for company.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many there were at the last fsync: in the group, and come meanwhile.
    there: usize,
    /// How long an fsync takes, on average.
    takes: Duration,
    /// Until when it is waited.
    until: Option<Instant>,
}

impl Pace {
    /// A group was written that took `took` and is answered `now`; `there`: its records, and those that wait by now.
    pub(super) fn wrote(&mut self, took: Duration, there: usize, now: Instant) {
        self.takes = if self.takes.is_zero() { took } else { (self.takes * 7 + took.min(self.takes * LEAP)) / 8 };
        self.there = there;
        let wait = (self.takes / SHARE).min(LONGEST);
        self.until = (wait >= SHORTEST).then(|| now + wait);
    }

    /// How many to wait for, and until when, where `waiting` are there already.
    pub(super) fn company(&self, waiting: usize, now: Instant) -> Option<(usize, Instant)> {
        let until = self.until.filter(|until| *until > now)?;
        (waiting < self.there).then_some((self.there, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_as_many_as_there_were_and_a_quarter_of_an_fsync_at_most() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.company(0, now), None, "nobody was there yet");
        pace.wrote(Duration::from_millis(4), 16, now);
        assert_eq!(pace.company(3, now), Some((16, now + Duration::from_millis(1))));
        assert_eq!(pace.company(16, now), None, "all are there");
        assert_eq!(pace.company(3, now + Duration::from_millis(1)), None, "the time is up");
        pace.wrote(Duration::from_millis(4), 1, now);
        assert_eq!(pace.company(1, now), None, "one alone waits for nobody");
    }

    #[test]
    fn one_that_was_held_up_does_not_make_all_others_wait() {
        let (mut pace, now, usual) = (Pace::default(), Instant::now(), Duration::from_micros(400));
        pace.wrote(usual, 16, now);
        pace.wrote(Duration::from_millis(40), 16, now);
        assert_eq!(pace.company(3, now), Some((16, now + usual * 9 / 8 / SHARE)));
        (0..40).for_each(|_| pace.wrote(usual * 10, 16, now));
        assert!(pace.company(3, now).unwrap().1 > now + usual * 9 / SHARE, "but a slower disk is believed");
    }

    #[test]
    fn a_fast_disk_needs_no_company() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.wrote(Duration::from_micros(40), 16, now);
        assert_eq!(pace.company(1, now), None);
    }
}
