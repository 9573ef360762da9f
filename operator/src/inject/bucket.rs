//! How many Events about pods are published: so many of one namespace, and so many of all.
//!
//! Whoever reaches the webhook's port may post reviews of pods that nobody creates. Pure: time comes in as a value.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A rollout of one workload says the same of each pod; the first few are enough for people.
const OF_ONE_NAMESPACE: f64 = 10.0;
/// After those, one in a second.
const A_SECOND_OF_ONE: f64 = 1.0;
/// Of all namespaces together: what the API server takes from one client without being asked twice.
const OF_ALL: f64 = 50.0;
/// After those, ten in a second.
const A_SECOND_OF_ALL: f64 = 10.0;
/// A full bucket says nothing that a new one would not; those are forgotten when there are so many.
const REMEMBERED: usize = 1024;

/// What is left.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    all: Option<Bucket>,
    of_namespace: HashMap<String, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, (most, a_second): (f64, f64), now: Instant) -> Self {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * a_second;
        Self { left: (self.left + more).min(most), at: now }
    }
}

impl Buckets {
    /// Whether one more Event of a namespace may be published.
    pub(super) fn take(&mut self, namespace: &str, now: Instant) -> bool {
        let all = self.all.unwrap_or(Bucket { left: OF_ALL, at: now }).filled((OF_ALL, A_SECOND_OF_ALL), now);
        let own = self.of_namespace.get(namespace).copied();
        let own = own.unwrap_or(Bucket { left: OF_ONE_NAMESPACE, at: now });
        let own = own.filled((OF_ONE_NAMESPACE, A_SECOND_OF_ONE), now);
        let may = all.left >= 1.0 && own.left >= 1.0;
        let taken = if may { 1.0 } else { 0.0 };
        self.all = Some(Bucket { left: all.left - taken, ..all });
        if self.of_namespace.len() >= REMEMBERED {
            let full = Duration::from_secs_f64(OF_ONE_NAMESPACE / A_SECOND_OF_ONE);
            self.of_namespace.retain(|_, bucket| now.saturating_duration_since(bucket.at) < full);
        }
        if self.of_namespace.len() < REMEMBERED || self.of_namespace.contains_key(namespace) {
            self.of_namespace.insert(namespace.to_owned(), Bucket { left: own.left - taken, ..own });
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_reviews_make_few_events_and_do_not_silence_other_namespaces() {
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        let loud = (0..10_000).filter(|_| buckets.take("loud", now)).count();
        assert_eq!(loud, 10);
        assert!(buckets.take("quiet", now));
        assert!(buckets.take("loud", now + Duration::from_secs(1)));
        assert!(!buckets.take("loud", now + Duration::from_secs(1)));
    }

    #[test]
    fn many_namespaces_share_one_bound_and_are_forgotten() {
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        let told = (0..10_000).filter(|n| buckets.take(&format!("n{n}"), now)).count();
        assert_eq!(told, 50);
        assert!(buckets.of_namespace.len() <= REMEMBERED);
        assert!(buckets.take("later", now + Duration::from_secs(60)));
    }
}
