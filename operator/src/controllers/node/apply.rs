//! Step four: writes what differs, in an order that never leaves a sidecar without what it is told to read.

use std::marker::PhantomData;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Secret, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    core::{DynamicObject, NamespaceResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    World,
    dereference::Read,
    objects::{Applied, Exposed, Gateway, MANAGED_BY, Prepared, Resources, TLS_ROUTE, US, tls_route_kind},
};
use crate::{
    cluster::{
        nudge,
        objects::{Ours, WriteError, Written, apply, apply_dynamic, remove, remove_dynamic},
        secrets,
    },
    node::names::{main_name, part_prefix},
};

/// Writes everything. Only this makes resources applied.
///
/// # Errors
/// The first object that could not be written; the next pass goes on from there.
pub(super) async fn all(
    world: &World,
    prepared: Resources<Prepared>,
    read: &Read,
) -> Result<Resources<Applied>, WriteError> {
    let Resources {
        node,
        new_roots,
        pairs,
        parts,
        main,
        public_root,
        service,
        gateway,
        policy,
        tls_route,
        owner,
        hash,
        state: _,
    } = prepared;
    let writer = Writer { world, namespace: &node.0, ours: Ours::Owner(owner.clone()) };
    // The roots first: a leaf under a root that is lost could never be renewed.
    for root in &new_roots {
        let label = Ours::Label(MANAGED_BY, US.into());
        writer.put_secret(root, &label, read).await?;
    }
    writer.put("ConfigMap", &public_root).await?;
    writer.put("Service", &service).await?;
    for pair in &pairs {
        writer.put_secret(pair, &writer.ours, read).await?;
    }
    for part in &parts {
        writer.put("ConfigMap", part).await?;
    }
    // The manifest last: whoever reads it finds the rest.
    writer.put("ConfigMap", &main).await?;
    writer.remove_orphans(&node.1, &parts).await?;
    writer.policy(&node.1, policy.as_ref()).await?;
    writer.gateway(&node.1, gateway.as_deref()).await?;
    writer.tls_route(&node.1, &tls_route).await?;
    nudge_pods(world, &node, &hash).await;
    let state = PhantomData;
    Ok(Resources {
        node,
        new_roots,
        pairs,
        parts,
        main,
        public_root,
        service,
        gateway,
        policy,
        tls_route,
        owner,
        hash,
        state,
    })
}

/// Writes what is owned by one node.
struct Writer<'w> {
    world: &'w World,
    namespace: &'w str,
    ours: Ours,
}

impl Writer<'_> {
    async fn put<K>(&self, kind: &'static str, wanted: &K) -> Result<(), WriteError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        count(self.world, kind, apply(&self.world.client, wanted, &self.ours).await?);
        Ok(())
    }

    async fn put_secret(&self, wanted: &Secret, ours: &Ours, read: &Read) -> Result<(), WriteError> {
        let written = secrets::apply(&self.world.client, wanted, ours, read.version(&wanted.name_any())).await?;
        count(self.world, "Secret", written);
        Ok(())
    }

    async fn remove<K>(&self, kind: &'static str, name: &str) -> Result<(), WriteError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        count(self.world, kind, remove::<K>(&self.world.client, self.namespace, name, &self.ours).await?);
        Ok(())
    }

    /// The account before the pods that need it; when it is switched off, the pods before the account.
    async fn gateway(&self, node: &str, gateway: Option<&Gateway>) -> Result<(), WriteError> {
        if let Some(Gateway { account, set }) = gateway {
            self.put("ServiceAccount", account).await?;
            return self.put("StatefulSet", set).await;
        }
        self.remove::<StatefulSet>("StatefulSet", &main_name(node)).await?;
        self.remove::<ServiceAccount>("ServiceAccount", &main_name(node)).await
    }

    async fn policy(&self, node: &str, policy: Option<&NetworkPolicy>) -> Result<(), WriteError> {
        match policy {
            Some(policy) => self.put("NetworkPolicy", policy).await,
            None => self.remove::<NetworkPolicy>("NetworkPolicy", &main_name(node)).await,
        }
    }

    async fn tls_route(&self, node: &str, route: &Exposed) -> Result<(), WriteError> {
        let api = |version: &str| -> Api<DynamicObject> {
            Api::namespaced_with(self.world.client.clone(), self.namespace, &tls_route_kind(version))
        };
        let written = match route {
            Exposed::Untouched => return Ok(()),
            Exposed::Written { version, route } => {
                apply_dynamic(&api(version), TLS_ROUTE, &**route, &self.ours).await?
            }
            Exposed::Withdrawn { version } => {
                remove_dynamic(&api(version), TLS_ROUTE, &main_name(node), &self.ours).await?
            }
        };
        count(self.world, TLS_ROUTE, written);
        Ok(())
    }

    /// Parts that the configuration no longer needs.
    async fn remove_orphans(&self, name: &str, parts: &[ConfigMap]) -> Result<(), WriteError> {
        let api: Api<ConfigMap> = Api::namespaced(self.world.client.clone(), self.namespace);
        let labelled = ListParams::default().labels(&format!("{}={name}", crds::NODE_LABEL));
        let prefix = part_prefix(name);
        let failed = |e| WriteError::Api { kind: "ConfigMap".into(), name: format!("{prefix}*"), source: Box::new(e) };
        for there in api.list_metadata(&labelled).await.map_err(failed)? {
            let there = there.name_any();
            let part = there.strip_prefix(&prefix);
            let is_part = part.is_some_and(|p| p.starts_with("routes-") || p.starts_with("registrations-"));
            if is_part && !parts.iter().any(|part| part.name_any() == there) {
                self.remove::<ConfigMap>("ConfigMap", &there).await?;
            }
        }
        Ok(())
    }
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
