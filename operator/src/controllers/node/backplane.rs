//! What people are told of the backplane, from what each gateway reported: the condition `BackplaneReady`. Pure.

use crds::{BackplaneState, BackplaneStatus, MeshNodeSpec};

use crate::{cluster::conditions::Aspect, controllers::sidecars::Running};

/// Every gateway is joined with the others.
const BACKPLANE_READY: &str = "BackplaneReady";

/// What to do where NATS cannot be had.
const REMEDY: &str = "see whether the servers of spec.backplane.nats.url run and have JetStream, whether they take its credentials, and whether policies let the gateway's pods reach them";

/// The condition of a node that has a backplane and gateways. It decides nothing about `Ready`: what a gateway can do without the
/// others, it does.
pub(super) fn aspect(spec: &MeshNodeSpec, pods: &[Running]) -> Option<Aspect> {
    spec.backplane.as_ref().filter(|_| spec.gateway.enabled)?;
    let reports = pods.iter().filter(|pod| pod.is_gateway);
    let said = |pod: &Running| Some((pod.pod.clone(), pod.report.as_ref()?.backplane.clone()?));
    let mut told: Vec<(String, BackplaneStatus)> = reports.filter_map(said).collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let Some(worst) = told.iter().map(|(_, told)| told.state).max_by_key(|state| weight(*state)) else {
        let message = "no gateway has reported on it: see GatewayReady and InForce; without an intake nobody reports";
        return Some(Aspect::unknown(BACKPLANE_READY, "NotReported", message));
    };
    let failing = told.iter().filter(|(_, told)| told.state != BackplaneState::Joined);
    let failing: Vec<String> = failing.map(|(pod, told)| format!("{pod}: {}", told.problem)).collect();
    let (failing, count) = (failing.join("; "), told.len());
    Some(match worst {
        BackplaneState::Joined => {
            Aspect::yes(BACKPLANE_READY, "Joined", format!("{count} of the node's gateways are joined by NATS"))
        }
        BackplaneState::Waiting => Aspect::no(
            BACKPLANE_READY,
            "NotJoined",
            format!("{failing}; what is not joined serves nobody, and tries again: {REMEDY}"),
        ),
        BackplaneState::Away => Aspect::no(
            BACKPLANE_READY,
            "Away",
            format!("{failing}; each gateway serves its own clients and reaches no other: {REMEDY}"),
        ),
        BackplaneState::Fenced => Aspect::no(
            BACKPLANE_READY,
            "Fenced",
            format!("{failing}; it was cut off for longer than its number rests, ends, and comes again under another"),
        ),
    })
}

/// What people are told first.
const fn weight(state: BackplaneState) -> u8 {
    match state {
        BackplaneState::Joined => 0,
        BackplaneState::Fenced => 1,
        BackplaneState::Away => 2,
        BackplaneState::Waiting => 3,
    }
}

#[cfg(test)]
mod tests {
    use BackplaneState::{Away, Fenced, Joined, Waiting};
    use crds::{
        ConditionStatus::{False, True, Unknown},
        intake::Report,
    };
    use serde_json::json;

    use super::*;

    fn pod(name: &str, state: Option<BackplaneState>) -> Running {
        let backplane = state.map(|state| BackplaneStatus {
            state,
            problem: if state == Joined { String::new() } else { format!("{name} is sick") },
            ..BackplaneStatus::default()
        });
        Running {
            pod: name.into(),
            is_gateway: true,
            is_ready: false,
            report: Some(Report { backplane, ..Report::default() }),
            role: None,
        }
    }

    #[test]
    fn the_worst_of_the_gateways_is_told_by_name() {
        let mut spec = MeshNodeSpec::with_ids("LX1", "JG1");
        assert_eq!(aspect(&spec, &[pod("g-0", Some(Away))]), None, "it has no backplane");
        spec.backplane = serde_json::from_value(json!({"nats": {"url": "nats://nats:4222"}})).unwrap();
        let mut sidecar = pod("app", Some(Waiting));
        sidecar.is_gateway = false;
        let all = |states: &[BackplaneState]| -> Vec<Running> {
            let named = |(n, state): (usize, &BackplaneState)| pod(&format!("g-{n}"), Some(*state));
            let gateways = states.iter().enumerate().map(named);
            gateways.chain([sidecar.clone(), pod("g-old", None)]).collect()
        };
        for (states, status, reason, begin) in [
            (&[][..], Unknown, "NotReported", "no gateway"),
            (&[Joined, Joined], True, "Joined", "2 of"),
            (&[Joined, Away], False, "Away", "g-1: g-1 is sick; each gateway"),
            (&[Joined, Fenced, Away], False, "Away", "g-1: g-1 is sick; g-2: g-2 is sick;"),
            (&[Fenced, Joined], False, "Fenced", "g-0: g-0 is sick;"),
            (&[Away, Waiting], False, "NotJoined", "g-0: g-0 is sick; g-1"),
        ] {
            let said = aspect(&spec, &all(states)).unwrap();
            assert_eq!((said.status, said.reason.as_str()), (status, reason), "{states:?}");
            assert!(said.message.starts_with(begin), "{}", said.message);
        }
        spec.gateway.enabled = false;
        assert_eq!(aspect(&spec, &all(&[Joined])), None, "there is nothing to be joined");
    }
}
