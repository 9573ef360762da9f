//! Changes of trust, written as MeshRoutes: if the pod's service account may do that very thing to that very route.
//!
//! An account is asked about before anything is looked at, so that one without rights learns nothing of the routes and costs no
//! list. Lists come in pages, a few at a time, and of each only the routes of that partner are kept: what a pod asks for takes
//! a bounded piece of this process, however many routes its namespace has. Each page takes its turn anew, and of a namespace one
//! change looks at a time: one with many routes holds up its own pods alone.

use crds::{
    MeshNode, MeshRoute, NODE_LABEL,
    intake::{INTAKE, MADE_BY, RouteChange},
};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    caller::Caller,
    change::{Refused, Step, decide, partner, route_name},
};
use crate::lines::Lines;

/// Pages that are looked at once, of all pods.
const LOOKING: usize = 2;
/// Routes of a page: with four roots of 16 KiB each it has some 7 MB, and usually 600 KB.
const PAGE: u32 = 100;

/// Who writes routes at an application's word: another manager than people's, so that neither takes fields from the other.
pub(super) const MANAGER: &str = "interconn-intake";

/// Why a change was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error(
        "{user} may not {verb} {what} in namespace {namespace}: let an administrator grant it, or make the MeshRoute with kubectl"
    )]
    Forbidden { user: String, verb: &'static str, what: String, namespace: String },
    #[error("pod {0} is gone, or carries no label {NODE_LABEL}: it belongs to no node")]
    NoNode(String),
    #[error("MeshRoute {0} was changed by somebody else at the same time: change it there, or try again")]
    Conflict(String),
    #[error("what MeshRoute {0} says was set by somebody else: change it there")]
    Held(String),
    #[error("the API server did not say that it took it: {0}")]
    Api(#[from] kube::Error),
}

impl NotWritten {
    /// The protocol's code; `None` where trying again may help.
    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refused) => Some(refused.code()),
            Self::Forbidden { .. } | Self::NoNode(_) | Self::Conflict(_) | Self::Held(_) => Some("E0000000614"),
            Self::Api(_) => None,
        }
    }
}

/// The operator itself writes a route's status just after a change, and that is in the way of the next one. What is in the way
/// after so many looks is a person's.
const TRIES: usize = 4;

/// Where routes are written.
pub(super) struct Routes {
    client: Client,
    looking: Semaphore,
    /// One for each namespace where somebody looks.
    lines: Lines<()>,
}

impl Routes {
    pub(super) fn new(client: Client) -> Self {
        Self { client, looking: Semaphore::new(LOOKING), lines: Lines::new(|()| false) }
    }

    /// Does what is asked. Answers a sentence for people.
    pub(super) async fn change(&self, caller: &Caller, change: &RouteChange) -> Result<String, NotWritten> {
        for _ in 1..TRIES {
            match self.change_once(caller, change).await {
                Err(NotWritten::Conflict(_)) => {}
                done => return done,
            }
        }
        self.change_once(caller, change).await
    }

    async fn change_once(&self, caller: &Caller, change: &RouteChange) -> Result<String, NotWritten> {
        let node = self.node(caller).await?;
        let (node_name, partner) = (node.name_any(), partner(change));
        self.require_any(caller, change, &route_name(&node_name, partner)).await?;
        let routes = self.of_partner(caller, &node_name, partner).await?;
        let decided = decide(change, (&node_name, &node.spec.node_id), &routes);
        let name = match &decided {
            Ok(step) => Some(step.name()),
            Err(refused) => refused.route(),
        };
        let there = name.and_then(|name| routes.iter().find(|route| route.name_any() == name));
        // What is so already takes no right beyond having been heard: an application says it at each of its starts.
        if let Some(name) = name
            && !matches!(decided, Ok(Step::Nothing { .. }))
        {
            self.require_found(caller, (verb(change, there), name), partner).await?;
        }
        let step = decided?;
        let done = match &step {
            // Not by its name, which may be a person's.
            Step::Nothing { .. } => return Ok(format!("the MeshRoute to {partner} says so already")),
            Step::Create { .. } | Step::Update { .. } => "is written",
            Step::Delete { .. } => "is deleted",
        };
        // Before the write: whatever becomes of us behind it, it is known who asked for it.
        let Caller { namespace, pod, user, .. } = caller;
        let route = step.name();
        tracing::info!(audit = true, namespace, pod, user, route, partner, "intake: writes a change of trust");
        self.write(caller, &step, there).await?;
        Ok(format!("MeshRoute {route} {done}"))
    }

    /// The node's routes to a partner.
    async fn of_partner(&self, caller: &Caller, node: &str, partner: &str) -> Result<Vec<MeshRoute>, NotWritten> {
        let line = self.lines.of(&caller.namespace);
        let _first = line.lock().await;
        let api = self.api::<MeshRoute>(caller);
        let (mut found, mut page) = (Vec::new(), ListParams::default().limit(PAGE));
        loop {
            // It is never closed. Held until the page is read, and no page longer.
            let turn = self.looking.acquire().await.ok();
            let list = api.list(&page).await?;
            found.extend(list.items.into_iter().filter(|route| {
                route.spec.node_ref.name == node && route.spec.peer.node_id.eq_ignore_ascii_case(partner)
            }));
            drop(turn);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    fn api<K>(&self, caller: &Caller) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &caller.namespace)
    }

    /// The node of the pod, by the label that injection wrote.
    async fn node(&self, caller: &Caller) -> Result<MeshNode, NotWritten> {
        let pod = self.api::<Pod>(caller).get_metadata_opt(&caller.pod).await?;
        let pod = pod.filter(|pod| pod.uid().as_ref() == Some(&caller.pod_uid));
        let name = pod.and_then(|pod| pod.labels().get(NODE_LABEL).cloned());
        let no_node = || NotWritten::NoNode(caller.pod.clone());
        self.api::<MeshNode>(caller).get_opt(&name.ok_or_else(no_node)?).await?.ok_or_else(no_node)
    }

    /// Whether the account may do anything of the kind, to the route that applications of its node would get: for a `put` that is
    /// there or not.
    async fn require_any(&self, caller: &Caller, change: &RouteChange, name: &str) -> Result<(), NotWritten> {
        match (change, self.require(caller, verb(change, None), name).await) {
            (RouteChange::Put { .. }, Err(forbidden @ NotWritten::Forbidden { .. })) => {
                self.require(caller, "update", name).await.map_err(|error| match error {
                    NotWritten::Forbidden { .. } => forbidden,
                    other => other,
                })
            }
            (_, answer) => answer,
        }
    }

    /// As [`Self::require`], of what the list found: its name is for those who may.
    async fn require_found(
        &self,
        caller: &Caller,
        (verb, name): (&'static str, &str),
        partner: &str,
    ) -> Result<(), NotWritten> {
        self.require(caller, verb, name).await.map_err(|error| match error {
            NotWritten::Forbidden { user, verb, namespace, .. } => {
                NotWritten::Forbidden { user, verb, what: format!("the MeshRoute to {partner}"), namespace }
            }
            other => other,
        })
    }

    /// Asks the API server whether the pod's service account may do it itself.
    async fn require(&self, caller: &Caller, verb: &'static str, name: &str) -> Result<(), NotWritten> {
        let attributes = ResourceAttributes {
            group: Some(crds::GROUP.into()),
            resource: Some("meshroutes".into()),
            namespace: Some(caller.namespace.clone()),
            // Nobody can be allowed to create by name.
            name: (verb != "create").then(|| name.to_owned()),
            verb: Some(verb.into()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(caller.user.clone()),
            uid: caller.uid.clone(),
            groups: Some(caller.groups.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer =
            Api::<SubjectAccessReview>::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        if answer.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        let (user, namespace) = (caller.user.clone(), caller.namespace.clone());
        Err(NotWritten::Forbidden { user, verb, what: format!("meshroutes/{name}"), namespace })
    }

    async fn write(&self, caller: &Caller, step: &Step, there: Option<&MeshRoute>) -> Result<(), NotWritten> {
        let api = self.api::<MeshRoute>(caller);
        let written = match step {
            Step::Nothing { .. } => Ok(()),
            Step::Create { name, spec } | Step::Update { name, spec } => {
                let route = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshRoute", "spec": spec,
                    "metadata": {"name": name, "labels": {MADE_BY: INTAKE},
                        "resourceVersion": there.and_then(ResourceExt::resource_version)}});
                // Not forced: what a person changed in it by kubectl stays.
                api.patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(route)).await.map(drop)
            }
            Step::Delete { name } => {
                let preconditions =
                    there.map(|route| Preconditions { uid: route.uid(), resource_version: route.resource_version() });
                api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await.map(drop)
            }
        };
        match written {
            Err(kube::Error::Api(refusal)) if is_held(&refusal) => Err(NotWritten::Held(step.name().into())),
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => Err(NotWritten::Conflict(step.name().into())),
            other => Ok(other?),
        }
    }
}

/// Whether fields belong to another manager, which no new look changes: a write that came between says so too, by 409 alone.
fn is_held(refusal: &Status) -> bool {
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    refusal.code == 409 && causes.into_iter().any(|cause| cause.reason == "FieldManagerConflict")
}

/// What a change does to a route that is there, or is not.
fn verb(change: &RouteChange, there: Option<&MeshRoute>) -> &'static str {
    match (change, there) {
        (RouteChange::Remove { .. }, _) => "delete",
        (RouteChange::Put { .. }, Some(_)) => "update",
        (RouteChange::Put { .. }, None) => "create",
    }
}

#[cfg(test)]
pub(super) mod tests;
