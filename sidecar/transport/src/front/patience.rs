//! How long a call may take (PTP decision D7, sections 9.2 and 9.3). Pure: lengths in, lengths out.

use tokio::time::{Duration, Instant};

use super::call::Patience;
use crate::channels::Wait;

/// What a pop without a timeout gets (PTP section 9.3).
const POP_DEFAULT: Duration = Duration::from_secs(120);

/// No call waits longer, whatever it asks for: a connection held for a day is forgotten by everything in between, and the
/// sum with the present must not overflow.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a peek or release at a partner gets: the shortest deadline seen from real clients (PTP section 6.3).
const HOP_DEFAULT: Duration = Duration::from_secs(10);

/// How much earlier than its limit an answer leaves, so that the caller still has it in time: a twentieth, 10 to 500 ms
/// (PTP section 9.3).
pub(crate) fn margin(limit: Duration) -> Duration {
    (limit / 20).clamp(Duration::from_millis(10), Duration::from_millis(500))
}

/// `limit` less its margin.
pub(crate) fn less_margin(limit: Duration) -> Duration {
    limit.saturating_sub(margin(limit))
}

/// The limit of which `left` is left when its margin is off.
pub(crate) fn with_margin(left: Duration) -> Duration {
    // The twentieth of a limit is the nineteenth part of what it leaves.
    left.saturating_add((left / 19).clamp(Duration::from_millis(10), Duration::from_millis(500)))
}

impl Patience {
    /// A call that came now over a protocol without deadlines.
    pub(crate) fn from_now(limit: Option<Duration>) -> Self {
        Self { since: Instant::now(), limit }
    }

    /// When the answer of a pop must leave.
    pub(crate) fn pop(&self, named: Option<Duration>) -> Instant {
        let limit = named.unwrap_or(POP_DEFAULT).min(self.limit.unwrap_or(LONGEST)).min(LONGEST);
        self.since + less_margin(limit)
    }

    /// When a push gives up waiting for room; `default` is `transport.pushTimeout`.
    pub(crate) fn push(&self, named: Option<Duration>, default: Duration) -> Instant {
        self.since + self.wait(named, default)
    }

    /// How long the body of a call waits for room: as long as a push, and the time in which it comes does not count, unless
    /// its caller is known to be gone.
    pub(crate) fn room(&self, named: Option<Duration>, default: Duration) -> Wait {
        let until = self.limit.map(|limit| self.since + less_margin(limit).min(LONGEST));
        Wait { left: self.wait(named, default), until }
    }

    fn wait(&self, named: Option<Duration>, default: Duration) -> Duration {
        let wait = match (named, self.limit.map(less_margin)) {
            (Some(named), Some(limit)) => named.min(limit),
            (Some(wait), None) | (None, Some(wait)) => wait,
            (None, None) => default,
        };
        wait.min(LONGEST)
    }

    /// When a generic call at a partner gives up: what it does there is not known here, so it may take as long as a pop.
    pub(crate) fn onward(&self, named: Option<Duration>) -> Instant {
        self.since + named.or(self.limit).unwrap_or(POP_DEFAULT).min(LONGEST)
    }

    /// When a peek or release at a partner gives up.
    pub(crate) fn hop(&self) -> Instant {
        self.since + self.limit.map_or(HOP_DEFAULT, less_margin).min(HOP_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_margin_is_a_twentieth_within_bounds() {
        for (limit, expected) in [(1, 0), (10, 0), (100, 90), (700, 665), (10_000, 9_500), (120_000, 119_500)] {
            assert_eq!(less_margin(ms(limit)), ms(expected), "{limit}");
        }
    }

    #[test]
    fn a_margin_is_put_on_as_it_is_taken_off() {
        for left in [1, 90, 190, 665, 9_025, 9_500, 119_500] {
            let again = less_margin(with_margin(ms(left)));
            assert!(again.abs_diff(ms(left)) <= ms(1), "{left}: {again:?}");
        }
    }

    #[test]
    fn a_pop_answers_before_the_shorter_of_both_limits() {
        let table = [
            // named, grpc-timeout, answers after
            (None, None, 119_500),
            (Some(700), None, 665),
            (Some(700), Some(5_000), 665),
            (Some(5_000), Some(700), 665),
            (None, Some(700), 665),
        ];
        for (named, limit, expected) in table {
            let patience = Patience::from_now(limit.map(ms));
            assert_eq!(patience.pop(named.map(ms)), patience.since + ms(expected), "{named:?} {limit:?}");
        }
    }

    #[test]
    fn a_push_waits_as_long_as_it_says_else_as_its_deadline_allows_else_as_is_set() {
        let table =
            [(None, None, 10_000), (Some(50), None, 50), (None, Some(1_000), 950), (Some(9_000), Some(1_000), 950)];
        for (named, limit, expected) in table {
            let patience = Patience::from_now(limit.map(ms));
            assert_eq!(patience.push(named.map(ms), ms(10_000)), patience.since + ms(expected), "{named:?} {limit:?}");
            let until = limit.map(|limit| patience.since + less_margin(ms(limit)));
            assert_eq!(patience.room(named.map(ms), ms(10_000)), Wait { left: ms(expected), until });
        }
    }

    #[test]
    fn no_timeout_is_too_long_to_be_added() {
        let patience = Patience::from_now(Some(Duration::MAX));
        let longest = patience.since + LONGEST;
        assert!(patience.pop(Some(Duration::MAX)) <= longest && patience.push(Some(Duration::MAX), ms(1)) <= longest);
    }
}
