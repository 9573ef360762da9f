//! Pods whose sidecar has another role than their node's pods have now: it is fixed when a pod is made, and
//! `spec.gateway.enabled` may change.

use crds::snapshot::Role;

use crate::{cluster::conditions::Aspect, controllers::sidecars::Running};

/// Pods were made before the gateway was switched on or off.
pub(crate) const ROLE_STALE: &str = "RoleStale";
/// A sentence with more names than these is not read.
const PODS_NAMED: usize = 10;

/// What is said of them; nothing where there are none.
pub(super) fn stale(has_gateway: bool, pods: &[Running]) -> Option<Aspect> {
    let (wanted, harm) = if has_gateway {
        (Role::Sidecar, "each is a whole node of its own, with queues that no partner reaches")
    } else {
        (Role::Gateway, "they wait for a gateway that is gone, and take no newer configuration")
    };
    let stale = |pod: &&Running| !pod.is_gateway && pod.role.as_deref().is_some_and(|role| role != wanted.as_str());
    let names: Vec<&str> = pods.iter().filter(stale).map(|pod| pod.pod.as_str()).collect();
    let named = names.iter().take(PODS_NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > PODS_NAMED { ", and more" } else { "" };
    (!names.is_empty()).then(|| {
        let message = format!(
            "{} pods were made before spec.gateway.enabled was changed ({named}{more}): {harm}; kubectl rollout restart what they belong to",
            names.len()
        );
        Aspect::yes(ROLE_STALE, "PodsToRestart", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, role: Option<&str>, is_gateway: bool) -> Running {
        Running { pod: name.into(), is_gateway, is_ready: true, report: None, role: role.map(str::to_owned) }
    }

    #[test]
    fn pods_of_the_other_role_are_named_until_they_are_made_anew() {
        let pods = [
            pod("gateway", Some("gateway"), true),
            pod("lone", Some("gateway"), false),
            pod("beside", Some("sidecar"), false),
            pod("by-hand", None, false),
        ];
        for (has_gateway, named) in [(true, "lone"), (false, "beside")] {
            let said = stale(has_gateway, &pods).unwrap().message;
            assert!(said.starts_with("1 pods") && said.contains(&format!("({named})")), "{said}");
        }
        assert_eq!(stale(true, &[pods[0].clone(), pods[2].clone()]), None);
        assert_eq!(stale(false, &[pods[1].clone()]), None);
    }
}
