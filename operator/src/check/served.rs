//! Whether the definitions that the API server serves have every field that this version works with.
//!
//! Asked is its OpenAPI document of our group, which whoever is known to the server may read: the definitions themselves may be read by
//! few, and not by the operator.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::Value;

/// The document of our group and version, as OpenAPI v3.
///
/// # Errors
/// When the server has none, or does not answer.
pub(super) async fn document(client: &Client) -> kube::Result<Value> {
    let path = format!("/openapi/v3/apis/{}/{}", crds::GROUP, crds::VERSION);
    let request = http::Request::get(path).header("accept", "application/json").body(Vec::new());
    client.request(request.map_err(kube::Error::HttpError)?).await
}

/// The schema of that kind in the document; `None` where the server does not serve the kind (yet).
pub(super) fn schema<'d>(document: &'d Value, kind: &str) -> Option<&'d Value> {
    let is_of = |schema: &&Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|said| said["group"] == crds::GROUP && said["kind"] == kind))
    };
    document["components"]["schemas"].as_object()?.values().find(is_of)
}

/// The fields of our definition that `served` does not have, the first of each branch: the server drops them from what people apply, and
/// refuses a status with one of them.
pub(super) fn missing(ours: &CustomResourceDefinition, served: &Value) -> serde_json::Result<Vec<String>> {
    let mut missing = Vec::new();
    for version in ours.spec.versions.iter().filter(|version| version.name == crds::VERSION) {
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema)?;
        // What stands beside these two is the server's own.
        for part in ["spec", "status"] {
            compare(&schema["properties"][part], &served["properties"][part], part, &mut missing);
        }
    }
    Ok(missing)
}

fn compare(ours: &Value, served: &Value, path: &str, missing: &mut Vec<String>) {
    if served.is_null() && !ours.is_null() {
        missing.push(path.to_owned());
        return;
    }
    for (name, field) in ours["properties"].as_object().into_iter().flatten() {
        compare(field, &served["properties"][name], &format!("{path}.{name}"), missing);
    }
    for (within, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if ours[within].is_object() {
            compare(&ours[within], &served[within], &format!("{path}{mark}"), missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::definitions::definitions;
    use serde_json::json;

    use super::*;

    /// A document as a server makes it of a definition: references for what is its own, the rest as it stands.
    fn served(definition: &CustomResourceDefinition) -> Value {
        let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref();
        let mut schema = serde_json::to_value(schema).unwrap();
        let kind = &definition.spec.names.kind;
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": crds::GROUP, "kind": kind, "version": crds::VERSION}]);
        schema["properties"]["metadata"] = json!({"allOf": [{"$ref": "#/components/schemas/ObjectMeta"}]});
        let list = json!([{"group": crds::GROUP, "kind": format!("{kind}List"), "version": crds::VERSION}]);
        json!({"components": {"schemas": {
            format!("dev.interconn.v1alpha1.{kind}List"): {"x-kubernetes-group-version-kind": list, "properties": {}},
            format!("dev.interconn.v1alpha1.{kind}"): schema}}})
    }

    #[test]
    fn what_this_version_brings_lacks_nothing_and_each_kind_is_found_by_its_name() {
        for definition in definitions().unwrap() {
            let document = served(&definition);
            let schema = schema(&document, &definition.spec.names.kind).unwrap();
            assert_eq!(missing(&definition, schema).unwrap(), [""; 0]);
        }
        assert_eq!(schema(&served(&definitions().unwrap()[0]), "MeshTunnel"), None);
        assert_eq!(schema(&json!({"kind": "Status"}), "MeshNode"), None);
    }

    #[test]
    fn fields_that_an_older_definition_lacks_are_named_wherever_they_stand() {
        let ours = definitions().unwrap().remove(0);
        let document = served(&ours);
        let mut schema = schema(&document, "MeshNode").unwrap().clone();
        for (parent, field) in [
            ("/properties/status/properties", "configHash"),
            ("/properties/status/properties/sidecars/properties", "total"),
            ("/properties/spec/properties/grid/properties/listeners/items/properties", "assemble"),
            ("/properties/spec/properties", "backplane"),
        ] {
            let parent = schema.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
            parent.remove(field).unwrap();
        }
        // A newer definition has more, and that is no fault.
        schema["properties"]["spec"]["properties"]["wings"] = json!({"type": "integer"});
        let mut found = missing(&ours, &schema).unwrap();
        found.sort();
        assert_eq!(
            found,
            ["spec.backplane", "spec.grid.listeners[].assemble", "status.configHash", "status.sidecars.total"]
        );
    }
}
