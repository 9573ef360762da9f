//! Which addresses of a partner rest after a failure, and in which order the others are asked (PTP section 11.4).

use std::time::Duration;

use tokio::time::Instant;

/// The rest after a first failure: long enough that a burst of calls does not all wait for a dead address.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest rest: the interval of health checks (PTP section 11.4).
pub(super) const LONGEST_REST: Duration = Duration::from_secs(12);

/// The longest rest of a gateway: its node's own calls wait for it, and it is a process that starts anew within seconds.
pub(super) const GATEWAY_REST: Duration = FIRST_REST;

/// An address that no call uses is asked this often (PTP section 11.4).
const CHECK: Duration = Duration::from_secs(12);
/// The part of a rest or of an interval that chance takes off.
const SPREAD: f64 = 0.25;

/// A dial that fails after this long costs every call that makes it; one that fails sooner costs nothing.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// What is known of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    longest_rest: Duration,
    failures: u32,
    rests_until: Option<Instant>,
    fails_slowly: bool,
    /// When something was last known of it.
    heard: Option<Instant>,
    has_answered: bool,
}

impl Health {
    /// Of an address that was never asked: its first check comes when it was idle for a while; that of a gateway at once, so that
    /// a connection is there before the first call.
    pub(super) fn new(now: Instant, longest_rest: Duration) -> Self {
        let heard = (longest_rest != GATEWAY_REST).then_some(now);
        Self { heard, ..Self::resting(longest_rest) }
    }

    fn resting(longest_rest: Duration) -> Self {
        Self { longest_rest, failures: 0, rests_until: None, fails_slowly: false, heard: None, has_answered: false }
    }

    /// A dial or a check failed after `took`. `chance`, from 0 to 1, spreads the end of the rest: partners that were cut off
    /// together do not come back together.
    pub(super) fn failed(&mut self, now: Instant, took: Duration, chance: f64) {
        self.fails_slowly = took >= SLOW;
        let rest =
            FIRST_REST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.longest_rest);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(now + rest.mul_f64(1.0 - SPREAD * chance.clamp(0.0, 1.0)));
        self.heard = Some(now);
    }

    /// It was asked, or it answered.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// It is asked at the next look.
    pub(super) fn ask_soon(&mut self) {
        self.heard = None;
    }

    /// Whether nothing was heard for so long that it is to be asked (PTP section 11.4); `chance` spreads it.
    pub(super) fn is_idle(&self, now: Instant, chance: f64) -> bool {
        let due = CHECK.mul_f64(1.0 - SPREAD * chance.clamp(0.0, 1.0));
        !self.is_failing() && self.heard.is_none_or(|heard| heard + due <= now)
    }

    pub(super) fn answered(&mut self) {
        *self = Self { heard: self.heard, has_answered: true, ..Self::resting(self.longest_rest) };
    }

    /// Whether anything ever answered here.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether the last try failed.
    pub(super) fn is_failing(&self) -> bool {
        self.rests_until.is_some()
    }

    /// Whether calls fail at once instead of dialling: the last dial swallowed their time, and the address rests.
    pub(super) fn refuses(&self, now: Instant) -> bool {
        self.fails_slowly && self.rests_until.is_some_and(|until| until > now)
    }

    /// Whether it failed and has rested.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until <= now)
    }
}

/// The order in which addresses are asked: those that work first, each group as the route has it. A failing one is asked by
/// calls only when no other is left; in between it is tried on the side.
pub(super) fn order(all: &[Health]) -> Vec<usize> {
    if all.len() == 1 {
        return vec![0];
    }
    let (failing, working): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(_, health)| health.is_failing());
    working.into_iter().chain(failing).map(|(i, _)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_that_works_is_asked_first_and_takes_over_again() {
        let now = Instant::now();
        let mut all = [Health::resting(LONGEST_REST); 3];
        assert_eq!(order(&all), [0, 1, 2]);
        all[0].failed(now, Duration::ZERO, 0.0);
        assert_eq!(order(&all), [1, 2, 0]);
        all[1].failed(now, Duration::ZERO, 0.0);
        assert_eq!(order(&all), [2, 0, 1]);
        all[0].answered();
        assert_eq!(order(&all), [0, 2, 1]);
    }

    #[test]
    fn the_rest_grows_to_the_interval_of_health_checks() {
        let now = Instant::now();
        let mut health = Health::resting(LONGEST_REST);
        let mut rests = Vec::new();
        for _ in 0..40 {
            health.failed(now, Duration::ZERO, 0.0);
            rests.push(health.rests_until.unwrap() - now);
        }
        let seconds: Vec<u64> = rests.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds[..6], [1, 2, 4, 8, 12, 12]);
        assert_eq!(seconds[39], 12);
        assert!(!health.is_due(now + Duration::from_secs(11)));
        assert!(health.is_due(now + Duration::from_secs(12)));
    }

    #[test]
    fn a_gateway_is_tried_again_every_second() {
        let now = Instant::now();
        let mut health = Health::new(now, GATEWAY_REST);
        (0..40).for_each(|_| health.failed(now, Duration::ZERO, 0.0));
        assert!(health.is_due(now + GATEWAY_REST));
        health.answered();
        health.failed(now, Duration::ZERO, 0.0);
        assert!(health.is_due(now + GATEWAY_REST), "also after it was back");
    }

    #[test]
    fn an_address_that_swallows_time_is_not_dialled_by_calls_while_it_rests() {
        let now = Instant::now();
        let table = [(Duration::from_millis(10), false), (Duration::from_millis(2500), true)];
        for (took, refuses) in table {
            let mut health = Health::resting(LONGEST_REST);
            health.failed(now, took, 0.0);
            assert_eq!(health.refuses(now), refuses, "{took:?}");
            assert!(!health.refuses(now + FIRST_REST), "it has rested");
            health.answered();
            assert!(!health.refuses(now));
        }
    }

    #[test]
    fn those_that_were_cut_off_together_do_not_come_back_together() {
        let now = Instant::now();
        let rests: Vec<Duration> = (0..=4)
            .map(|n| {
                let mut health = Health::resting(LONGEST_REST);
                (0..5).for_each(|_| health.failed(now, Duration::ZERO, f64::from(n) / 4.0));
                health.rests_until.unwrap() - now
            })
            .collect();
        assert_eq!((rests[0], rests[4]), (LONGEST_REST, Duration::from_secs(9)));
        assert!(rests.windows(2).all(|two| two[0] > two[1]));
    }

    #[test]
    fn an_address_of_which_nothing_was_heard_for_twelve_seconds_is_asked() {
        let now = Instant::now();
        let mut health = Health::resting(LONGEST_REST);
        assert!(health.is_idle(now, 0.0), "nothing is known yet");
        health.heard(now);
        assert!(!health.is_idle(now + Duration::from_secs(8), 1.0));
        assert!(
            health.is_idle(now + Duration::from_secs(9), 1.0) && !health.is_idle(now + Duration::from_secs(11), 0.0)
        );
        assert!(health.is_idle(now + CHECK, 0.0));
        health.failed(now, Duration::ZERO, 0.0);
        assert!(!health.is_idle(now + CHECK, 0.0), "one that fails is tried when it has rested");
    }
}
