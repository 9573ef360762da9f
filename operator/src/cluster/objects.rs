//! Writing objects: server-side apply, never over what is not ours, and only what differs.

use crds::NODE_LABEL;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    difference::{has_stale_members, is_contained},
    remedy,
};

/// Who writes specs and data; status has a manager of its own, so that neither drops the other's fields.
pub(crate) const MANAGER: &str = "interconn-operator";
/// What our objects are known by, beside the label of their node.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub(crate) const US: &str = "interconn-operator";

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// An object of that name is somebody else's.
    #[error("{kind} {name} exists and is not ours: rename or delete it, or give this resource another name")]
    NameConflict {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The object is another one than that which the decision rests on.
    #[error("{kind} {name} was written by somebody else since it was read; nothing was written over it")]
    Overtaken {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The API server refused.
    #[error("{kind} {name}: {source}: {}", remedy::of(.source))]
    Api {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
}

/// Whether an object of our name is ours.
#[derive(Clone, Debug)]
pub(crate) enum Ours {
    /// It has this owner; or it has lost it on its way from another cluster, where owners have other UIDs, and still carries our
    /// labels.
    Owner(OwnerReference),
    /// It has this label: for what must outlive its owner.
    Label(&'static str, String),
}

impl Ours {
    /// Whether an object is.
    pub(crate) fn is(&self, object: &impl ResourceExt) -> bool {
        match self {
            Self::Owner(owner) => {
                object.owner_references().iter().any(|o| o.uid == owner.uid) || is_restored(object, owner)
            }
            Self::Label(name, value) => object.labels().get(*name) == Some(value),
        }
    }
}

/// Backup tools bring objects back without owners, or with those of the old cluster. Nobody else writes both labels.
fn is_restored(object: &impl ResourceExt, owner: &OwnerReference) -> bool {
    let label = |name: &str| object.labels().get(name).map(String::as_str);
    let is_of_old = |other: &OwnerReference| other.kind == owner.kind && other.name == owner.name;
    label(NODE_LABEL) == Some(&owner.name)
        && label(MANAGED_BY) == Some(US)
        && object.owner_references().iter().all(is_of_old)
}

/// Whether anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It was there already.
    Nothing,
    /// It was written.
    Object,
}

/// What became of an object, and how it was found.
#[derive(Debug)]
pub(crate) struct Put<K> {
    /// Whether it had to be written.
    pub(crate) written: Written,
    /// How it was before.
    pub(crate) before: Option<K>,
    /// The version in which it is now.
    pub(crate) version: Option<String>,
}

/// A kind of objects that we write into namespaces.
pub(crate) trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned
{
}

impl<K> Kind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
{
}

/// Makes `wanted` so in the cluster.
///
/// # Errors
/// An object of that name that is not ours, and what the API server refuses.
pub(crate) async fn apply<K: Kind>(client: &Client, wanted: &K, ours: &Ours) -> Result<Put<K>, WriteError> {
    let api: Api<K> = Api::namespaced(client.clone(), &wanted.namespace().unwrap_or_default());
    apply_dynamic(&api, &K::kind(&()), wanted, ours).await
}

/// As [`apply`], for a kind that is known when the program runs.
///
/// # Errors
/// As [`apply`].
pub(crate) async fn apply_dynamic<K>(api: &Api<K>, kind: &str, wanted: &K, ours: &Ours) -> Result<Put<K>, WriteError>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let name = wanted.name_any();
    let before = api.get_opt(&name).await.map_err(|e| failed(kind, &name, e))?;
    if let Some(existing) = &before {
        if !ours.is(existing) {
            return Err(WriteError::NameConflict { kind: kind.to_owned(), name });
        }
        if same(wanted, existing) {
            let version = existing.resource_version();
            return Ok(Put { written: Written::Nothing, before, version });
        }
    }
    let mut wanted = wanted.clone();
    // What is looked at now is what is replaced. Certificates hold on to more than that: `secrets.rs`.
    wanted.meta_mut().resource_version = before.as_ref().and_then(ResourceExt::resource_version);
    // Forced, because the object is ours: a user's edit of our fields is taken back.
    let params = PatchParams::apply(MANAGER).force();
    let now = api.patch(&name, &params, &Patch::Apply(&wanted)).await.map_err(|e| failed(kind, &name, e))?;
    Ok(Put { written: Written::Object, before, version: now.resource_version() })
}

/// Deletes an object of ours; one that is gone, or not ours, stays as it is.
///
/// # Errors
/// What the API server refuses.
pub(crate) async fn remove<K>(client: &Client, namespace: &str, name: &str, ours: &Ours) -> Result<Written, WriteError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    remove_dynamic(&api, &K::kind(&()), name, ours).await
}

/// As [`remove`], for a kind that is known when the program runs.
///
/// # Errors
/// As [`remove`].
pub(crate) async fn remove_dynamic<K>(api: &Api<K>, kind: &str, name: &str, ours: &Ours) -> Result<Written, WriteError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let existing = api.get_metadata_opt(name).await.map_err(|e| failed(kind, name, e))?;
    // Under way already: what waits for its own end (a pod behind it) is asked once.
    let is_there = existing.is_some_and(|object| ours.is(&object) && object.metadata.deletion_timestamp.is_none());
    if !is_there {
        return Ok(Written::Nothing);
    }
    match api.delete(name, &kube::api::DeleteParams::background()).await {
        Ok(_) => Ok(Written::Object),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Nothing),
        Err(e) => Err(failed(kind, name, e)),
    }
}

pub(super) fn same<K: ResourceExt + Serialize>(wanted: &K, existing: &K) -> bool {
    let managed = existing.managed_fields();
    match (serde_json::to_value(wanted), serde_json::to_value(existing)) {
        (Ok(wanted), Ok(existing)) => is_contained(&wanted, &existing) && !has_stale_members(&wanted, managed, MANAGER),
        // What cannot be compared is written.
        _ => false,
    }
}

pub(super) fn failed(kind: &str, name: &str, source: kube::Error) -> WriteError {
    WriteError::Api { kind: kind.to_owned(), name: name.into(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{Value, json};

    use super::*;

    fn is_ours(labels: &Value, owners: &Value) -> bool {
        let owner =
            OwnerReference { kind: "MeshNode".into(), name: "a".into(), uid: "new".into(), ..Default::default() };
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"labels": labels, "ownerReferences": owners}})).unwrap();
        Ours::Owner(owner).is(&map)
    }

    #[test]
    fn what_came_back_from_a_backup_is_ours_and_what_somebody_else_has_is_not() {
        let owner =
            |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "v", "kind": kind, "name": name, "uid": uid}]);
        let labels = json!({"interconn.dev/node": "a", "app.kubernetes.io/managed-by": "interconn-operator"});
        for (labels, owners, ours) in [
            (&json!({}), owner("MeshNode", "a", "new"), true),
            (&labels, json!([]), true),
            (&labels, owner("MeshNode", "a", "old"), true),
            (&labels, owner("MeshNode", "b", "old"), false),
            (&labels, owner("Deployment", "a", "x"), false),
            (&json!({"interconn.dev/node": "a"}), json!([]), false),
            (&json!({}), json!([]), false),
        ] {
            assert_eq!(is_ours(labels, &owners), ours, "{labels} {owners}");
        }
    }
}
