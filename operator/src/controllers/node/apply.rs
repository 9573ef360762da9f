//! Step four: writes what differs, in an order that never leaves a sidecar without what it is told to read.

use std::marker::PhantomData;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, ObjectReference, Secret, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    core::{DynamicObject, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;

use super::{
    World,
    dereference::Read,
    objects::{Applied, Exposed, Gateway, MANAGED_BY, Planned, Prepared, Resources, TLS_ROUTE, US, tls_route_kind},
    repaired::{self, Repair},
};
use crate::{
    cluster::{
        objects::{Kind, Ours, WriteError, Written, apply, apply_dynamic, remove, remove_dynamic},
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
        budget,
        tls_route,
        owner,
        hash,
        state: _,
    } = prepared;
    let regarding = repaired::regarding(&node.0, &owner);
    let writer = Writer { world, node: &node, ours: Ours::Owner(owner.clone()), regarding };
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
    writer.put_or_remove("NetworkPolicy", &node.1, policy.as_ref()).await?;
    writer.gateway(&node.1, gateway.as_deref()).await?;
    writer.tls_route(&node.1, &tls_route).await?;
    writer.budget(&node.1, budget.as_ref()).await?;
    // Pods find the change by themselves, only later: nothing waits for it.
    world.nudges.tell(&node, &hash);
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
        budget,
        tls_route,
        owner,
        hash,
        state,
    })
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Writes what is owned by one node.
struct Writer<'w> {
    world: &'w World,
    /// Its namespace and name.
    node: &'w (String, String),
    ours: Ours,
    regarding: ObjectReference,
}

impl Writer<'_> {
    async fn put<K: Kind>(&self, kind: &'static str, wanted: &K) -> Result<(), WriteError> {
        let known = self.world.versions.of(kind, &self.node.0, &wanted.name_any());
        if self.world.left.stays(self.node, kind, wanted, &known) {
            return Ok(());
        }
        let put = apply(&self.world.client, wanted, &self.ours).await?;
        count(self.world, kind, put.written);
        self.tell(self.world.left.put(self.node, kind, wanted, &put)).await;
        Ok(())
    }

    async fn put_secret(&self, wanted: &Secret, ours: &Ours, read: &Read) -> Result<(), WriteError> {
        let put = secrets::apply(&self.world.client, wanted, ours, read.secret(&wanted.name_any())).await?;
        count(self.world, "Secret", put.written);
        self.tell(self.world.left.put_secret(self.node, wanted, &put)).await;
        Ok(())
    }

    async fn tell(&self, repair: Option<Repair>) {
        if let Some(repair) = repair {
            repaired::tell(self.world, &self.regarding, &repair).await;
        }
    }

    async fn remove<K>(&self, kind: &'static str, name: &str) -> Result<(), WriteError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let known = self.world.versions.of(kind, &self.node.0, name);
        if self.world.left.stays_away(self.node, kind, name, &known) {
            return Ok(());
        }
        count(self.world, kind, remove::<K>(&self.world.client, &self.node.0, name, &self.ours).await?);
        self.world.left.removed(self.node, kind, name);
        Ok(())
    }

    /// The account before the pods that need it; when it is switched off, the pods before the account.
    async fn gateway(&self, node: &str, gateway: Option<&Gateway>) -> Result<(), WriteError> {
        if let Some(Gateway { account, set }) = gateway {
            self.put("ServiceAccount", account).await?;
            return match set {
                Planned::Now(set) => self.put("StatefulSet", &**set).await,
                Planned::Later(_) => Ok(()),
            };
        }
        self.remove::<StatefulSet>("StatefulSet", &main_name(node)).await?;
        self.remove::<ServiceAccount>("ServiceAccount", &main_name(node)).await
    }

    /// What a node has one of, or none.
    async fn put_or_remove<K: Kind>(
        &self,
        kind: &'static str,
        node: &str,
        wanted: Option<&K>,
    ) -> Result<(), WriteError> {
        match wanted {
            Some(wanted) => self.put(kind, wanted).await,
            None => self.remove::<K>(kind, &main_name(node)).await,
        }
    }

    /// Roles of a version before do not name budgets, and the image may be newer than they are: nobody misses one that is not wanted.
    async fn budget(&self, node: &str, wanted: Option<&PodDisruptionBudget>) -> Result<(), WriteError> {
        match self.put_or_remove("PodDisruptionBudget", node, wanted).await {
            Err(WriteError::Api { source, .. }) if wanted.is_none() && is_forbidden(&source) => Ok(()),
            done => done,
        }
    }

    async fn tls_route(&self, node: &str, route: &Exposed) -> Result<(), WriteError> {
        let api = |version: &str| -> Api<DynamicObject> {
            Api::namespaced_with(self.world.client.clone(), &self.node.0, &tls_route_kind(version))
        };
        let written = match route {
            Exposed::Untouched => return Ok(()),
            Exposed::Written { version, route } => {
                apply_dynamic(&api(version), TLS_ROUTE, &**route, &self.ours).await?.written
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
        let api: Api<ConfigMap> = Api::namespaced(self.world.client.clone(), &self.node.0);
        let labelled = ListParams::default().labels(&format!("{}={name}", crds::NODE_LABEL));
        let prefix = part_prefix(name);
        let is_orphan = |there: &str| {
            let part = there.strip_prefix(&prefix);
            let is_part = part.is_some_and(|p| p.starts_with("routes-") || p.starts_with("registrations-"));
            is_part && !parts.iter().any(|part| part.name_any() == there)
        };
        if !self.world.versions.may_have("ConfigMap", &self.node.0, is_orphan) {
            return Ok(());
        }
        let failed = |e| WriteError::Api { kind: "ConfigMap".into(), name: format!("{prefix}*"), source: Box::new(e) };
        for there in api.list_metadata(&labelled).await.map_err(failed)? {
            let there = there.name_any();
            if is_orphan(&there) {
                self.remove::<ConfigMap>("ConfigMap", &there).await?;
            }
        }
        Ok(())
    }
}

fn count(world: &World, kind: &'static str, written: Written) {
    if written == Written::Object {
        world.metrics.wrote(kind);
    }
}
