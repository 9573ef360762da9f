//! Whether an object changed in what its controllers look at: all but its status, which they write themselves. Without this each
//! status that is written would have its node looked at from the beginning.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use kube::ResourceExt;
use parking_lot::Mutex;

/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// How objects looked last: a sum of each.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    sums: Mutex<HashMap<Key, u64>>,
    hasher: RandomState,
}

impl Shapes {
    /// It is seen. Answers whether it looks otherwise than before.
    pub(crate) fn changed(&self, kind: &'static str, object: &impl ResourceExt) -> bool {
        let meta = object.meta();
        let sum = self.hasher.hash_one((
            (&meta.uid, meta.generation, &meta.finalizers),
            (&meta.labels, &meta.annotations, meta.deletion_timestamp.as_ref().map(|at| at.0)),
        ));
        self.sums.lock().insert(key(kind, object), sum) != Some(sum)
    }

    /// It is gone.
    pub(crate) fn forget(&self, kind: &'static str, object: &impl ResourceExt) {
        self.sums.lock().remove(&key(kind, object));
    }

    /// A full list is there: those of a kind that it lacks are gone.
    pub(crate) fn keep(&self, kind: &'static str, is_there: impl Fn(&str, &str) -> bool) {
        self.sums.lock().retain(|(of, namespace, name), _| *of != kind || is_there(namespace, name));
    }
}

fn key(kind: &'static str, object: &impl ResourceExt) -> Key {
    (kind, object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::sample;

    #[test]
    fn a_status_is_no_change_and_all_else_is_one() {
        let shapes = Shapes::default();
        let mut node = sample::node("a", "LX1");
        node.metadata.generation = Some(1);
        let changed = |node: &crds::MeshNode| shapes.changed("MeshNode", node);
        assert!(changed(&node), "it was never seen");
        node.metadata.resource_version = Some("2".into());
        node.status = Some(crds::MeshNodeStatus::default());
        assert!(!changed(&node));
        for change in [
            (|node| node.metadata.generation = Some(2)) as fn(&mut crds::MeshNode),
            |node| node.metadata.uid = Some("another".into()),
            |node| drop(node.annotations_mut().insert("interconn.dev/roll-root".into(), "1".into())),
            |node| drop(node.labels_mut().insert("l".into(), "1".into())),
            |node| node.metadata.finalizers = Some(vec!["f".into()]),
        ] {
            change(&mut node);
            assert!(changed(&node) && !changed(&node));
        }
        shapes.keep("MeshNode", |_, _| false);
        assert!(changed(&node), "one that went and came again is another one");
        shapes.forget("MeshNode", &node);
        assert!(changed(&node));
    }
}
