//! Labels that ask for nothing: a value that is none leaves a namespace without sidecars, and nobody says so.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt, api::ListParams, core::PartialObjectMeta};

use super::finding::{Finding, State};

/// The label, and its two values.
const INJECT: &str = "interconn.dev/inject";

/// Every namespace whose label is neither of the two.
pub(crate) async fn check(client: &Client) -> Vec<Finding> {
    let odd = ListParams::default().labels(&format!("{INJECT},{INJECT} notin (enabled, disabled)"));
    let api: Api<Namespace> = Api::all(client.clone());
    match api.list_metadata(&odd).await {
        Ok(found) => found.iter().map(judge).collect(),
        // The operator has no need of this right; people have it.
        Err(_) => vec![Finding::bad(
            "labels",
            State::Unknown,
            "labels of namespaces are not to be seen from here",
            "run this with rights to list namespaces",
        )],
    }
}

fn judge(namespace: &PartialObjectMeta<Namespace>) -> Finding {
    let value = namespace.labels().get(INJECT).map(String::as_str).unwrap_or_default();
    let (said, name) = (format!("{INJECT} is {value:?}, which brings no sidecar"), namespace.name_any());
    let remedy = format!("kubectl label namespace {name} --overwrite {INJECT}=enabled, or disabled");
    Finding::bad("labels", State::Warning, said, remedy).of(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_none_is_named_with_its_remedy() {
        let namespace = serde_json::json!({"metadata": {"name": "shop", "labels": {INJECT: "true"}}});
        let found = judge(&serde_json::from_value(namespace).unwrap());
        assert_eq!((found.state, found.subject.as_str()), (State::Warning, "shop"));
        assert!(found.said.contains("\"true\"") && found.remedy.contains("namespace shop"), "{found:?}");
    }
}
