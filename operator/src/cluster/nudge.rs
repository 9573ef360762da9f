//! The nudge: a touched annotation makes the kubelet look at a pod's volumes at once, not at its next sync.
//!
//! Only pods whose annotation differs are touched, so a steady state writes nothing.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::objects::MANAGER;

/// Which configuration the pod was last told of.
pub(crate) const CONFIG_HASH: &str = "interconn.dev/config-hash";

/// Tells the pods of a node that its configuration is now `hash`. Answers how many were told.
///
/// # Errors
/// When the pods cannot be listed. A pod that cannot be touched (it may be gone) is logged and left to the kubelet's sync.
pub(crate) async fn pods(client: &Client, namespace: &str, node: &str, hash: &str) -> Result<usize, kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = ListParams::default().labels(&format!("{}={node}", crds::NODE_LABEL));
    let mut told = 0;
    for pod in api.list_metadata(&selector).await? {
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() || pod.annotations().get(CONFIG_HASH).is_some_and(|h| h == hash) {
            continue;
        }
        let patch = json!({"metadata": {"annotations": {CONFIG_HASH: hash}}});
        match api
            .patch_metadata(
                &name,
                &PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() },
                &Patch::Merge(patch),
            )
            .await
        {
            Ok(_) => told += 1,
            Err(error) => {
                tracing::info!(namespace, pod = name, %error, "pod not nudged; its kubelet will find the change itself");
            }
        }
    }
    Ok(told)
}
