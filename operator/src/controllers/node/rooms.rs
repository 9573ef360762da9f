//! What people are told of the gateway's tunnel and directory, from what it reported: the conditions `TunnelReady`, `DirectoryReady` and
//! `DirectoryWitnessed`. Pure.
//!
//! None of them decides about `Ready`: the data plane serves whatever becomes of these.

use crds::{DirectoryStatus, MeshNodeSpec, TunnelStatus, WitnessState, intake::Report};

use crate::{cluster::conditions::Aspect, node::ABANDON_LOG};

/// Edge nodes are served.
const TUNNEL_READY: &str = "TunnelReady";
/// The directory is open.
const DIRECTORY_READY: &str = "DirectoryReady";
/// Where the directory has witnesses: all of them sign.
const DIRECTORY_WITNESSED: &str = "DirectoryWitnessed";

/// The conditions of the rooms that are on.
pub(super) fn aspects(spec: &MeshNodeSpec, report: Option<&Report>) -> Vec<Aspect> {
    let tunnel = spec.tunnel.as_ref().map(|_| of_tunnel(report.and_then(|report| report.tunnel.as_ref())));
    let directory = report.and_then(|report| report.directory.as_ref());
    let (ready, witnessed) = match &spec.directory {
        Some(config) => (Some(of_directory(directory)), config.witnesses.as_ref().map(|_| witnessed(directory))),
        None => (None, None),
    };
    tunnel.into_iter().chain(ready).chain(witnessed).collect()
}

fn of_tunnel(tunnel: Option<&TunnelStatus>) -> Aspect {
    match tunnel {
        None => not_reported(TUNNEL_READY),
        Some(tunnel) if tunnel.exhausted => Aspect::no(
            TUNNEL_READY,
            "AddressesExhausted",
            "an edge node was sent away because no address of spec.tunnel.subnet is free: give the network a shorter prefix, let addresses of absent nodes go after a time (spec.tunnel.addressLease), or forget nodes that are gone (mesh tunnel kick NODE --unregister in the gateway's pod)",
        ),
        Some(_) => Aspect::yes(TUNNEL_READY, "Serving", "the gateway serves edge nodes; status.tunnel has them"),
    }
}

fn of_directory(directory: Option<&DirectoryStatus>) -> Aspect {
    let Some(DirectoryStatus { problem, lost, .. }) = directory else { return not_reported(DIRECTORY_READY) };
    let away = "the gateway does not serve the directory";
    match (problem, lost) {
        (None, _) => Aspect::yes(DIRECTORY_READY, "Serving", "the gateway serves the directory under /datanet/v1"),
        (Some(problem), Some(lost)) => {
            let remedy = format!(
                "what it served would be another log under the same key. Restore the volume, or import an export, and it is opened; where the log is gone for good, set the annotation {ABANDON_LOG}={lost}: another one is begun, under new keys"
            );
            Aspect::no(DIRECTORY_READY, "LogLost", format!("{away}: {problem}; {remedy}"))
        }
        (Some(problem), None) if directory.is_some_and(is_open) => {
            let remedy = "look after the disk and delete the gateway's pod, or restore the file from a backup, or import an export (docs/directory.md)";
            Aspect::no(
                DIRECTORY_READY,
                "ReadOnly",
                format!("records are read from memory as before, and nothing is written: {problem}; {remedy}"),
            )
        }
        (Some(problem), None) => {
            let remedy = "the gateway's log has more, and it tries again each second";
            Aspect::no(DIRECTORY_READY, "NotOpen", format!("{away}: {problem}; {remedy}"))
        }
    }
}

/// Whether a gateway has the directory open: it knows then what its log is called, whatever became of its disk since.
fn is_open(directory: &DirectoryStatus) -> bool {
    !directory.origin.is_empty()
}

fn witnessed(directory: Option<&DirectoryStatus>) -> Aspect {
    let Some(directory) = directory else { return not_reported(DIRECTORY_WITNESSED) };
    if directory.problem.is_some() && !is_open(directory) {
        return Aspect::unknown(DIRECTORY_WITNESSED, "NotOpen", "the directory is not open: see DirectoryReady");
    }
    let DirectoryStatus { witnesses, quorum, .. } = directory;
    let failing: Vec<String> = witnesses
        .iter()
        .filter(|witness| witness.state == WitnessState::Fails)
        .map(|witness| format!("{}: {}", witness.name, witness.problem))
        .collect();
    let (failing_count, all) = (failing.len(), witnesses.len());
    if failing_count > 0 {
        let enough = match all.saturating_sub(failing_count) >= usize::from(*quorum) {
            true => "the others are enough",
            false => {
                "the others are not enough, and entries are shown without signatures after spec.directory.maxMergeDelay"
            }
        };
        let said = failing.join("; ");
        let message = format!(
            "{said}; {enough} ({quorum} of {all}). Ask who runs them, or name others in spec.directory.witnesses"
        );
        return Aspect::no(DIRECTORY_WITNESSED, "WitnessAway", message);
    }
    if witnesses.iter().any(|witness| witness.state == WitnessState::Unknown) {
        return Aspect::unknown(DIRECTORY_WITNESSED, "NotAsked", "a witness has not answered yet");
    }
    Aspect::yes(DIRECTORY_WITNESSED, "Signed", "every witness signs")
}

fn not_reported(kind: &'static str) -> Aspect {
    let message = "the gateway has not reported on it: see GatewayReady and InForce; without an intake nobody reports";
    Aspect::unknown(kind, "NotReported", message)
}

#[cfg(test)]
mod tests {
    use crds::{
        ConditionStatus::{False, True, Unknown},
        WitnessStatus,
    };
    use serde_json::json;

    use super::*;

    fn spec() -> MeshNodeSpec {
        let mut spec = MeshNodeSpec::with_ids("LX1", "JG1");
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let members = json!([{"name": "w", "url": "https://w.example", "publicKey": key}]);
        spec.tunnel = serde_json::from_value(json!({"advertise": "203.0.113.7"})).unwrap();
        spec.directory = serde_json::from_value(json!({"witnesses": {"quorum": 1, "members": members}})).unwrap();
        spec
    }

    #[test]
    fn each_state_of_the_rooms_has_its_word_and_a_node_without_them_says_nothing() {
        let said = |spec: &MeshNodeSpec, report: Option<&Report>| -> Vec<_> {
            aspects(spec, report).into_iter().map(|aspect| (aspect.kind, aspect.status, aspect.reason)).collect()
        };
        let row = |tunnel: (_, &str), directory: (_, &str), witnessed: (_, &str)| {
            vec![
                (TUNNEL_READY, tunnel.0, tunnel.1.to_owned()),
                (DIRECTORY_READY, directory.0, directory.1.to_owned()),
                (DIRECTORY_WITNESSED, witnessed.0, witnessed.1.to_owned()),
            ]
        };
        let none = (Unknown, "NotReported");
        assert_eq!(said(&spec(), None), row(none, none, none));
        let mut report = Report { tunnel: Some(TunnelStatus::default()), ..Report::default() };
        assert_eq!(said(&spec(), Some(&report)), row((True, "Serving"), none, none));
        report.tunnel.as_mut().unwrap().exhausted = true;
        let mut directory = |state, problem: Option<&str>| {
            let witness = WitnessStatus { name: "w".into(), state, problem: "refused".into() };
            let (origin, problem) = ("log.example".to_owned(), problem.map(str::to_owned));
            let told =
                DirectoryStatus { origin, quorum: 1, witnesses: vec![witness], problem, ..DirectoryStatus::default() };
            report.directory = Some(told);
            (said(&spec(), Some(&report)), aspects(&spec(), Some(&report)).pop().unwrap().message)
        };
        let exhausted = (False, "AddressesExhausted");
        let serving = (True, "Serving");
        assert_eq!(directory(WitnessState::Signs, None).0, row(exhausted, serving, (True, "Signed")));
        assert_eq!(directory(WitnessState::Unknown, None).0, row(exhausted, serving, (Unknown, "NotAsked")));
        let (all, message) = directory(WitnessState::Fails, None);
        assert_eq!(all, row(exhausted, serving, (False, "WitnessAway")));
        assert!(message.starts_with("w: refused; the others are not enough"), "{message}");
        // A disk that failed under an open directory: what is in memory is served, and restarting helps, waiting does not.
        let (all, _) = directory(WitnessState::Signs, Some("leaf 7 is not the one whose hash is kept"));
        assert_eq!(all, row(exhausted, (False, "ReadOnly"), (True, "Signed")));
        let told = DirectoryStatus { problem: Some("no room".into()), ..DirectoryStatus::default() };
        report.directory = Some(told);
        assert_eq!(said(&spec(), Some(&report)), row(exhausted, (False, "NotOpen"), (Unknown, "NotOpen")));
        let (problem, lost) = (Some("restore it".to_owned()), Some("log+00000001".to_owned()));
        report.directory = Some(DirectoryStatus { problem, lost, ..DirectoryStatus::default() });
        assert_eq!(said(&spec(), Some(&report)), row(exhausted, (False, "LogLost"), (Unknown, "NotOpen")));
        let message = aspects(&spec(), Some(&report)).swap_remove(1).message;
        assert!(message.contains("interconn.dev/abandon-directory-log=log+00000001"), "{message}");
        assert_eq!(said(&MeshNodeSpec::with_ids("LX1", "JG1"), Some(&report)), []);
    }
}
