//! Whether a write takes back what somebody else did to an object of ours, and who is told of it.
//!
//! [`Left`] remembers of each object how it was left; who finds it otherwise while the same is wanted repairs it. It is empty
//! after a start: then nobody can tell an edit from an older version's form. Who finds it in the very version in which it was left,
//! by what the watches tell, needs not read it.

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
use crate::{
    cluster::objects::{MANAGER, Put, Written},
    controllers::versions::Known,
};

/// Namespace and name of a node.
type Node = (String, String);
/// Kind and name of an object.
type Object = (&'static str, String);

/// How an object was left.
#[derive(Debug)]
struct State {
    /// A sum of what is wanted, since a copy would be a second store; `None`: that there is none.
    sum: Option<u64>,
    /// The version that it had then.
    version: Option<String>,
}

/// How objects were left, by node.
#[derive(Debug, Default)]
pub(crate) struct Left {
    states: Mutex<HashMap<Node, HashMap<Object, State>>>,
    hasher: RandomState,
}

impl Left {
    /// It is like this now. Answers how it was left before, where it was.
    fn now(&self, node: &Node, object: Object, state: State) -> Option<u64> {
        self.states.lock().entry(node.clone()).or_default().insert(object, state)?.sum
    }

    /// There is none, by our own doing or because there was none.
    pub(super) fn removed(&self, node: &Node, kind: &'static str, name: &str) {
        self.now(node, (kind, name.to_owned()), State { sum: None, version: None });
    }

    /// Whether an object that is not wanted was removed before, and none has come since.
    pub(super) fn stays_away(&self, node: &Node, kind: &'static str, name: &str, known: &Known) -> bool {
        let states = self.states.lock();
        let state = states.get(node).and_then(|objects| objects.get(&(kind, name.to_owned())));
        *known == Known::Absent && state.is_some_and(|state| state.sum.is_none())
    }

    /// Whether an object is as it was left, and the same is wanted.
    pub(super) fn stays<K: ResourceExt + Serialize>(
        &self,
        node: &Node,
        kind: &'static str,
        wanted: &K,
        known: &Known,
    ) -> bool {
        let Known::In(version) = known else { return false };
        let states = self.states.lock();
        let state = states.get(node).and_then(|objects| objects.get(&(kind, wanted.name_any())));
        state.is_some_and(|state| state.version.as_ref() == Some(version) && state.sum == Some(self.sum(wanted)))
    }

    /// The node is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.states.lock().remove(&(namespace.to_owned(), name.to_owned()));
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
        Put { written, before, version }: &Put<K>,
    ) -> Option<Repair> {
        let sum = self.sum(wanted);
        let state = State { sum: Some(sum), version: version.clone() };
        let was = self.now(node, (kind, wanted.name_any()), state);
        let is_edited = *written == Written::Object && was == Some(sum);
        is_edited.then(|| Repair::of(kind, &wanted.name_any(), before.as_ref()))
    }

    /// The same of a Secret. A pair that was edited may be made anew, so it is compared with how it was left.
    pub(super) fn put_secret(
        &self,
        node: &Node,
        wanted: &Secret,
        Put { written, before, version }: &Put<Secret>,
    ) -> Option<Repair> {
        let state = State { sum: Some(self.sum(&wanted.data)), version: version.clone() };
        let was = self.now(node, ("Secret", wanted.name_any()), state)?;
        let keys = wanted.data.iter().flatten().map(|(key, _)| key);
        let found = before.as_ref().map(|before| {
            let value = |key: &String| before.data.as_ref()?.get(key).cloned();
            let data: std::collections::BTreeMap<&String, ByteString> =
                keys.filter_map(|key| Some((key, value(key)?))).collect();
            self.sum(&Some(data))
        });
        let is_edited = found != Some(was);
        (*written == Written::Object && is_edited).then(|| Repair::of("Secret", &wanted.name_any(), before.as_ref()))
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
            let put = Put { written, before: before.cloned(), version: None };
            left.put(&node(), "ConfigMap", wanted, &put).map(|repair| repair.note())
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
        assert_eq!(put(&changed, Written::Object, None), None, "we removed it ourselves");
    }

    #[test]
    fn what_is_as_it_was_left_needs_no_look() {
        let (left, wanted) = (Left::default(), map("v", &json!([])));
        let in_version = |version: &str| Known::In(version.into());
        let stays = |wanted: &ConfigMap, known: &Known| left.stays(&node(), "ConfigMap", wanted, known);
        assert!(!stays(&wanted, &in_version("1")), "nobody looked at it yet");
        let put = Put { written: Written::Nothing, before: Some(wanted.clone()), version: Some("1".into()) };
        left.put(&node(), "ConfigMap", &wanted, &put);
        assert!(stays(&wanted, &in_version("1")));
        assert!(!stays(&map("w", &json!([])), &in_version("1")), "something else is wanted");
        for known in [in_version("2"), Known::Absent, Known::Nothing] {
            assert!(!stays(&wanted, &known), "{known:?}");
        }
        let stays_away = |known: &Known| left.stays_away(&node(), "ConfigMap", "mesh-a", known);
        assert!(!stays_away(&Known::Absent), "it was there");
        left.removed(&node(), "ConfigMap", "mesh-a");
        assert!(stays_away(&Known::Absent) && !stays_away(&in_version("3")) && !stays_away(&Known::Nothing));
        assert!(!stays(&wanted, &in_version("1")));
    }

    #[test]
    fn a_pair_that_somebody_broke_is_a_repair_although_another_one_takes_its_place() {
        let left = Left::default();
        let (first, renewed) = (secret(&json!({"crt": "YQ=="})), secret(&json!({"crt": "Yg=="})));
        let put = |wanted: &Secret, before: Option<&Secret>| {
            let put = Put { written: Written::Object, before: before.cloned(), version: None };
            left.put_secret(&node(), wanted, &put).is_some()
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
