//! Until when the nodes' certificates live: roots, leaves, and the pairs of their members.

use std::time::{Duration, SystemTime};

use crds::MeshNode;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt, api::ListParams, core::DeserializeGuard};
use mesh_pki::CertificateInfo;

use super::finding::{Finding, State};

/// A root's successor has to reach every partner first, and people carry it.
const ROOT_WARNING: Duration = Duration::from_secs(30 * 86_400);

/// The certificates of every node of the namespaces.
pub(crate) async fn check(client: &Client, scopes: &[Option<&str>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in scopes {
        let api: Api<DeserializeGuard<MeshNode>> =
            scope.map_or_else(|| Api::all(client.clone()), |n| Api::namespaced(client.clone(), n));
        // What cannot be listed is said by the check of the conditions, and one that cannot be read hides no other.
        let listed = api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        for node in listed.into_iter().filter_map(|node| node.0.ok()) {
            findings.extend(of_node(client, &node).await);
        }
    }
    findings
}

async fn of_node(client: &Client, node: &MeshNode) -> Vec<Finding> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let subject = format!("{namespace}/{name}");
    let now = SystemTime::now();
    let mut findings = Vec::new();
    for root in node.status.iter().flat_map(|s| &s.root_certificates) {
        findings.push(judge_root(&root.pem, now).of(subject.clone()));
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    for (secret, key, what) in [("leaf", "tls.crt", "its leaf"), ("member", "member.crt", "its members' certificate")] {
        let found = secrets.get_opt(&format!("mesh-{name}-{secret}")).await;
        findings.extend(judge_secret(found, key, what, now).map(|f| f.of(subject.clone())));
    }
    findings
}

fn judge_root(pem: &str, now: SystemTime) -> Finding {
    const REMEDY: &str = "give the partners the next root in time: docs/identity.md";
    match CertificateInfo::from_pem(pem) {
        Ok(info) => {
            let found = judge_life("certificates", "its root", &info, now, REMEDY);
            let left = info.not_after.duration_since(now).unwrap_or_default();
            if found.state == State::Ok && left < ROOT_WARNING {
                return Finding::bad("certificates", State::Warning, found.said, REMEDY);
            }
            found
        }
        Err(error) => Finding::bad("certificates", State::Failed, format!("its root: {error}"), REMEDY),
    }
}

/// A Secret that is not there is none of this check's business: a node has not each of them.
fn judge_secret(found: kube::Result<Option<Secret>>, key: &str, what: &str, now: SystemTime) -> Option<Finding> {
    const REMEDY: &str = "the operator renews it while it leads: see `operator`, and the MeshNode's conditions";
    let secret = match found {
        Ok(secret) => secret?,
        Err(error) => {
            return Some(Finding::bad(
                "certificates",
                State::Unknown,
                format!("{what}: {error}"),
                "needs the right to read it",
            ));
        }
    };
    let pem = secret.data.unwrap_or_default().remove(key)?.0;
    Some(match CertificateInfo::from_pem(&String::from_utf8_lossy(&pem)) {
        Ok(info) => judge_life("certificates", what, &info, now, REMEDY),
        Err(error) => Finding::bad("certificates", State::Failed, format!("{what}: {error}"), REMEDY),
    })
}

/// Expired is broken; with less than a tenth of its life left, whoever should renew it did not.
pub(super) fn judge_life(
    check: &'static str,
    what: &str,
    info: &CertificateInfo,
    now: SystemTime,
    remedy: &str,
) -> Finding {
    let life = info.not_after.duration_since(info.not_before).unwrap_or_default();
    match info.not_after.duration_since(now) {
        Err(_) => Finding::bad(check, State::Failed, format!("{what} has expired"), remedy),
        Ok(left) if left < life / 10 => {
            Finding::bad(check, State::Warning, format!("{what} ends in {}", span(left)), remedy)
        }
        Ok(left) => Finding::ok(check, format!("{what} lives for another {}", span(left))),
    }
}

fn span(left: Duration) -> String {
    match left.as_secs() {
        seconds if seconds >= 2 * 86_400 => format!("{} days", seconds / 86_400),
        seconds if seconds >= 7200 => format!("{} hours", seconds / 3600),
        seconds => format!("{} minutes", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use mesh_pki::{Algorithm, Identity, Root};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn info(now: SystemTime) -> CertificateInfo {
        let identity = Identity { node_id: "n".into(), name: "Bank N".into() };
        Root::generate(&identity, Algorithm::EcdsaP256, 100 * DAY, now).unwrap().info().clone()
    }

    #[test]
    fn a_certificate_that_nobody_renews_is_seen_before_it_ends() {
        let start = SystemTime::now();
        let info = info(start);
        let state = |after: Duration| judge_life("certificates", "its leaf", &info, start + after, "renew").state;
        assert_eq!(state(DAY), State::Ok);
        assert_eq!(state(95 * DAY), State::Warning);
        assert_eq!(state(101 * DAY), State::Failed);
    }

    #[test]
    fn times_are_said_in_the_unit_that_people_use() {
        assert_eq!(span(40 * DAY), "40 days");
        assert_eq!(span(Duration::from_secs(3 * 3600)), "3 hours");
        assert_eq!(span(Duration::from_secs(300)), "5 minutes");
    }
}
