//! When something that failed is tried again: later each time, and never all at once.

use std::{collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;
use rand::Rng;

/// The first retry: most failures are conflicts that are over at once.
const FIRST: Duration = Duration::from_millis(500);
/// No retry is later than this: nobody waits for longer after mending something that we do not follow.
const LAST: Duration = Duration::from_secs(120);

/// Failures in a row, by subject.
#[derive(Debug)]
pub(crate) struct Backoff<S>(Mutex<HashMap<S, u32>>);

impl<S: Hash + Eq> Backoff<S> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// How long to wait after one more failure.
    pub(crate) fn failed(&self, subject: S) -> Duration {
        let mut failures = self.0.lock();
        let count = failures.entry(subject).or_default();
        *count = count.saturating_add(1);
        // Between half and the whole of the step, so that a thousand failures do not come back in one moment.
        step(*count).mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// It worked.
    pub(crate) fn worked(&self, subject: &S) {
        self.0.lock().remove(subject);
    }
}

fn step(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double_up_to_the_last() {
        assert_eq!([1, 2, 3].map(step), [FIRST, FIRST * 2, FIRST * 4]);
        assert_eq!(step(u32::MAX), LAST);
    }

    #[test]
    fn success_starts_anew() {
        let backoff = Backoff::new();
        for _ in 0..10 {
            backoff.failed("a");
        }
        backoff.worked(&"a");
        assert!(backoff.failed("a") <= FIRST);
    }
}
