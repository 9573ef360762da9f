//! When to try again. Pure: luck and time come in.

use std::time::Duration;

/// The first pause: a server that was started again is there by then.
const FIRST: Duration = Duration::from_millis(500);
/// The longest: how long a node may be away once its server is back.
const LONGEST: Duration = Duration::from_secs(30);
/// A tunnel that lasted so long was a good one; one that ends sooner is no reason to begin anew.
const GOOD: Duration = Duration::from_secs(60);

/// How often in a row it came to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failed: u32,
}

impl Backoff {
    /// A tunnel lasted for so long.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time >= GOOD {
            self.failed = 0;
        }
    }

    /// The next pause: half of what is due, and of the other half the part that `luck`, within 0 and 1, says. Nodes that lost
    /// their server at the same moment do not come back at the same moment.
    pub(super) fn pause(&mut self, luck: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failed.min(16));
        self.failed = self.failed.saturating_add(1);
        let half = doubled.min(LONGEST) / 2;
        half + half.mul_f64(luck.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_thirty_seconds_and_begin_anew_after_a_good_tunnel() {
        let mut backoff = Backoff::default();
        let millis: Vec<u128> = (0..8).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.lasted(Duration::from_secs(59));
        assert_eq!(backoff.pause(0.0).as_millis(), 15_000);
        backoff.lasted(Duration::from_secs(60));
        assert_eq!(backoff.pause(0.5).as_millis(), 375);
        backoff.failed = u32::MAX;
        assert_eq!(backoff.pause(f64::MAX), LONGEST);
    }
}
