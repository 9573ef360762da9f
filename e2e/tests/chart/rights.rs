//! What the operator's service account may do: the chart's roles against an exact list, and each entry of it, with what must not be,
//! asked of the API server.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::helm::{Helm, chart};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::content::{objects, text};
use super::{in_force, namespace};

/// One verb on one resource, with its part (`pods/exec`), of a namespace (empty: of all, and of the cluster) and a name (empty: any).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Right {
    place: String,
    group: String,
    resource: String,
    name: String,
    verb: String,
}

fn right(place: &str, (group, resource, name): (&str, &str, &str), verb: &str) -> Right {
    let [place, group, resource, name, verb] = [place, group, resource, name, verb].map(str::to_owned);
    Right { place, group, resource, name, verb }
}

impl Right {
    /// Whether who has this has the other one too.
    fn covers(&self, other: &Self) -> bool {
        let holds = |given: &str, asked: &str| given.is_empty() || given == asked;
        (&self.group, &self.resource, &self.verb) == (&other.group, &other.resource, &other.verb)
            && holds(&self.place, &other.place)
            && holds(&self.name, &other.name)
    }
}

/// A group, a resource, and all that may be done with it.
type Line = (&'static str, &'static str, &'static [&'static str]);

const GROUP: &str = "interconn.dev";
const CORE: &str = "";
const HOOKS: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// In a namespace that it looks after: this and nothing else.
const WATCHED: &[Line] = &[
    (GROUP, "meshnodes", &["get", "list", "watch", "patch"]),
    (GROUP, "meshroutes", &["get", "list", "watch"]),
    (GROUP, "serviceregistrations", &["get", "list", "watch"]),
    (GROUP, "meshnodes/status", &["patch"]),
    (GROUP, "meshroutes/status", &["patch"]),
    (GROUP, "serviceregistrations/status", &["patch"]),
    (GROUP, "meshnodes/finalizers", &["update"]),
    (CORE, "secrets", &["get", "list", "watch", "create", "patch"]),
    (CORE, "configmaps", &["get", "list", "watch", "create", "patch", "delete"]),
    (CORE, "services", &["get", "list", "watch", "create", "patch"]),
    ("apps", "statefulsets", &["get", "list", "watch", "create", "patch", "delete"]),
    (CORE, "serviceaccounts", &["get", "list", "watch", "create", "patch", "delete"]),
    ("networking.k8s.io", "networkpolicies", &["get", "list", "watch", "create", "patch", "delete"]),
    ("policy", "poddisruptionbudgets", &["get", "list", "watch", "create", "patch", "delete"]),
    ("cert-manager.io", "certificaterequests", &["get", "list", "create", "patch", "delete"]),
    ("gateway.networking.k8s.io", "tlsroutes", &["get", "list", "watch", "create", "patch", "delete"]),
    (CORE, "persistentvolumeclaims", &["list"]),
    (CORE, "pods", &["get", "list", "watch", "patch"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];

/// There too, where it has an intake.
const INTAKE: &[Line] = &[(GROUP, "meshroutes", &["create", "patch", "delete"])];

/// In its own namespace: the Lease and the roots.
const OWN: &[Line] = &[
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    (CORE, "secrets", &["get", "create", "patch", "delete"]),
];

/// Of the cluster, where it has an intake: whose token it is, and what its account may do.
const REVIEWS: &[Line] = &[
    ("authentication.k8s.io", "tokenreviews", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
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

/// Of the cluster, in neither mode.
const NEVER_OF_THE_CLUSTER: &[(&str, &str, &str, &str)] = &[
    ("create", HOOKS, "mutatingwebhookconfigurations", ""),
    ("patch", HOOKS, "mutatingwebhookconfigurations", "of-somebody-else"),
    ("delete", HOOKS, "mutatingwebhookconfigurations", ""),
    ("patch", HOOKS, "validatingwebhookconfigurations", ""),
    ("get", CORE, "nodes", ""),
    ("patch", CORE, "namespaces", ""),
    ("create", RBAC, "clusterroles", ""),
    ("bind", RBAC, "clusterroles", ""),
    ("patch", "apiextensions.k8s.io", "customresourcedefinitions", ""),
    ("approve", "certificates.k8s.io", "signers", ""),
    ("*", "*", "*", ""),
];

fn all_of(place: &str, lines: &[Line]) -> BTreeSet<Right> {
    let of = |&(group, resource, verbs): &Line| verbs.iter().map(move |verb| right(place, (group, resource, ""), verb));
    lines.iter().flat_map(of).collect()
}

/// The release `rights` in a namespace of its own, by what its values say.
struct Case {
    namespace: &'static str,
    watched: &'static [&'static str],
    has_webhook: bool,
    has_intake: bool,
}

impl Case {
    fn values(&self) -> Vec<String> {
        let mut values = vec![
            "crds.enabled=false".to_owned(),
            format!("webhook.enabled={}", self.has_webhook),
            format!("intake.enabled={}", self.has_intake),
        ];
        if !self.watched.is_empty() {
            values.push(format!("watchNamespaces={{{}}}", self.watched.join(",")));
        }
        values
    }

    fn account(&self) -> String {
        format!("system:serviceaccount:{}:rights-interconn-operator", self.namespace)
    }

    fn of_webhook(&self) -> BTreeSet<Right> {
        let configuration = format!("interconn-rights-interconn-operator-{}", self.namespace);
        let hook = |verb| right("", (HOOKS, "mutatingwebhookconfigurations", &configuration), verb);
        let mut all: BTreeSet<Right> = ["get", "list", "watch", "patch"].map(hook).into();
        all.insert(right(self.namespace, (CORE, "services", "rights-interconn-webhook"), "get"));
        all
    }

    fn of_intake(&self) -> BTreeSet<Right> {
        let mut all = all_of("", REVIEWS);
        self.places().iter().for_each(|place| all.extend(all_of(place, INTAKE)));
        all.insert(right(self.namespace, (CORE, "services", "rights-interconn-intake"), "get"));
        all
    }

    /// The certificate of both.
    fn of_either(&self) -> BTreeSet<Right> {
        let certificate = (CORE, "secrets", "rights-interconn-webhook-certificate");
        ["list", "watch"].map(|verb| right(self.namespace, certificate, verb)).into()
    }

    /// Where its rights in watched namespaces are given; empty: in all at once.
    fn places(&self) -> &'static [&'static str] {
        if self.watched.is_empty() { &[""] } else { self.watched }
    }

    /// All that it may do.
    fn expected(&self) -> BTreeSet<Right> {
        let mut all = all_of(self.namespace, OWN);
        self.places().iter().for_each(|place| all.extend(all_of(place, WATCHED)));
        for (is_on, rights) in [
            (self.has_webhook, self.of_webhook()),
            (self.has_intake, self.of_intake()),
            (self.has_webhook || self.has_intake, self.of_either()),
        ] {
            all.extend(rights.into_iter().filter(|_| is_on));
        }
        all
    }

    /// What is in the lists of others, and nothing of its own covers.
    fn withheld(&self) -> BTreeSet<Right> {
        let whole = Case { has_webhook: true, has_intake: true, ..*self }.expected();
        let mine = self.expected();
        whole.into_iter().filter(|right| !mine.iter().any(|given| given.covers(right))).collect()
    }

    /// Installs it; the chart's roles say the list and no more, and the API server reads them so.
    async fn holds(&self, client: &Client, helm: &Helm) -> Result<()> {
        for place in self.watched.iter().chain([&self.namespace]) {
            namespace(client, place).await?;
        }
        let (chart, values) = (chart(), self.values().join(","));
        helm.run(&["install", "rights", &chart, "--namespace", self.namespace, "--set", &values])?;
        let manifest = objects(&helm.run(&["get", "manifest", "rights", "--namespace", self.namespace])?)?;
        let (given, expected) = (given(&manifest, self.namespace)?, self.expected());
        let (more, less) = (&given - &expected, &expected - &given);
        ensure!(more.is_empty() && less.is_empty(), "{}: too much: {more:?}; missing: {less:?}", self.namespace);
        let account = self.account();
        in_force(client, &account, &expected).await?;
        all(client, &account, false, &self.withheld()).await?;
        let never = |place| NEVER_WATCHED.iter().map(move |&(v, group, kind)| right(place, (group, kind, ""), v));
        let of_cluster = NEVER_OF_THE_CLUSTER.iter().map(|&(v, group, kind, name)| right("", (group, kind, name), v));
        let place = self.watched.first().copied().unwrap_or("any");
        all(client, &account, false, &never(place).chain(of_cluster).collect()).await
    }
}

/// What the bindings of a release give, all of them to the operator's account.
fn given(manifest: &[Value], own: &str) -> Result<BTreeSet<Right>> {
    let account = json!([{"kind": "ServiceAccount", "name": "rights-interconn-operator", "namespace": own}]);
    let mut all = BTreeSet::new();
    for binding in manifest.iter().filter(|o| text(o, "/kind").ends_with("RoleBinding")) {
        ensure!(binding["subjects"] == account, "somebody else is bound: {binding}");
        let (kind, name) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        let place = text(binding, "/metadata/namespace");
        let is_meant = |o: &&Value| {
            text(o, "/kind") == kind && text(o, "/metadata/name") == name && text(o, "/metadata/namespace") == place
        };
        let role = manifest.iter().find(is_meant).with_context(|| format!("{kind} {name} is not of the chart"))?;
        for rule in role["rules"].as_array().context("no rules")? {
            all.extend(of_rule(place, rule)?);
        }
    }
    Ok(all)
}

fn of_rule(place: &str, rule: &Value) -> Result<Vec<Right>> {
    let known = ["apiGroups", "resources", "resourceNames", "verbs"];
    ensure!(rule.as_object().is_some_and(|r| r.keys().all(|key| known.contains(&key.as_str()))), "{rule}");
    let words = |key: &str| -> Vec<&str> {
        rule[key].as_array().into_iter().flatten().map(|word| word.as_str().unwrap_or_default()).collect()
    };
    let named = words("resourceNames");
    let names = if named.is_empty() { vec![""] } else { named };
    let mut all = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            for name in &names {
                all.extend(words("verbs").into_iter().map(|verb| right(place, (group, resource, name), verb)));
            }
        }
    }
    Ok(all)
}

async fn may(client: &Client, account: &str, right: &Right) -> Result<bool> {
    let (resource, part) =
        right.resource.split_once('/').map_or((right.resource.as_str(), None), |(r, p)| (r, Some(p.to_owned())));
    let attributes = ResourceAttributes {
        verb: Some(right.verb.clone()),
        group: Some(right.group.clone()),
        resource: Some(resource.into()),
        subresource: part,
        namespace: Some(right.place.clone()),
        name: Some(right.name.clone()),
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

/// Whether each of them is answered like this.
pub(super) async fn all(client: &Client, account: &str, allowed: bool, rights: &BTreeSet<Right>) -> Result<()> {
    let mut wrong = Vec::new();
    for right in rights {
        if may(client, account, right).await? != allowed {
            wrong.push(format!("{right:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{account} {} {}", if allowed { "may not" } else { "may" }, wrong.join(", "));
    Ok(())
}

/// With a ClusterRole; with and without what an installation may do without.
pub(super) async fn everywhere(client: &Client, helm: &Helm) -> Result<()> {
    for (namespace, has_webhook, has_intake) in
        [("everywhere", true, true), ("without-webhook", false, true), ("without-intake", true, false)]
    {
        Case { namespace, watched: &[], has_webhook, has_intake }.holds(client, helm).await?;
    }
    // Leases of others are other programs' leadership.
    let lease = right("any", ("coordination.k8s.io", "leases", ""), "update");
    all(client, "system:serviceaccount:everywhere:rights-interconn-operator", false, &[lease].into()).await
}

/// With a Role in each of the named ones, and nothing in any other.
pub(super) async fn in_named_namespaces(client: &Client, helm: &Helm) -> Result<()> {
    let both = &["tenant-a", "tenant-b"];
    let case = Case { namespace: "named", watched: both, has_webhook: true, has_intake: true };
    case.holds(client, helm).await?;
    let alone = Case { namespace: "named-alone", watched: &["tenant-c"], has_webhook: false, has_intake: false };
    alone.holds(client, helm).await?;
    // Nor of all namespaces at once.
    for place in ["", "tenant-c", "default"] {
        all(client, &case.account(), false, &all_of(place, WATCHED)).await?;
        all(client, &case.account(), false, &all_of(place, INTAKE)).await?;
    }
    for place in ["", "tenant-a", "default"] {
        let verbs = ["get", "list", "watch", "create", "patch", "delete"];
        let secrets = verbs.map(|verb| right(place, (CORE, "secrets", ""), verb));
        all(client, &alone.account(), false, &secrets.into()).await?;
    }
    Ok(())
}
