//! The table of what the operator's service account may and may not do, asked of the API server line by line.

use anyhow::{Result, ensure};
use e2e::helm::{Helm, chart};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

use super::{in_force, namespace};

/// Verb, group, resource with its part, namespace (empty: the cluster), name (empty: any).
pub(super) type Right = (&'static str, &'static str, &'static str, &'static str, &'static str);

const GROUP: &str = "interconn.dev";
const CORE: &str = "";
const HOOKS: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// In a namespace that it looks after, in either mode.
const WATCHED: &[(&str, &str, &str)] = &[
    ("list", GROUP, "meshnodes"),
    ("watch", GROUP, "meshroutes"),
    ("create", GROUP, "meshroutes"),
    ("patch", GROUP, "meshroutes"),
    ("delete", GROUP, "meshroutes"),
    ("get", GROUP, "serviceregistrations"),
    ("patch", GROUP, "meshnodes"),
    ("patch", GROUP, "meshnodes/status"),
    ("patch", GROUP, "meshroutes/status"),
    ("patch", GROUP, "serviceregistrations/status"),
    ("update", GROUP, "meshnodes/finalizers"),
    ("get", CORE, "secrets"),
    ("create", CORE, "secrets"),
    ("patch", CORE, "configmaps"),
    ("delete", CORE, "configmaps"),
    ("patch", CORE, "services"),
    ("create", "apps", "statefulsets"),
    ("delete", "apps", "statefulsets"),
    ("patch", CORE, "serviceaccounts"),
    ("watch", "networking.k8s.io", "networkpolicies"),
    ("create", "cert-manager.io", "certificaterequests"),
    ("delete", "gateway.networking.k8s.io", "tlsroutes"),
    ("list", CORE, "persistentvolumeclaims"),
    ("get", CORE, "pods"),
    ("watch", CORE, "pods"),
    ("patch", CORE, "pods"),
    ("create", "events.k8s.io", "events"),
];

/// In a namespace that it looks after, in neither mode.
const NEVER_WATCHED: &[(&str, &str, &str)] = &[
    ("delete", GROUP, "meshnodes"),
    ("create", GROUP, "meshnodes"),
    ("create", GROUP, "serviceregistrations"),
    ("patch", GROUP, "serviceregistrations"),
    ("deletecollection", GROUP, "meshroutes"),
    ("delete", CORE, "secrets"),
    ("deletecollection", CORE, "secrets"),
    ("delete", CORE, "services"),
    ("delete", CORE, "persistentvolumeclaims"),
    ("create", CORE, "pods"),
    ("delete", CORE, "pods"),
    ("create", CORE, "pods/exec"),
    ("create", CORE, "pods/ephemeralcontainers"),
    ("create", CORE, "serviceaccounts/token"),
    ("impersonate", CORE, "serviceaccounts"),
    ("create", "apps", "deployments"),
    ("create", RBAC, "roles"),
    ("create", RBAC, "rolebindings"),
    ("escalate", RBAC, "roles"),
    ("bind", RBAC, "roles"),
];

/// Of the cluster, in either mode: whose token it is, and what its account may do.
const OF_THE_CLUSTER: [Right; 2] = [
    ("create", "authentication.k8s.io", "tokenreviews", "", ""),
    ("create", "authorization.k8s.io", "subjectaccessreviews", "", ""),
];

/// Of the cluster, in neither mode.
const NEVER_OF_THE_CLUSTER: &[Right] = &[
    ("create", HOOKS, "mutatingwebhookconfigurations", "", ""),
    ("patch", HOOKS, "mutatingwebhookconfigurations", "", "of-somebody-else"),
    ("delete", HOOKS, "mutatingwebhookconfigurations", "", ""),
    ("patch", HOOKS, "validatingwebhookconfigurations", "", ""),
    ("get", CORE, "nodes", "", ""),
    ("patch", CORE, "namespaces", "", ""),
    ("create", RBAC, "clusterroles", "", ""),
    ("bind", RBAC, "clusterroles", "", ""),
    ("patch", "apiextensions.k8s.io", "customresourcedefinitions", "", ""),
    ("approve", "certificates.k8s.io", "signers", "", ""),
    ("*", "*", "*", "", ""),
];

pub(super) async fn may(client: &Client, account: &str, right: &Right) -> Result<bool> {
    let (verb, group, resource, namespace, name) = *right;
    let (resource, part) = resource.split_once('/').map_or((resource, None), |(r, p)| (r, Some(p.to_owned())));
    let attributes = ResourceAttributes {
        verb: Some(verb.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: part,
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(account.into()),
        groups: Some(vec!["system:serviceaccounts".into(), "system:authenticated".into()]),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = Api::<SubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}

async fn all(client: &Client, account: &str, allowed: bool, rights: impl IntoIterator<Item = Right>) -> Result<()> {
    let mut wrong = Vec::new();
    for right in rights {
        if may(client, account, &right).await? != allowed {
            wrong.push(format!("{right:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{account} {} {}", if allowed { "may not" } else { "may" }, wrong.join(", "));
    Ok(())
}

fn within(table: &'static [(&str, &str, &str)], place: &'static str) -> impl Iterator<Item = Right> {
    table.iter().map(move |(verb, group, resource)| (*verb, *group, *resource, place, ""))
}

/// In its own namespace: the Lease and the roots.
fn own(place: &'static str) -> [Right; 5] {
    [
        ("update", "coordination.k8s.io", "leases", place, ""),
        ("get", CORE, "secrets", place, ""),
        ("create", CORE, "secrets", place, ""),
        ("patch", CORE, "secrets", place, ""),
        ("delete", CORE, "secrets", place, ""),
    ]
}

fn install(helm: &Helm, namespace: &str, more: &[&str]) -> Result<()> {
    let chart = chart();
    let install = ["install", "rights", chart.as_str(), "--namespace", namespace, "--set", "crds.enabled=false"];
    helm.run(&[install.as_slice(), more].concat()).map(drop)
}

/// With a ClusterRole.
pub(super) async fn everywhere(client: &Client, helm: &Helm) -> Result<()> {
    namespace(client, "everywhere").await?;
    install(helm, "everywhere", &[])?;
    let account = "system:serviceaccount:everywhere:rights-interconn-operator";
    in_force(client, account, &("list", GROUP, "meshnodes", "any", "")).await?;
    let hook: Right =
        ("patch", HOOKS, "mutatingwebhookconfigurations", "", "interconn-rights-interconn-operator-everywhere");
    let certificate = "rights-interconn-webhook-certificate";
    let by_name: [Right; 7] = [
        hook,
        ("get", HOOKS, hook.2, "", hook.4),
        ("watch", HOOKS, hook.2, "", hook.4),
        ("list", CORE, "secrets", "everywhere", certificate),
        ("watch", CORE, "secrets", "everywhere", certificate),
        ("get", CORE, "services", "everywhere", "rights-interconn-webhook"),
        ("get", CORE, "services", "everywhere", "rights-interconn-intake"),
    ];
    all(client, account, true, within(WATCHED, "any").chain(own("everywhere")).chain(by_name).chain(OF_THE_CLUSTER))
        .await?;
    all(client, account, false, within(NEVER_WATCHED, "any").chain(NEVER_OF_THE_CLUSTER.iter().copied())).await?;
    // Leases of others are other programs' leadership.
    all(client, account, false, [("update", "coordination.k8s.io", "leases", "any", "")]).await
}

/// With a Role in each of the named ones, and nothing in any other.
pub(super) async fn in_named_namespaces(client: &Client, helm: &Helm) -> Result<()> {
    for place in ["named", "tenant-a", "tenant-b"] {
        namespace(client, place).await?;
    }
    install(helm, "named", &["--set", "watchNamespaces={tenant-a,tenant-b}"])?;
    let account = "system:serviceaccount:named:rights-interconn-operator";
    in_force(client, account, &("list", GROUP, "meshnodes", "tenant-b", "")).await?;
    all(
        client,
        account,
        true,
        within(WATCHED, "tenant-a").chain(within(WATCHED, "tenant-b")).chain(own("named")).chain(OF_THE_CLUSTER),
    )
    .await?;
    all(client, account, false, within(NEVER_WATCHED, "tenant-a").chain(NEVER_OF_THE_CLUSTER.iter().copied())).await?;
    all(client, account, false, within(WATCHED, "tenant-c").chain(within(WATCHED, "kube-system"))).await?;
    // No Secret anywhere else, and none of all namespaces at once.
    let secrets = ["get", "list", "watch", "create", "patch", "delete"];
    let cluster_wide =
        secrets.into_iter().flat_map(|verb| ["", "tenant-c", "default"].map(|p| (verb, CORE, "secrets", p, "")));
    all(client, account, false, cluster_wide).await
}
