//! Changes of trust, written as MeshRoutes: if the pod's service account may do that very thing to that very route.

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
};
use serde_json::json;

use super::{
    caller::Caller,
    change::{Refused, Step, decide},
};

/// Who writes routes at an application's word: another manager than people's, so that neither takes fields from the other.
pub(super) const MANAGER: &str = "interconn-intake";

/// Why a change was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error(
        "{user} may not {verb} meshroutes/{name} in namespace {namespace}: let an administrator grant it, or make the MeshRoute with kubectl"
    )]
    Forbidden { user: String, verb: &'static str, name: String, namespace: String },
    #[error("pod {0} is gone, or carries no label {NODE_LABEL}: it belongs to no node")]
    NoNode(String),
    #[error("MeshRoute {0} was changed by somebody else at the same time: change it there, or try again")]
    Conflict(String),
    #[error("the API server did not take it: {0}")]
    Api(#[from] kube::Error),
}

impl NotWritten {
    /// The protocol's code; `None` where trying again may help.
    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refused) => Some(refused.code()),
            Self::Forbidden { .. } | Self::NoNode(_) | Self::Conflict(_) => Some("E0000000614"),
            Self::Api(_) => None,
        }
    }
}

/// Where routes are written.
pub(super) struct Routes {
    client: Client,
}

impl Routes {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Does what is asked. Answers a sentence for people.
    pub(super) async fn change(&self, caller: &Caller, change: &RouteChange) -> Result<String, NotWritten> {
        let node = self.node(caller).await?;
        let name = node.name_any();
        let all = self.api::<MeshRoute>(caller).list(&ListParams::default()).await?.items;
        let routes: Vec<MeshRoute> = all.into_iter().filter(|route| route.spec.node_ref.name == name).collect();
        let step = decide(change, (&name, &node.spec.node_id), &routes)?;
        if let Some(verb) = step.verb() {
            self.require(caller, verb, step.name()).await?;
        }
        let there = routes.iter().find(|route| route.name_any() == step.name());
        self.write(caller, &step, there).await?;
        let done = match step.verb() {
            None => "says so already",
            Some("delete") => "is deleted",
            Some(_) => "is written",
        };
        Ok(format!("MeshRoute {} {done}", step.name()))
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
        Err(NotWritten::Forbidden { user, verb, name: name.into(), namespace })
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
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => Err(NotWritten::Conflict(step.name().into())),
            other => Ok(other?),
        }
    }
}
