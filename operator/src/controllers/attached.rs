//! Which node each route and registration was last seen to belong to: the node that it leaves must hear of it, also when
//! nobody was watching at that moment.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// The node of each route and registration.
#[derive(Debug, Default)]
pub(crate) struct Attached(Mutex<HashMap<Key, String>>);

impl Attached {
    /// It is seen, and belongs to `node`; `None` when it cannot be read. Answers the nodes to look at.
    pub(crate) fn seen(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
        node: Option<String>,
    ) -> BTreeSet<String> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let mut all = self.0.lock();
        let before = match &node {
            Some(node) => all.insert(key, node.clone()),
            None => all.remove(&key),
        };
        before.into_iter().chain(node).collect()
    }

    /// A full list is there. Forgets those of a kind that it lacks; answers namespace and node of each.
    pub(crate) fn lost(&self, kind: &'static str, is_there: impl Fn(&str, &str) -> bool) -> BTreeSet<(String, String)> {
        let mut all = self.0.lock();
        let gone = all.extract_if(|(of, namespace, name), _| *of == kind && !is_there(namespace, name));
        gone.map(|((_, namespace, _), node)| (namespace, node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_node_that_is_left_hears_and_the_one_that_is_joined() {
        let attached = Attached::default();
        assert_eq!(attached.seen("MeshRoute", "ns", "r", Some("a".into())), nodes(&["a"]));
        assert_eq!(attached.seen("MeshRoute", "ns", "r", Some("a".into())), nodes(&["a"]));
        assert_eq!(attached.seen("MeshRoute", "ns", "r", Some("b".into())), nodes(&["a", "b"]));
        assert_eq!(attached.seen("MeshRoute", "ns", "r", None), nodes(&["b"]));
        assert_eq!(attached.seen("MeshRoute", "ns", "r", None), nodes(&[]));
    }

    /// A route that is deleted while the watch is broken must not stay in force until the next look without a cause.
    #[test]
    fn what_went_while_nobody_watched_is_told_once_the_list_is_there() {
        let attached = Attached::default();
        for (kind, name) in [("MeshRoute", "kept"), ("MeshRoute", "gone"), ("ServiceRegistration", "gone")] {
            attached.seen(kind, "ns", name, Some("a".into()));
        }
        let lost = |kind| attached.lost(kind, |_, name| name == "kept");
        assert_eq!(lost("MeshRoute"), BTreeSet::from([("ns".to_owned(), "a".to_owned())]));
        assert!(lost("MeshRoute").is_empty());
        assert_eq!(attached.seen("ServiceRegistration", "ns", "gone", None), nodes(&["a"]), "another kind's");
    }
}
