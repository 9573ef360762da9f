//! In which version each object of ours is, as the watches tell: what is as it was left needs not be read again.
//!
//! No content is kept. While a list is under way its kind is unknown, so that nothing that went meanwhile is taken for there.

use std::collections::HashMap;

use kube::ResourceExt;
use parking_lot::Mutex;

use super::watch::Change;

/// Namespace and name.
type Key = (String, String);

/// The objects of one kind.
#[derive(Debug, Default)]
struct Objects {
    is_whole: bool,
    versions: HashMap<Key, String>,
}

/// By kind, what the watches told last.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<HashMap<&'static str, Objects>>);

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: ask.
    Nothing,
    /// There is none with our label.
    Absent,
    /// It is in this version.
    In(String),
}

impl Versions {
    /// A watch told of a change.
    pub(crate) fn tell<K: ResourceExt>(&self, kind: &'static str, change: &Change<'_, K>) {
        let mut kinds = self.0.lock();
        let objects = kinds.entry(kind).or_default();
        match change {
            Change::Begins => *objects = Objects::default(),
            Change::Listed => objects.is_whole = true,
            Change::Gone(object) => drop(objects.versions.remove(&key(*object))),
            Change::Here(object) => {
                objects.versions.insert(key(*object), object.resource_version().unwrap_or_default());
            }
        }
    }

    /// What is known of an object.
    pub(crate) fn of(&self, kind: &'static str, namespace: &str, name: &str) -> Known {
        let kinds = self.0.lock();
        let Some(objects) = kinds.get(kind).filter(|objects| objects.is_whole) else { return Known::Nothing };
        let version = objects.versions.get(&(namespace.to_owned(), name.to_owned()));
        version.map_or(Known::Absent, |version| Known::In(version.clone()))
    }

    /// Whether an object of this kind and namespace has a name for which `wanted` holds; also where nothing is known.
    pub(crate) fn may_have(&self, kind: &'static str, namespace: &str, wanted: impl Fn(&str) -> bool) -> bool {
        let kinds = self.0.lock();
        let Some(objects) = kinds.get(kind).filter(|objects| objects.is_whole) else { return true };
        objects.versions.keys().any(|(of, name)| of == namespace && wanted(name))
    }
}

fn key(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    const KIND: &str = "ConfigMap";

    fn map(name: &str, version: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns", "resourceVersion": version}}))
            .unwrap()
    }

    #[test]
    fn nothing_is_known_until_the_list_is_whole_and_again_while_a_new_one_is_under_way() {
        let versions = Versions::default();
        let known = || versions.of(KIND, "ns", "a");
        let tell = |change: Change<'_, ConfigMap>| versions.tell(KIND, &change);
        tell(Change::Begins);
        tell(Change::Here(&map("a", "1")));
        assert_eq!(known(), Known::Nothing);
        assert!(versions.may_have(KIND, "ns", |_| false));
        tell(Change::Listed);
        assert_eq!((known(), versions.of(KIND, "ns", "b")), (Known::In("1".into()), Known::Absent));
        assert!(
            versions.may_have(KIND, "ns", |name| name == "a") && !versions.may_have(KIND, "ns", |name| name == "b")
        );
        assert!(!versions.may_have(KIND, "other", |_| true));
        tell(Change::Here(&map("a", "2")));
        assert_eq!(known(), Known::In("2".into()));
        tell(Change::Begins);
        assert_eq!(known(), Known::Nothing);
        tell(Change::Listed);
        assert_eq!(known(), Known::Absent, "it went while nobody watched");
        tell(Change::Here(&map("a", "3")));
        tell(Change::Gone(&map("a", "3")));
        assert_eq!((known(), versions.of("Service", "ns", "a")), (Known::Absent, Known::Nothing));
    }
}
