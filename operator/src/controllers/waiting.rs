//! How many objects wait to be looked at: those that were poked and are not under way yet. A depth that does not come down
//! says that the operator, or the API server behind it, cannot keep up.

use std::{collections::HashSet, hash::Hash};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

/// The objects that wait. Several scopes share a gauge, so each counts up and down and never sets it.
#[derive(Debug)]
pub(crate) struct Waiting<S> {
    objects: Mutex<HashSet<S>>,
    depth: Gauge,
}

impl<S: Hash + Eq> Waiting<S> {
    pub(crate) fn new(depth: Gauge) -> Self {
        Self { objects: Mutex::default(), depth }
    }

    /// It was poked; a second time makes no difference.
    pub(crate) fn add(&self, subject: S) {
        if self.objects.lock().insert(subject) {
            self.depth.inc();
        }
    }

    /// It is under way now, or gone.
    pub(crate) fn take(&self, subject: &S) {
        if self.objects.lock().remove(subject) {
            self.depth.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_waits_once_until_it_is_under_way_whatever_scope_it_is_of() {
        let depth = Gauge::default();
        let (one, other) = (Waiting::new(depth.clone()), Waiting::new(depth.clone()));
        one.add("a");
        one.add("a");
        other.add("b");
        assert_eq!(depth.get(), 2);
        one.take(&"a");
        one.take(&"a");
        one.take(&"never poked");
        assert_eq!(depth.get(), 1);
    }
}
