//! Before an installation: whether this cluster takes it, and whether whoever asks may install it.

use kube::Client;

use super::{
    cluster,
    finding::{Finding, State},
    rights::{Whose, may},
};

/// What the chart makes in the cluster as a whole.
const MADE: [(&str, &str); 4] = [
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
];

/// Version, definitions of others, and the rights to install.
pub(crate) async fn check(client: &Client, namespace: &str) -> Vec<Finding> {
    let mut findings = vec![cluster::version(client).await];
    findings.extend(cluster::installed(client, false).await);
    let mut missing = Vec::new();
    let cluster_wide = MADE.iter().map(|(group, resource)| (None, *group, *resource));
    let own = [("apps", "deployments"), ("", "services"), ("", "serviceaccounts"), ("", "secrets")];
    let own = own.into_iter().map(|(group, resource)| (Some(namespace), group, resource));
    for (scope, group, resource) in cluster_wide.chain(own) {
        match may(client, &Whose::Mine, (scope, group, resource, None, "create")).await {
            Ok(true) => {}
            Ok(false) => missing.push(format!("create {resource}")),
            Err(error) => {
                findings.push(Finding::bad("rights", State::Unknown, error.to_string(), ""));
                return findings;
            }
        }
    }
    findings.push(judge(&missing).of(namespace));
    findings
}

fn judge(missing: &[String]) -> Finding {
    if missing.is_empty() {
        return Finding::ok("rights", "you may install the chart here");
    }
    let remedy = "have somebody install what is the cluster's (docs/install.md), or install with other rights";
    Finding::bad("rights", State::Failed, format!("you lack: {}", missing.join(", ")), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lacks_a_right_is_told_which() {
        assert_eq!(judge(&[]).state, State::Ok);
        assert!(judge(&["create clusterroles".into()]).said.contains("create clusterroles"));
    }
}
