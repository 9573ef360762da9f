//! Step four: writes what differs, in an order that never leaves a sidecar without what it is told to read.

use std::marker::PhantomData;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::ListParams};

use super::{
    World,
    objects::{Applied, MANAGED_BY, Prepared, Resources, US, part_prefix},
};
use crate::cluster::{
    nudge,
    objects::{Ours, WriteError, Written, apply, remove},
};

/// Writes everything. Only this makes resources applied.
///
/// # Errors
/// The first object that could not be written; the next pass goes on from there.
pub(super) async fn all(world: &World, prepared: Resources<Prepared>) -> Result<Resources<Applied>, WriteError> {
    let Resources { node, new_root, leaf, parts, main, public_root, service, owner, hash, state: _ } = prepared;
    let ours = Ours::Owner(owner.clone());
    let client = &world.client;
    // The root first: a leaf under a root that is lost could never be renewed.
    if let Some(root) = &new_root {
        let label = Ours::Label(MANAGED_BY, US.into());
        count(world, "Secret", apply(client, root, &label).await?);
    }
    count(world, "ConfigMap", apply(client, &public_root, &ours).await?);
    count(world, "Service", apply(client, &service, &ours).await?);
    count(world, "Secret", apply(client, &leaf, &ours).await?);
    for part in &parts {
        count(world, "ConfigMap", apply(client, part, &ours).await?);
    }
    // The manifest last: whoever reads it finds the rest.
    count(world, "ConfigMap", apply(client, &main, &ours).await?);
    remove_orphans(world, &node, &parts, &ours).await?;
    nudge_pods(world, &node, &hash).await;
    Ok(Resources { node, new_root, leaf, parts, main, public_root, service, owner, hash, state: PhantomData })
}

/// Parts that the configuration no longer needs.
async fn remove_orphans(
    world: &World,
    (namespace, name): &(String, String),
    parts: &[ConfigMap],
    ours: &Ours,
) -> Result<(), WriteError> {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), namespace);
    let labelled = ListParams::default().labels(&format!("{}={name}", crds::NODE_LABEL));
    let prefix = part_prefix(name);
    let failed = |e| WriteError::Api { kind: "ConfigMap".into(), name: format!("{prefix}*"), source: Box::new(e) };
    for there in api.list_metadata(&labelled).await.map_err(failed)? {
        let there = there.name_any();
        let is_part =
            there.strip_prefix(&prefix).is_some_and(|p| p.starts_with("routes-") || p.starts_with("registrations-"));
        if is_part && !parts.iter().any(|part| part.name_any() == there) {
            count(world, "ConfigMap", remove::<ConfigMap>(&world.client, namespace, &there, ours).await?);
        }
    }
    Ok(())
}

/// Pods find the change by themselves, only later: a failure here is no reason to try everything again.
async fn nudge_pods(world: &World, (namespace, name): &(String, String), hash: &str) {
    match nudge::pods(&world.client, namespace, name, hash).await {
        Ok(told) => (0..told).for_each(|_| count(world, "Pod", Written::Object)),
        Err(error) => tracing::warn!(namespace, node = name, %error, "pods cannot be listed, so none was nudged"),
    }
}

fn count(world: &World, kind: &'static str, written: Written) {
    if written == Written::Object {
        world.metrics.wrote(kind);
    }
}
