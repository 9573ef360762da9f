//! The configuration of a webhook that runs as a process beside the API server, as an installer writes it, and what the operator adds.

use anyhow::Result;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::objects::endpoint;

/// Webhook configurations.
#[must_use]
pub fn configurations(client: &Client) -> Api<DynamicObject> {
    endpoint(client, "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "")
}

/// Writes the configuration of a room, without the key that is the operator's: its name and the one namespace that it is for are the same.
///
/// # Errors
/// When it is refused, also for a conflict with what the operator wrote.
pub async fn configure(client: &Client, room: &str, port: u16, failure_policy: &str) -> Result<()> {
    let webhook = |name: &str, namespace: Value, pod: Value| {
        json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "NoneOnDryRun",
            "reinvocationPolicy": "IfNeeded", "failurePolicy": failure_policy, "timeoutSeconds": 30,
            "clientConfig": {"url": format!("https://127.0.0.1:{port}/inject")},
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [room]}, namespace]},
            "objectSelector": {"matchExpressions": [pod]},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]})
    };
    let label =
        |operator: &str, value: &str| json!({"key": "interconn.dev/inject", "operator": operator, "values": [value]});
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": room}, "webhooks": [
        webhook("namespace.inject.interconn.dev", label("In", "enabled"), label("NotIn", "disabled")),
        webhook("pod.inject.interconn.dev", label("NotIn", "enabled"), label("In", "enabled")),
    ]});
    // Not forced: a conflict is a failure of the test.
    configurations(client).patch(room, &PatchParams::apply("installer"), &Patch::Apply(&configuration)).await?;
    Ok(())
}

/// The authorities that the API server is told to trust, in base64, for each webhook of a room.
///
/// # Errors
/// When there is no configuration.
pub async fn bundles(client: &Client, room: &str) -> Result<Vec<String>> {
    let configuration = configurations(client).get(room).await?;
    let webhooks = configuration.data["webhooks"].as_array().cloned().unwrap_or_default();
    let bundle = |webhook: &Value| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
    Ok(webhooks.iter().map(bundle).collect())
}
