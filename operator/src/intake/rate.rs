//! How often somebody may call: a few times at once, then one a second. Pure; time comes in as a value.
//!
//! The desk keeps one for pods, by their uids, and one for the addresses that callers whom nobody knows come from.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A start-up reports and asks for a handful of things.
const AT_ONCE: u32 = 20;
/// After that, one for each of these.
const EACH: Duration = Duration::from_secs(1);
/// Callers that are remembered. Those that waited longest are full again and need not be.
const CALLERS: usize = 8192;

/// What each caller has left.
#[derive(Debug, Default)]
pub(super) struct Rate(HashMap<String, Left>);

#[derive(Clone, Copy, Debug)]
struct Left {
    /// The moment at which it would have all again.
    full_at: Instant,
    /// Whether it was told since its last call that it has none.
    is_told: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is served.
    Taken,
    /// The caller has none left, and this is the first time since its last call: worth a line in the log.
    Refused,
    /// As the one before.
    RefusedAgain,
}

impl Rate {
    /// Takes one call of a caller.
    pub(super) fn take(&mut self, caller: &str, now: Instant) -> Turn {
        if self.0.len() >= CALLERS {
            self.0.retain(|_, left| left.full_at > now);
        }
        let known = self.0.get(caller).copied().filter(|left| left.full_at > now);
        let after = known.map_or(now, |left| left.full_at) + EACH;
        if known.is_none() && self.0.len() >= CALLERS {
            return Turn::RefusedAgain;
        }
        match known {
            Some(left) if after > now + EACH * AT_ONCE => {
                self.0.insert(caller.to_owned(), Left { is_told: true, ..left });
                if left.is_told { Turn::RefusedAgain } else { Turn::Refused }
            }
            _ => {
                self.0.insert(caller.to_owned(), Left { full_at: after, is_told: false });
                Turn::Taken
            }
        }
    }

    /// Gives one call back that was taken and is not to count.
    pub(super) fn give_back(&mut self, caller: &str) {
        if let Some(left) = self.0.get_mut(caller) {
            left.full_at = left.full_at.checked_sub(EACH).unwrap_or(left.full_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rate: &mut Rate, caller: &str, now: Instant) -> bool {
        rate.take(caller, now) == Turn::Taken
    }

    #[test]
    fn a_pod_has_its_calls_and_gets_them_back_and_takes_nobody_elses() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let count = (0..100).filter(|_| taken(&mut rate, "a", start)).count();
        assert_eq!(count, AT_ONCE as usize);
        assert!(taken(&mut rate, "b", start));
        assert!(!taken(&mut rate, "a", start) && taken(&mut rate, "a", start + EACH));
        assert!(!taken(&mut rate, "a", start + EACH));
        let later = start + EACH * 1000;
        assert_eq!((0..100).filter(|_| taken(&mut rate, "a", later)).count(), AT_ONCE as usize);
    }

    #[test]
    fn a_caller_is_told_once_that_it_has_none_left_and_what_is_given_back_counts_again() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(rate.take("a", start), Turn::Taken);
        }
        assert_eq!([rate.take("a", start), rate.take("a", start)], [Turn::Refused, Turn::RefusedAgain]);
        assert_eq!(rate.take("a", start + EACH), Turn::Taken);
        assert_eq!(rate.take("a", start + EACH), Turn::Refused, "a new series");
        rate.give_back("a");
        rate.give_back("nobody");
        assert_eq!([rate.take("a", start + EACH), rate.take("a", start + EACH)], [Turn::Taken, Turn::Refused]);
    }

    #[test]
    fn the_number_of_callers_that_are_remembered_is_bounded() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let count = (0..2 * CALLERS).filter(|n| taken(&mut rate, &n.to_string(), start)).count();
        assert_eq!((count, rate.0.len()), (CALLERS, CALLERS));
        assert!(taken(&mut rate, "late", start + EACH * 2), "those that are full again make room");
    }
}
