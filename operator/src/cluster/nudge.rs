//! The nudge: a touched annotation makes the kubelet look at a pod's volumes at once, not at its next sync.
//!
//! Only pods whose annotation differs are touched, so a steady state writes nothing.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;

use super::objects::MANAGER;
use crate::node::pod::{ROLE_LABEL, Role};

/// Which configuration the pod was last told of; behind a slash, which time that was, where once was not enough.
pub(crate) const CONFIG_HASH: &str = "interconn.dev/config-hash";

/// Pods touched at a time: a node with a thousand of them is told within seconds, and the API server not stormed.
const AT_ONCE: usize = 16;

/// Tells the pods of a node that its configuration is now `hash`, the gateway's first. Answers how many were told.
///
/// # Errors
/// When the pods cannot be listed. A pod that cannot be touched (it may be gone) is logged and left to the kubelet's sync.
pub(crate) async fn pods(client: &Client, namespace: &str, node: &str, hash: &str) -> Result<usize, kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = ListParams::default().labels(&format!("{}={node}", crds::NODE_LABEL));
    let listed = api.list_metadata(&selector).await?;
    let (gateways, sidecars) = untold(listed.items, hash);
    Ok(touch(&api, gateways, hash).await + touch(&api, sidecars, hash).await)
}

/// Tells these pods once more: the kubelet hears of a pod and of its ConfigMaps in no order, and may have looked too early.
pub(crate) async fn again(client: &Client, namespace: &str, pods: BTreeSet<String>, hash: &str, time: usize) -> usize {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    touch(&api, pods.into_iter().collect(), &format!("{hash}/{time}")).await
}

/// The pods that were not told: those of the gateway, and the others.
fn untold(pods: Vec<PartialObjectMeta<Pod>>, hash: &str) -> (Vec<String>, Vec<String>) {
    let is_told = |pod: &PartialObjectMeta<Pod>| {
        let told = pod.annotations().get(CONFIG_HASH).and_then(|told| told.split('/').next());
        told == Some(hash)
    };
    let left = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && !is_told(pod));
    let is_gateway =
        |pod: &PartialObjectMeta<Pod>| pod.labels().get(ROLE_LABEL).is_some_and(|role| role == Role::Gateway.label());
    let (gateways, sidecars): (Vec<_>, Vec<_>) = left.partition(is_gateway);
    let names = |pods: Vec<PartialObjectMeta<Pod>>| pods.iter().map(ResourceExt::name_any).collect();
    (names(gateways), names(sidecars))
}

async fn touch(api: &Api<Pod>, pods: Vec<String>, value: &str) -> usize {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {CONFIG_HASH: value}}}));
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let (params, patch) = (&params, &patch);
    let one = |pod: String| async move {
        match api.patch_metadata(&pod, params, patch).await {
            Ok(_) => 1,
            Err(error) => {
                tracing::info!(pod, %error, "pod not nudged; its kubelet will find the change itself");
                0
            }
        }
    };
    stream::iter(pods).map(one).buffer_unordered(AT_ONCE).fold(0, async |all, told| all + told).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, role: &str, told: Option<&str>) -> PartialObjectMeta<Pod> {
        let mut pod = json!({"metadata": {"name": name, "labels": {ROLE_LABEL: role}}});
        if let Some(told) = told {
            pod["metadata"]["annotations"] = json!({CONFIG_HASH: told});
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn gateways_come_first_and_who_was_told_once_or_more_often_is_not_told_again() {
        let all = vec![
            pod("new", "sidecar", None),
            pod("old", "sidecar", Some("h1/2")),
            pod("told", "sidecar", Some("h2")),
            pod("twice", "sidecar", Some("h2/1")),
            pod("gateway", "gateway", Some("h1")),
        ];
        let (gateways, sidecars) = untold(all, "h2");
        assert_eq!((gateways, sidecars), (vec!["gateway".to_owned()], vec!["new".to_owned(), "old".to_owned()]));
    }
}
