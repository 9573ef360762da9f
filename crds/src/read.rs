//! Reads resources from files that people write, and values of which a newer version may have written more.

use kube::{Resource, ResourceExt, core::object::HasSpec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    MeshNode, MeshRoute, ServiceRegistration, Violation,
    names::{self, Named},
    validate::{Judged, none_or, shape_breaks},
    violation::broken,
};

/// One of the three kinds.
#[allow(private_bounds, reason = "the kinds are ours; nobody else implements this")]
pub trait Kind:
    Resource<DynamicType = ()> + HasSpec<Spec = <Self as Judged>::Spec> + DeserializeOwned + Named + Judged
{
}

impl Kind for MeshNode {}
impl Kind for MeshRoute {}
impl Kind for ServiceRegistration {}

/// Reads a resource from a document that a person wrote, with the verdict that `kubectl apply` would give: an unknown
/// key is an error, a null is as good as nothing, a status is left out.
///
/// # Errors
/// Every rule that the document breaks, with its field.
pub fn resource<K: Kind>(mut document: Value) -> Result<K, Vec<Violation>> {
    normalise(&mut document);
    if let Some(members) = document.as_object_mut() {
        members.remove("status");
    }
    let mut found = frame_breaks::<K>(&document);
    found.extend(shape_breaks::<K>(document.get("spec").unwrap_or(&Value::Null)));
    none_or(found)?;
    let (resource, unknown) = lenient::<K>(document).map_err(|e| vec![broken("", e.to_string())])?;
    // What stands beside and below the spec was looked at above; serde tells of the metadata.
    let unknown = unknown.iter().filter(|path| path.starts_with("metadata."));
    let mut found: Vec<Violation> = unknown.map(|path| broken(path, "is unknown".into())).collect();
    found.extend(names::broken_by::<K>(&resource.name_any()).map(|rule| broken("metadata.name", rule)));
    K::laws(resource.spec(), &mut found);
    none_or(found)?;
    Ok(resource)
}

/// Reads a value and names the members that this version does not know: an error in a file written by hand, a newer
/// version's addition in a rendered snapshot.
///
/// # Errors
/// When a member has the wrong type or a required one is missing.
pub fn lenient<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), serde_json::Error> {
    let mut unknown = Vec::new();
    let value = serde_ignored::deserialize(value, |path| unknown.push(path.to_string()))?;
    Ok((value, unknown))
}

/// What is wrong around the spec.
fn frame_breaks<K: Kind>(document: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    for (member, wanted) in [("apiVersion", K::api_version(&())), ("kind", K::kind(&()))] {
        if document.get(member).and_then(Value::as_str) != Some(&*wanted) {
            found.push(broken(member, format!("must be {wanted}")));
        }
    }
    for member in document.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !["apiVersion", "kind", "metadata", "spec"].contains(&member.as_str()) {
            found.push(broken(member, "is unknown".into()));
        }
    }
    found
}

/// What happens to a document on its way through kubectl and the API server before it is judged: a whole number loses
/// its fraction, a null member is dropped.
fn normalise(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(normalise);
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        #[allow(clippy::cast_possible_truncation, reason = "the guard says that it is whole and fits")]
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|f| number.is_f64() && f.fract() == 0.0 && f.abs() < 1e15) {
                *value = (whole as i64).into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{lenient, resource};
    use crate::{MeshNode, MeshRoute, snapshot::NodeConfig};

    #[test]
    fn a_document_of_another_kind_or_version_is_refused_by_name() {
        let document = json!({"apiVersion": "interconn.dev/v2", "kind": "MeshRoute", "metadata": {"name": "x"},
            "spec": {"nodeId": "a", "instId": "b"}});
        let found = resource::<MeshNode>(document).unwrap_err();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["apiVersion: must be interconn.dev/v1alpha1", "kind: must be MeshNode"]);
    }

    #[test]
    fn every_fault_of_a_document_is_named_at_once() {
        let document = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshRoute", "metadata": {"name": "x"},
            "spec": {"nodeRef": {"name": "a"}, "peer": {"nodeId": "B 1"}, "trust": {"roots": []}, "disabled": "no"}});
        let found = resource::<MeshRoute>(document).unwrap_err();
        let fields: Vec<&str> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["spec.peer.nodeId", "spec.trust.roots", "spec.disabled"]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for document in [json!(null), json!([]), json!("x"), json!(1), json!({})] {
            assert!(resource::<MeshNode>(document).is_err());
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_read_and_named() {
        let written =
            json!({"nodeId": "a", "instId": "b", "wings": 2, "transport": {"store": "Disk", "colour": "red"}});
        let (config, unknown) = lenient::<NodeConfig>(written).unwrap();
        assert_eq!(config.transport.store, crate::Store::Disk);
        assert_eq!(unknown, ["wings", "transport.colour"]);
    }
}
