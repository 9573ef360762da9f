//! Whether what is written is what gateways and sidecars run on: the condition `InForce`.
//!
//! The configuration's hash covers the certificates, so a pod that runs on it shows the newest one. Pure: `settled` says whether
//! pods have had time to follow.

use crds::Condition;

use crate::{cluster::conditions::Aspect, controllers::sidecars::Running};

/// All pods of the node run on its newest configuration, and show its newest certificates.
pub(super) const IN_FORCE: &str = "InForce";

/// The reason where that is so.
pub(super) const EVERYWHERE: &str = "Everywhere";

/// A sentence with more names than these is not read.
const NAMED: usize = 10;

/// Whether pods have had time to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The kubelet has had its minute, and more.
    Yes,
    /// The configuration is new.
    NotYet,
}

/// What is said of the node's pods; `None` where there are none, or pods cannot report.
pub(super) fn judge(hash: &str, pods: &[Running], settled: Settled, old: &[Condition]) -> Option<Aspect> {
    let running: Vec<&Running> = pods.iter().filter(|pod| pod.is_ready || pod.report.is_some()).collect();
    let rejecting = running.iter().find_map(|pod| Some((*pod, pod.report.as_ref()?.problem.as_ref()?)));
    if let Some((pod, problem)) = rejecting {
        let message = format!(
            "pod {} does not take the newest configuration and runs on the one before: {problem}; where its image is older than the operator, let it be made anew; else change what is named in the MeshNode or its routes",
            pod.pod
        );
        return Some(Aspect::no(IN_FORCE, "Rejected", message));
    }
    let behind: Vec<&Running> = running.iter().copied().filter(|pod| !runs_on(pod, hash)).collect();
    match (running.is_empty(), behind.is_empty(), settled) {
        (true, _, _) => None,
        (false, true, _) => {
            let message = "every pod of the node runs on the configuration and shows its certificates";
            Some(Aspect::yes(IN_FORCE, EVERYWHERE, message))
        }
        (false, false, Settled::NotYet) => Some(as_before(old)),
        (false, false, Settled::Yes) => Some(late(&behind)),
    }
}

fn runs_on(pod: &Running, hash: &str) -> bool {
    pod.report.as_ref().is_some_and(|report| report.config_hash == hash)
}

/// A change that is on its way is no news.
fn as_before(old: &[Condition]) -> Aspect {
    match old.iter().find(|condition| condition.r#type == IN_FORCE) {
        Some(old) => {
            Aspect { kind: IN_FORCE, status: old.status, reason: old.reason.clone(), message: old.message.clone() }
        }
        None => Aspect::unknown(IN_FORCE, "Spreading", "pods are taking the configuration in"),
    }
}

fn late(behind: &[&Running]) -> Aspect {
    let names: Vec<&str> = behind.iter().take(NAMED).map(|pod| pod.pod.as_str()).collect();
    let more = behind.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = names.join(", ");
    let reports = behind.iter().filter_map(|pod| pod.report.as_ref());
    let Some(ends) = reports.map(|report| report.leaf_not_after.as_str()).filter(|end| !end.is_empty()).min() else {
        let message = format!(
            "nothing was reported by pods {names}{more}: see their logs for what keeps them from the operator's intake; older versions report nothing"
        );
        return Aspect::unknown(IN_FORCE, "NotReported", message);
    };
    let message = format!(
        "pods {names}{more} run on an older configuration, and the certificate that they show ends at {ends}: see whether their kubelets are well (kubectl get nodes); a pod that is deleted and made anew has the newest one"
    );
    Aspect::no(IN_FORCE, "Behind", message)
}

#[cfg(test)]
mod tests {
    use crds::{ConditionStatus, intake::Report};

    use super::*;
    use crate::cluster::conditions::merge;

    fn pod(name: &str, hash: Option<&str>) -> Running {
        let report = hash.map(|hash| Report {
            config_hash: hash.into(),
            leaf_not_after: format!("2030-01-0{}T00:00:00Z", name.len()),
            ..Report::default()
        });
        Running { pod: name.into(), is_gateway: false, is_ready: true, report, role: None }
    }

    fn said(pods: &[Running], settled: Settled, old: &[Condition]) -> Option<(ConditionStatus, String)> {
        judge("new", pods, settled, old).map(|aspect| (aspect.status, aspect.reason))
    }

    #[test]
    fn each_state_of_the_pods_has_its_word() {
        use ConditionStatus::{False, True, Unknown};
        let word = |status, reason: &str| Some((status, reason.to_owned()));
        let starting = Running { is_ready: false, ..pod("s", None) };
        let mut rejecting = pod("r", Some("old"));
        rejecting.report.as_mut().unwrap().problem = Some("tls.crt: is missing".into());
        for (pods, settled, wanted) in [
            (vec![], Settled::Yes, None),
            (vec![starting.clone()], Settled::Yes, None),
            (vec![pod("a", Some("new")), starting], Settled::Yes, word(True, "Everywhere")),
            (vec![pod("a", Some("new")), pod("b", Some("old"))], Settled::NotYet, word(Unknown, "Spreading")),
            (vec![pod("a", Some("new")), pod("b", Some("old"))], Settled::Yes, word(False, "Behind")),
            (vec![pod("a", Some("new")), pod("b", None)], Settled::Yes, word(Unknown, "NotReported")),
            (vec![rejecting], Settled::NotYet, word(False, "Rejected")),
        ] {
            assert_eq!(said(&pods, settled, &[]), wanted, "{pods:?}");
        }
    }

    #[test]
    fn a_change_that_is_on_its_way_leaves_the_word_that_was_there() {
        let old = merge(&[], &[Aspect::yes(IN_FORCE, "Everywhere", "all")], 1, "t1");
        let aspect = judge("new", &[pod("a", Some("old"))], Settled::NotYet, &old).unwrap();
        assert_eq!(merge(&old, &[aspect], 1, "t2"), old);
    }

    #[test]
    fn who_is_behind_is_named_with_the_end_of_the_oldest_certificate() {
        let pods = [pod("longer", Some("old")), pod("b", Some("old")), pod("c", None)];
        let message = judge("new", &pods, Settled::Yes, &[]).unwrap().message;
        assert!(message.contains("pods longer, b, c") && message.contains("ends at 2030-01-01T00:00:00Z"), "{message}");
    }
}
