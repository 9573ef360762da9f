//! What the node controller found out about each route and registration, kept for their own controllers.

use std::collections::HashMap;

use crds::intake::Reach;
use kube::ResourceExt;
use parking_lot::RwLock;

use crate::node::Problem;

/// The verdict about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The resource's uid; a later one of the same name is another resource.
    pub(crate) uid: String,
    /// The generation that was judged.
    pub(crate) generation: i64,
    /// Whether it is part of the configuration.
    pub(crate) is_accepted: bool,
    /// Why not, or what people should know.
    pub(crate) problems: Vec<Problem>,
    /// Whether the configuration that it is part of was written.
    pub(crate) is_written: bool,
    /// Of a route: the sha256 of each root that it trusts.
    pub(crate) roots: Vec<String>,
    /// Of a route: what the gateway reported of each address; `None`: nothing.
    pub(crate) reach: Option<Vec<Reach>>,
    /// Of a route: when the certificates end that were shown there, in seconds since 1970.
    pub(crate) certificates: Vec<Option<i64>>,
}

impl Verdict {
    /// Whether it speaks of the object in this very form.
    pub(crate) fn is_of(&self, object: &impl ResourceExt) -> bool {
        object.uid().as_deref() == Some(&self.uid) && object.meta().generation == Some(self.generation)
    }

    /// The word for conditions and Events.
    pub(crate) fn reason(&self) -> &'static str {
        self.problems.first().map_or("Accepted", Problem::reason)
    }

    /// The sentences, with their remedies.
    pub(crate) fn text(&self) -> String {
        self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// Namespace and name of a node.
type Key = (String, String);

/// All verdicts.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(RwLock<HashMap<Key, HashMap<String, Verdict>>>);

impl Verdicts {
    /// The verdict that the node `node` led to about the resource `name`.
    pub(crate) fn get(&self, namespace: &str, node: &str, name: &str) -> Option<Verdict> {
        self.0.read().get(&(namespace.into(), node.into()))?.get(name).cloned()
    }

    /// Keeps what a node led to. Answers the names of those for which something changed.
    pub(crate) fn put(&self, namespace: &str, node: &str, verdicts: HashMap<String, Verdict>) -> Vec<String> {
        let mut all = self.0.write();
        let old = all.get(&(namespace.to_owned(), node.to_owned()));
        let changed = verdicts
            .iter()
            .filter(|(name, verdict)| old.and_then(|old| old.get(*name)) != Some(verdict))
            .map(|(name, _)| name.clone())
            .collect();
        all.insert((namespace.into(), node.into()), verdicts);
        changed
    }

    /// The nodes that were judged, by namespace and name.
    pub(crate) fn nodes(&self) -> Vec<Key> {
        self.0.read().keys().cloned().collect()
    }

    /// The node is gone.
    pub(crate) fn forget(&self, namespace: &str, node: &str) {
        self.0.write().remove(&(namespace.to_owned(), node.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let verdicts = Verdicts::default();
        let verdict = |generation| Verdict {
            uid: "u".into(),
            generation,
            is_accepted: true,
            problems: Vec::new(),
            is_written: true,
            roots: Vec::new(),
            reach: None,
            certificates: Vec::new(),
        };
        let both = |a, b| HashMap::from([("a".to_owned(), verdict(a)), ("b".to_owned(), verdict(b))]);
        assert_eq!(verdicts.put("ns", "n", both(1, 1)).len(), 2);
        assert!(verdicts.put("ns", "n", both(1, 1)).is_empty());
        assert_eq!(verdicts.put("ns", "n", both(1, 2)), ["b"]);
        assert_eq!(verdicts.get("ns", "n", "b").map(|v| v.generation), Some(2));
        assert_eq!(verdicts.nodes(), [("ns".to_owned(), "n".to_owned())]);
        verdicts.forget("ns", "n");
        assert!(verdicts.nodes().is_empty());
        assert_eq!(verdicts.get("ns", "n", "b"), None);
    }
}
