//! Applies manifests by the API, where there is no kubectl at hand, and waits for conditions.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde::Deserialize;
use serde_json::Value;

use crate::wait;

/// The operator needs milliseconds; a machine under load gets this long.
pub const SOON: Duration = Duration::from_secs(180);

/// The endpoint of a kind, in a namespace or, where that is empty, of the cluster.
#[must_use]
pub fn endpoint(client: &Client, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// The endpoint of one of our kinds.
#[must_use]
pub fn ours(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    endpoint(client, "interconn.dev/v1alpha1", kind, namespace)
}

/// Applies every document of a manifest that `wanted` takes, in order.
///
/// # Errors
/// When one is refused.
pub async fn apply(client: &Client, manifest: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for document in serde_yaml::Deserializer::from_str(manifest) {
        let object = Value::deserialize(document).context("no YAML")?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        if !wanted(kind) {
            continue;
        }
        let api = endpoint(client, text("/apiVersion"), kind, text("/metadata/namespace"));
        let params = PatchParams::apply("e2e").force();
        api.patch(name, &params, &Patch::Apply(&object)).await.with_context(|| format!("{kind} {name} is refused"))?;
    }
    Ok(())
}

/// Waits until the condition `kind` of an object has the status and, where given, the reason.
///
/// # Errors
/// When the time is over, with the conditions that it has then.
pub async fn condition(api: &Api<DynamicObject>, name: &str, kind: &str, status: &str, reason: &str) -> Result<()> {
    wait::until(&format!("{name} to have {kind}={status} {reason}"), SOON, || async {
        let object = api.get(name).await?;
        let generation = object.metadata.generation;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_it = |c: &&Value| {
            c["type"] == kind
                && c["status"] == status
                && (reason.is_empty() || c["reason"] == reason)
                && c["observedGeneration"].as_i64() == generation
        };
        if conditions.iter().any(|c| is_it(&c)) {
            return Ok(());
        }
        bail!("generation {generation:?}, {}", Value::from(conditions))
    })
    .await
}
