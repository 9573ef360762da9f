//! How often a pod may call: a few at once, then one a second. Pure; time comes in as a value.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A start-up reports and asks for a handful of things.
const AT_ONCE: u32 = 20;
/// After that, one for each of these.
const EACH: Duration = Duration::from_secs(1);
/// Pods that are remembered. Those that waited longest are full again and need not be.
const PODS: usize = 8192;

/// What each pod has left, as the moment at which it would have all again.
#[derive(Debug, Default)]
pub(super) struct Rate(HashMap<String, Instant>);

impl Rate {
    /// Takes one call of a pod; `false`: it has none left.
    pub(super) fn take(&mut self, pod_uid: &str, now: Instant) -> bool {
        if self.0.len() >= PODS {
            self.0.retain(|_, full_at| *full_at > now);
        }
        let full_at = self.0.get(pod_uid).copied().filter(|full_at| *full_at > now).unwrap_or(now);
        let after = full_at + EACH;
        if after > now + EACH * AT_ONCE || (self.0.len() >= PODS && !self.0.contains_key(pod_uid)) {
            return false;
        }
        self.0.insert(pod_uid.to_owned(), after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_its_calls_and_gets_them_back_and_takes_nobody_elses() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let taken = (0..100).filter(|_| rate.take("a", start)).count();
        assert_eq!(taken, AT_ONCE as usize);
        assert!(rate.take("b", start));
        assert!(!rate.take("a", start) && rate.take("a", start + EACH));
        assert!(!rate.take("a", start + EACH));
        let later = start + EACH * 1000;
        assert_eq!((0..100).filter(|_| rate.take("a", later)).count(), AT_ONCE as usize);
    }

    #[test]
    fn the_number_of_pods_that_are_remembered_is_bounded() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let taken = (0..2 * PODS).filter(|n| rate.take(&n.to_string(), start)).count();
        assert_eq!((taken, rate.0.len()), (PODS, PODS));
        assert!(rate.take("late", start + EACH * 2), "those that are full again make room");
    }
}
