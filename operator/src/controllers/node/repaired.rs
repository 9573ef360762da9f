//! Whether a write takes back what somebody else did to an object of ours, and who is told of it.
//!
//! [`Left`] remembers of each object how it was left; who finds it otherwise while the same is wanted repairs it. It is empty
//! after a start: then nobody can tell an edit from an older version's form.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ObjectReference, Secret},
};
use kube::{
    ResourceExt,
    runtime::events::{Event, EventType},
};
use parking_lot::Mutex;
use serde::Serialize;

use super::World;
use crate::cluster::objects::{MANAGER, Written};

/// Namespace and name of a node.
type Node = (String, String);
/// Kind and name of an object.
type Object = (&'static str, String);

/// How objects were left, by node: a sum of each, since a copy would be a second store.
#[derive(Debug, Default)]
pub(crate) struct Left {
    sums: Mutex<HashMap<Node, HashMap<Object, u64>>>,
    hasher: RandomState,
}

impl Left {
    /// It is like this now. Answers whether it was left so before, and whether it was known at all.
    fn now(&self, node: &Node, object: &Object, sum: u64) -> Option<u64> {
        self.sums.lock().entry(node.clone()).or_default().insert(object.clone(), sum)
    }

    /// We removed it.
    pub(super) fn removed(&self, node: &Node, kind: &'static str, name: &str) {
        if let Some(objects) = self.sums.lock().get_mut(node) {
            objects.remove(&(kind, name.to_owned()));
        }
    }

    /// The node is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.sums.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn sum(&self, value: &impl Serialize) -> u64 {
        self.hasher.hash_one(serde_json::to_vec(value).unwrap_or_default())
    }

    /// An object was looked at, and written where it differed. Answers what was repaired.
    pub(super) fn put<K: ResourceExt + Serialize>(
        &self,
        node: &Node,
        kind: &'static str,
        wanted: &K,
        (written, before): (Written, Option<&K>),
    ) -> Option<Repair> {
        let sum = self.sum(wanted);
        let was = self.now(node, &(kind, wanted.name_any()), sum);
        (written == Written::Object && was == Some(sum)).then(|| Repair::of(kind, &wanted.name_any(), before))
    }

    /// The same of a Secret. A pair that was edited may be made anew, so it is compared with how it was left.
    pub(super) fn put_secret(
        &self,
        node: &Node,
        wanted: &Secret,
        (written, before): (Written, Option<&Secret>),
    ) -> Option<Repair> {
        let was = self.now(node, &("Secret", wanted.name_any()), self.sum(&wanted.data))?;
        let keys = wanted.data.iter().flatten().map(|(key, _)| key);
        let found = before.map(|before| {
            let value = |key: &String| before.data.as_ref()?.get(key).cloned();
            let data: std::collections::BTreeMap<&String, ByteString> =
                keys.filter_map(|key| Some((key, value(key)?))).collect();
            self.sum(&Some(data))
        });
        let is_edited = found != Some(was);
        (written == Written::Object && is_edited).then(|| Repair::of("Secret", &wanted.name_any(), before))
    }
}

/// What was taken back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repair {
    kind: &'static str,
    name: String,
    /// Who wrote last; `None`: it was gone.
    by: Option<String>,
}

impl Repair {
    fn of(kind: &'static str, name: &str, before: Option<&impl ResourceExt>) -> Self {
        Self { kind, name: name.into(), by: before.map(editor) }
    }

    fn note(&self) -> String {
        let Self { kind, name, by } = self;
        match by {
            Some(by) => format!(
                "{kind} {name} was changed by {by} and is again as it was: the operator writes it from the MeshNode and its routes, so change those"
            ),
            None => format!("{kind} {name} was deleted and is there again: it goes when its MeshNode goes"),
        }
    }
}

/// Whose write was the last one that was not ours, as the API server books it.
fn editor(object: &impl ResourceExt) -> String {
    let others = object.managed_fields().iter().filter(|entry| entry.manager.as_deref() != Some(MANAGER));
    let last = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last.and_then(|entry| entry.manager.clone()).unwrap_or_else(|| "somebody".into())
}

/// People are told: who edits what is ours by hand loses the edit, and should hear why.
pub(super) async fn tell(world: &World, node: &ObjectReference, repair: &Repair) {
    world.metrics.repaired(repair.kind);
    let note = repair.note();
    tracing::warn!(namespace = node.namespace, node = node.name, "{note}");
    let event = Event {
        type_: EventType::Warning,
        reason: "Repaired".into(),
        note: Some(note),
        action: "Repair".into(),
        // Events that are alike become one, whose note is the first one's: each object has one of its own.
        secondary: Some(ObjectReference {
            kind: Some(repair.kind.into()),
            name: Some(repair.name.clone()),
            namespace: node.namespace.clone(),
            ..ObjectReference::default()
        }),
    };
    if let Err(error) = world.recorder.publish(&event, node).await {
        tracing::warn!(%error, "an Event could not be published");
    }
}

/// The node, as Events name it.
pub(super) fn regarding(
    namespace: &str,
    owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference,
) -> ObjectReference {
    ObjectReference {
        api_version: Some(owner.api_version.clone()),
        kind: Some(owner.kind.clone()),
        name: Some(owner.name.clone()),
        namespace: Some(namespace.to_owned()),
        uid: Some(owner.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{Value, json};

    use super::*;

    fn node() -> Node {
        ("ns".into(), "a".into())
    }

    fn map(value: &str, managers: &Value) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "mesh-a", "managedFields": managers}, "data": {"k": value}}))
            .unwrap()
    }

    fn secret(data: &Value) -> Secret {
        serde_json::from_value(json!({"metadata": {"name": "s"}, "data": data})).unwrap()
    }

    #[test]
    fn an_edit_is_a_repair_and_a_change_of_ours_is_none() {
        let (left, wanted) = (Left::default(), map("v", &json!([])));
        let put = |wanted: &ConfigMap, written, before: Option<&ConfigMap>| {
            left.put(&node(), "ConfigMap", wanted, (written, before)).map(|repair| repair.note())
        };
        assert_eq!(put(&wanted, Written::Object, None), None, "the first look knows nothing");
        assert_eq!(put(&wanted, Written::Nothing, Some(&wanted)), None);
        let changed = map("w", &json!([]));
        assert_eq!(put(&changed, Written::Object, Some(&wanted)), None, "we want something else now");
        let time = |n: u32| format!("2026-11-22T00:00:0{n}Z");
        let edited = map(
            "x",
            &json!([{"manager": "kubectl-create", "time": time(1)}, {"manager": "kubectl-edit", "time": time(2)},
                {"manager": MANAGER, "time": time(3)}]),
        );
        let note = put(&changed, Written::Object, Some(&edited)).unwrap();
        assert!(note.starts_with("ConfigMap mesh-a was changed by kubectl-edit and is again as it was"), "{note}");
        let note = put(&changed, Written::Object, None).unwrap();
        assert!(note.starts_with("ConfigMap mesh-a was deleted and is there again"), "{note}");
        left.removed(&node(), "ConfigMap", "mesh-a");
        assert_eq!(left.put(&node(), "ConfigMap", &changed, (Written::Object, None)), None, "we removed it ourselves");
    }

    #[test]
    fn a_pair_that_somebody_broke_is_a_repair_although_another_one_takes_its_place() {
        let left = Left::default();
        let (first, renewed) = (secret(&json!({"crt": "YQ=="})), secret(&json!({"crt": "Yg=="})));
        let put = |wanted: &Secret, before: Option<&Secret>| {
            left.put_secret(&node(), wanted, (Written::Object, before)).is_some()
        };
        assert!(!put(&first, None));
        let beside = secret(&json!({"crt": "YQ==", "theirs": "YQ=="}));
        assert!(!put(&renewed, Some(&beside)), "a renewal, and what somebody keeps beside is theirs");
        assert!(put(&first, Some(&secret(&json!({"crt": "Yw=="})))));
        assert!(put(&first, None));
        left.forget("ns", "a");
        assert!(!put(&first, None));
    }
}
