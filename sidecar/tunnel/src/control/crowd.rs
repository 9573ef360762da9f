//! Strangers that gave way at a port, as the audit log is told of them: a flood of them is a line a minute. A pure structure.

use std::time::{Duration, Instant};

/// A flood brings thousands in a second, and a log is there to be read.
const EVERY: Duration = Duration::from_secs(60);

/// Those that nobody was told of.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    untold: u64,
    told: Option<Instant>,
}

impl Crowd {
    /// One more gave way at `now`. How many are to be told of, this one among them; `None`: it is too early.
    pub(super) fn gave_way(&mut self, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(1);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_a_flood_once_a_minute_with_its_number() {
        let (mut crowd, start) = (Crowd::default(), Instant::now());
        let told: Vec<_> = (0..150).filter_map(|n| crowd.gave_way(start + Duration::from_secs(n))).collect();
        assert_eq!(told, [1, 60, 60]);
        assert_eq!(crowd.gave_way(start + Duration::from_secs(1000)), Some(30));
    }
}
