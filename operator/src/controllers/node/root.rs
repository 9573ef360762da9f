//! What becomes of the issued root, of the members', and of the rooms' keys, when their node is deleted.
//!
//! It is retained by default, and then nothing has to happen. Only `rootDeletionPolicy: Delete` needs a finalizer, because
//! the root lies in another namespace, where no owner reference reaches.

use crds::{DeletionPolicy, MeshNode};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    Step, World, kept_rooms_name, member_root_name,
    objects::{MANAGED_BY, US},
    root_name,
};
use crate::cluster::objects::{MANAGER, Ours, remove};

/// Holds the node back until its root is gone.
pub(crate) const FINALIZER: &str = "interconn.dev/delete-root";

/// Sees to the finalizer and, at the end, to the root. Answers whether the node lives on.
pub(super) async fn settle_deletion(world: &World, node: &MeshNode) -> Step<bool> {
    let is_held = node.finalizers().iter().any(|f| f == FINALIZER);
    let deletes = node.spec.certificates.root_deletion_policy == DeletionPolicy::Delete;
    let is_ending = node.metadata.deletion_timestamp.is_some();
    if is_ending && is_held && deletes {
        let ours = Ours::Label(MANAGED_BY, US.into());
        for name in [root_name(node), member_root_name(node), kept_rooms_name(node)] {
            let removed = remove::<Secret>(&world.client, &world.operator.namespace, &name, &ours).await;
            removed.map_err(|error| ("RootNotDeleted", error.to_string()))?;
        }
    }
    if is_held && (is_ending || !deletes) {
        set(world, node, false).await?;
    } else if !is_held && deletes && !is_ending {
        set(world, node, true).await?;
    }
    Ok(!is_ending)
}

/// Adds or removes our finalizer, and nobody else's. The version makes sure that the list is still the one that was read.
async fn set(world: &World, node: &MeshNode, is_held: bool) -> Step<()> {
    let mut finalizers: Vec<String> = node.finalizers().iter().filter(|f| *f != FINALIZER).cloned().collect();
    if is_held {
        finalizers.push(FINALIZER.into());
    }
    let patch = json!({"metadata": {"resourceVersion": node.resource_version(), "finalizers": finalizers}});
    let api: Api<MeshNode> = Api::namespaced(world.client.clone(), &node.namespace().unwrap_or_default());
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch(&node.name_any(), &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(()),
        Err(error) => Err(("FinalizerNotSet", error.to_string())),
    }
}
