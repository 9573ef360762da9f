//! Since when each node has had the configuration that it has: pods have time to follow.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The kubelet looks within a minute and a half where nobody nudges it, and `mesh` within ten seconds after that.
const TO_FOLLOW: Duration = Duration::from_secs(180);

/// Namespace and name of a node.
type Key = (String, String);

/// By node, the hash of its configuration and when it was seen first.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<HashMap<Key, (String, Instant)>>);

impl Written {
    /// How long pods still have to follow; `None`: they have had their time.
    pub(crate) fn left(&self, namespace: &str, node: &str, hash: &str, now: Instant) -> Option<Duration> {
        let mut all = self.0.lock();
        let since = match all.get(&(namespace.to_owned(), node.to_owned())) {
            Some((known, since)) if known == hash => *since,
            _ => {
                all.insert((namespace.into(), node.into()), (hash.into(), now));
                now
            }
        };
        TO_FOLLOW.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero())
    }

    /// The node is gone.
    pub(crate) fn forget(&self, namespace: &str, node: &str) {
        self.0.lock().remove(&(namespace.to_owned(), node.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_new_configuration_gives_pods_their_time_again() {
        let (written, start) = (Written::default(), Instant::now());
        assert_eq!(written.left("ns", "a", "1", start), Some(TO_FOLLOW));
        assert_eq!(written.left("ns", "a", "1", start + TO_FOLLOW / 3), Some(TO_FOLLOW * 2 / 3));
        assert_eq!(written.left("ns", "a", "1", start + TO_FOLLOW), None);
        assert_eq!(written.left("ns", "a", "2", start + TO_FOLLOW), Some(TO_FOLLOW));
        written.forget("ns", "a");
        assert!(written.0.lock().is_empty());
    }
}
