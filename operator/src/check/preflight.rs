//! Before an installation: whether this cluster takes it, and whether whoever asks may install it.
//!
//! Asked is for each kind that the chart makes, where it makes it: in the cluster, in the release's namespace, and with
//! `watchNamespaces` in each of those. Kinds of others (Prometheus) only where the cluster has them, as the chart does.

use kube::Client;

use super::{
    cluster,
    finding::{Finding, State},
    rights::{Question, Whose, may},
};

/// Group and resource.
type Made = (&'static str, &'static str);

const DEFINITIONS: Made = ("apiextensions.k8s.io", "customresourcedefinitions");
/// In the cluster as a whole. With `watchNamespaces` these are for webhook and intake alone.
const IN_CLUSTER: [Made; 3] = [
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
];
/// In the release's namespace; Helm keeps its books in Secrets.
const IN_RELEASE: [Made; 9] = [
    ("apps", "deployments"),
    ("", "services"),
    ("", "serviceaccounts"),
    ("", "secrets"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("coordination.k8s.io", "leases"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
];
/// The same where the cluster has the group of the first.
const WITH_PROMETHEUS: [Made; 4] = [
    ("monitoring.coreos.com", "servicemonitors"),
    ("monitoring.coreos.com", "podmonitors"),
    ("monitoring.coreos.com", "prometheusrules"),
    ("", "configmaps"),
];
/// In each of `watchNamespaces`.
const IN_WATCHED: [Made; 2] = [("rbac.authorization.k8s.io", "roles"), ("rbac.authorization.k8s.io", "rolebindings")];

/// Version, definitions of others, and the rights to install.
pub(crate) async fn check(client: &Client, namespace: &str, scopes: &[Option<&str>]) -> Vec<Finding> {
    let mut findings = vec![cluster::version(client).await];
    let definitions = cluster::installed(client, false).await;
    let are_served = definitions.iter().all(|finding| finding.said.starts_with("served"));
    findings.extend(definitions);
    let watched: Vec<&str> = scopes.iter().copied().flatten().collect();
    let asked = ask(client, namespace, &watched, are_served).await;
    match asked {
        Ok(found) => findings.extend(found),
        Err(error) => {
            let remedy = "see that the API server is in reach, and that you may ask it what you may";
            findings.push(Finding::bad("rights", State::Unknown, error.to_string(), remedy));
        }
    }
    findings
}

async fn ask(client: &Client, namespace: &str, watched: &[&str], are_served: bool) -> kube::Result<Vec<Finding>> {
    let mut release = IN_RELEASE.to_vec();
    if has_prometheus(client).await? {
        release.extend(WITH_PROMETHEUS);
    }
    let mut cluster = if are_served { Vec::new() } else { vec![DEFINITIONS] };
    let mut findings = Vec::new();
    if watched.is_empty() {
        cluster.extend(IN_CLUSTER);
    } else {
        let missing = missing(client, None, &IN_CLUSTER).await?;
        findings.push(judge(&missing, Need::OfWebhookAndIntake).of("webhook and intake"));
    }
    findings.push(judge(&missing(client, None, &cluster).await?, Need::OfAll).of("the cluster"));
    findings.push(judge(&missing(client, Some(namespace), &release).await?, Need::OfAll).of(namespace));
    for name in watched {
        findings.push(judge(&missing(client, Some(name), &IN_WATCHED).await?, Need::OfAll).of(*name));
    }
    let roles = if watched.is_empty() { "clusterroles" } else { "roles" };
    let place = watched.first().copied();
    let escalates = may(client, &Whose::Mine, (place, "rbac.authorization.k8s.io", roles, None, "escalate")).await?;
    findings.push(judge_roles(escalates));
    Ok(findings)
}

async fn has_prometheus(client: &Client) -> kube::Result<bool> {
    let (group, _) = WITH_PROMETHEUS[0];
    Ok(client.list_api_groups().await?.groups.iter().any(|served| served.name == group))
}

async fn missing(client: &Client, place: Option<&str>, kinds: &[Made]) -> kube::Result<Vec<String>> {
    let mut missing = Vec::new();
    for (group, resource) in kinds {
        let question: Question<'_> = (place, group, resource, None, "create");
        if !may(client, &Whose::Mine, question).await? {
            missing.push(format!("create {resource}"));
        }
    }
    Ok(missing)
}

/// What cannot be installed without a right.
#[derive(Clone, Copy)]
enum Need {
    OfAll,
    OfWebhookAndIntake,
}

fn judge(missing: &[String], need: Need) -> Finding {
    if missing.is_empty() {
        return Finding::ok("rights", "you may install the chart here");
    }
    let (state, remedy) = match need {
        Need::OfAll => (
            State::Failed,
            "have somebody install what is the cluster's (docs/install.md), or install with other rights",
        ),
        Need::OfWebhookAndIntake => (
            State::Warning,
            "install with webhook.enabled=false, intake.enabled=false and rbac.aggregate=false, or with other rights",
        ),
    };
    Finding::bad("rights", state, format!("you lack: {}", missing.join(", ")), remedy)
}

/// The API server lets nobody give what he has not, but for those who may escalate.
fn judge_roles(escalates: bool) -> Finding {
    if escalates {
        return Finding::ok("rights", "you may give the operator its rights").of("roles");
    }
    let said = "you may give the operator the rights that you have yourself, and no others";
    let remedy =
        "install as an administrator, or have one write its roles (docs/install.md has them; rbac.create=false)";
    Finding::bad("rights", State::Warning, said, remedy).of("roles")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn who_lacks_a_right_is_told_which_and_what_can_be_left_out_is_a_warning() {
        assert_eq!(judge(&[], Need::OfAll).state, State::Ok);
        let missing = ["create clusterroles".to_owned()];
        let told = judge(&missing, Need::OfAll);
        assert!(told.state == State::Failed && told.said.contains("create clusterroles"), "{told:?}");
        let told = judge(&missing, Need::OfWebhookAndIntake);
        assert!(told.state == State::Warning && told.remedy.contains("intake.enabled=false"), "{told:?}");
        assert_eq!((judge_roles(true).state, judge_roles(false).state), (State::Ok, State::Warning));
    }

    /// The list of what the chart makes for each case of values is held against the chart by a test of its own.
    #[test]
    fn each_kind_that_the_chart_makes_is_asked_for() {
        // `helm test` makes and removes the first three; the next is made where somebody brings the webhook's certificate.
        let others = ["Namespace", "Pod", "MeshNode", "Certificate"];
        let made: BTreeSet<String> = include_str!("../../../charts/cases/objects.txt")
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_once(' '))
            .map(|(kind, _)| kind)
            .filter(|kind| kind.starts_with(char::is_uppercase) && !others.contains(kind))
            .map(|kind| format!("{}s", kind.to_lowercase()).replace("policys", "policies"))
            .collect();
        let all = [&[DEFINITIONS][..], &IN_CLUSTER, &IN_RELEASE, &WITH_PROMETHEUS, &IN_WATCHED].concat();
        let asked: BTreeSet<String> = all.into_iter().map(|(_, resource)| resource.to_owned()).collect();
        assert_eq!(made, asked);
    }
}
