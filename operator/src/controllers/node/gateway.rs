//! Whether the gateway serves and, where it does not, what keeps it: one word, and what to do.
//!
//! Read off what Kubernetes says of the StatefulSet, its pod and its claim. People should not have to look there.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ContainerState, ContainerStatus, PersistentVolumeClaim, Pod},
};
use kube::ResourceExt;

use super::seen::Seen;
use crate::{cluster::conditions::Aspect, node::pod::CONTAINER};

/// The gateway's pod is ready.
pub(super) const GATEWAY_READY: &str = "GatewayReady";

/// What others said is cut to this: a condition has room for 32 KiB, an Event for one.
const QUOTE_MAX: usize = 600;

/// What keeps a gateway from serving.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    reason: &'static str,
    message: String,
}

/// What is said of the gateway.
pub(super) fn ready(seen: &Seen) -> Aspect {
    let (up, wanted) = seen.set.as_ref().map_or((0, 1), counted);
    match (is_ready(seen), wanted) {
        (true, ..=1) => return Aspect::yes(GATEWAY_READY, "Serving", "the gateway's pod is ready"),
        (true, _) => return Aspect::yes(GATEWAY_READY, "Serving", format!("{up} of {wanted} gateways are ready")),
        // The Service leads to the others.
        (false, 2..) if up > 0 => {
            let why = trouble(seen).map_or_else(|| starting(seen), |trouble| trouble.message);
            let message = format!("{up} of {wanted} gateways are ready, and serve; {why}");
            return Aspect::yes(GATEWAY_READY, "ServingInPart", message);
        }
        (false, _) => {}
    }
    match trouble(seen) {
        Some(Trouble { reason, message }) => Aspect::no(GATEWAY_READY, reason, message),
        None => Aspect::unknown(GATEWAY_READY, "Starting", starting(seen)),
    }
}

/// Nothing is wrong as far as is known. Where it lasts, the pod itself says more.
fn starting(seen: &Seen) -> String {
    let is_up = |pod: &&Pod| containers(pod).iter().any(|container| container.name == CONTAINER && container.ready);
    match (seen.pods.iter().find(|pod| !is_up(pod)).or(seen.pods.first()), &seen.set) {
        (Some(pod), _) => {
            format!(
                "the gateway's pod is not ready yet; kubectl describe pod {} says what it waits for",
                pod.name_any()
            )
        }
        (None, Some(set)) => format!(
            "the gateway has no pod yet; kubectl describe statefulset {} says what keeps it from being made, such as a quota",
            set.name_any()
        ),
        (None, None) => "the gateway's StatefulSet is about to be written".into(),
    }
}

pub(super) fn is_ready(seen: &Seen) -> bool {
    seen.set.as_ref().is_some_and(is_serving)
}

/// Whether all its pods are of the newest template and ready.
pub(super) fn is_serving(set: &StatefulSet) -> bool {
    let (up, wanted) = counted(set);
    is_rolled(set) && up >= wanted
}

/// How many pods are ready, and of how many.
fn counted(set: &StatefulSet) -> (i32, i32) {
    let up = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    (up, wanted.max(1))
}

/// Whether its pod is of the newest template. Between a new one and the end of the old pod that one is ready, and not what is
/// meant; and a pod that does not become ready leaves it so.
fn is_rolled(set: &StatefulSet) -> bool {
    let status = set.status.as_ref();
    let is_current = status.and_then(|status| status.observed_generation) >= set.metadata.generation;
    is_current
        && status.is_none_or(|status| {
            let both = status.current_revision.as_ref().zip(status.update_revision.as_ref());
            both.is_none_or(|(current, update)| current == update)
        })
}

/// Whether the cluster has no place for the pod, or lost the one it had.
pub(super) fn is_the_clusters(pod: &Pod, now: Timestamp) -> bool {
    unscheduled(pod).or_else(|| machine_away(pod, now)).is_some()
}

/// The first cause, not what follows from it: a claim before the pod that waits for it, a pod before its container.
fn trouble(seen: &Seen) -> Option<Trouble> {
    let claim = || seen.claims.iter().find_map(of_claim);
    seen.pods.iter().find_map(|pod| {
        let container = || containers(pod).iter().find(|container| container.name == CONTAINER).and_then(of_container);
        machine_away(pod, seen.at).or_else(claim).or_else(|| unscheduled(pod)).or_else(container)
    })
}

/// A kubelet that can be reached ends a pod within its grace and a moment; what is still there then is on a machine that cannot.
const GONE_BY: SignedDuration = SignedDuration::from_secs(30);

/// When a pod that is to end must have ended.
pub(super) fn gone_by(pod: &Pod) -> Option<Timestamp> {
    let ends = pod.metadata.deletion_timestamp.as_ref()?;
    ends.0.checked_add(GONE_BY).ok()
}

/// A StatefulSet makes no second pod while the first may still run; that it does not only a person can know.
fn machine_away(pod: &Pod, now: Timestamp) -> Option<Trouble> {
    if gone_by(pod)? > now {
        return None;
    }
    let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("of no name");
    let name = pod.name_any();
    let message = format!(
        "pod {name} should have ended, and its machine {machine} does not say that it has: bring the machine back; or, where it is surely off, kubectl taint node {machine} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute (which lets its volume go, too), or kubectl delete pod {name} --force"
    );
    Some(Trouble { reason: "MachineAway", message })
}

fn of_claim(claim: &PersistentVolumeClaim) -> Option<Trouble> {
    let phase = claim.status.as_ref()?.phase.as_deref()?;
    let class = claim.spec.as_ref()?.storage_class_name.as_deref().unwrap_or("none: the cluster has no default");
    let name = claim.name_any();
    let message = match phase {
        "Bound" => return None,
        "Lost" => {
            format!("the volume of claim {name} is gone: delete the claim and the pod to begin without its state")
        }
        _ => format!(
            "claim {name} waits for a volume (StorageClass {class}): give spec.gateway.storage.storageClassName a class that makes volumes, or mode Ephemeral, and delete StatefulSet and claim; kubectl describe pvc {name} says more"
        ),
    };
    Some(Trouble { reason: "StoragePending", message })
}

fn unscheduled(pod: &Pod) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let refused = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let why = quote(refused.message.as_deref().unwrap_or_default());
    let message = format!("no machine takes pod {}: {why}: make room, or add a machine", pod.name_any());
    Some(Trouble { reason: "Unschedulable", message })
}

fn containers(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default()
}

fn of_container(container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let said = quote(waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default());
    let trouble = |reason, message| Some(Trouble { reason, message });
    match reason {
        "" => None,
        "ContainerCreating" | "PodInitializing" => None,
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
            let image = &container.image;
            let remedy = "check the operator's --image and --image-pull-secrets";
            trouble("ImageNotPulled", format!("image {image} cannot be had: {said}: {remedy}"))
        }
        "CrashLoopBackOff" => {
            let last = last_words(container);
            let count = container.restart_count;
            let remedy = "kubectl logs --previous has the rest";
            trouble("CrashLoop", format!("the gateway ended {count} times; it said last: {last}; {remedy}"))
        }
        other => {
            let remedy =
                "what it names is missing in the namespace or on the machine: bring it, and the kubelet tries again";
            trouble("ContainerNotStarted", format!("the container cannot be started ({other}): {said}: {remedy}"))
        }
    }
}

/// What the program said before it ended, else how it ended.
fn last_words(container: &ContainerStatus) -> String {
    let last = container.last_state.as_ref().and_then(|state: &ContainerState| state.terminated.as_ref());
    let Some(last) = last else { return "nothing".into() };
    match last.message.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => quote(text.lines().last().unwrap_or_default()),
        None => format!("{} (exit code {})", last.reason.as_deref().unwrap_or("nothing"), last.exit_code),
    }
}

fn quote(text: &str) -> String {
    let end = (0..=QUOTE_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use crds::ConditionStatus::{False, True, Unknown};
    use serde_json::{Value, json};

    use super::*;

    fn seen(set: &Value, pod: &Value, claims: &[Value]) -> Seen {
        let set = (!set.is_null()).then(|| {
            serde_json::from_value(json!({"metadata": {"generation": 2}, "spec": null, "status": set})).unwrap()
        });
        let pod = (!pod.is_null())
            .then(|| serde_json::from_value(json!({"metadata": {"name": "mesh-a-0"}, "status": pod})).unwrap());
        let claims = claims.iter().map(|claim| serde_json::from_value(claim.clone()).unwrap()).collect();
        Seen { set, pods: pod.into_iter().collect(), claims, ..Seen::default() }
    }

    fn waiting(reason: &str, message: &str, more: &Value) -> Value {
        let mut container = json!({"name": "mesh", "image": "example.org/mesh:1", "imageID": "", "ready": false,
            "restartCount": 3, "state": {"waiting": {"reason": reason, "message": message}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            container[key.as_str()] = value.clone();
        }
        json!({"phase": "Pending", "containerStatuses": [container]})
    }

    #[test]
    fn each_state_of_the_pod_has_its_word_and_its_remedy() {
        let served = json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 1});
        let away = json!({"observedGeneration": 2, "replicas": 1});
        let claim = |phase: &str| json!({"metadata": {"name": "mesh-home-mesh-a-0"}, "spec": {"storageClassName": "slow"}, "status": {"phase": phase}});
        let unscheduled =
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]});
        let ended = json!({"lastState": {"terminated": {"exitCode": 1, "message": "starting\ntls.crt: ended\n"}}});
        let killed = json!({"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        let cases = [
            (seen(&Value::Null, &Value::Null, &[]), Unknown, "Starting", ""),
            (seen(&served, &Value::Null, &[]), True, "Serving", ""),
            (
                seen(&json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1}), &Value::Null, &[]),
                Unknown,
                "Starting",
                "",
            ),
            (seen(&away, &waiting("ContainerCreating", "", &json!({})), &[claim("Bound")]), Unknown, "Starting", ""),
            (
                seen(&away, &waiting("ImagePullBackOff", "not found", &json!({})), &[]),
                False,
                "ImageNotPulled",
                "example.org/mesh:1 cannot be had: not found",
            ),
            (
                seen(&away, &waiting("CrashLoopBackOff", "", &ended), &[]),
                False,
                "CrashLoop",
                "ended 3 times; it said last: tls.crt: ended;",
            ),
            (
                seen(&away, &waiting("CrashLoopBackOff", "", &killed), &[]),
                False,
                "CrashLoop",
                "OOMKilled (exit code 137)",
            ),
            (
                seen(&away, &waiting("CreateContainerConfigError", "no such key", &json!({})), &[]),
                False,
                "ContainerNotStarted",
                "no such key",
            ),
            (seen(&away, &unscheduled, &[]), False, "Unschedulable", "0/3 nodes are available"),
            (seen(&away, &unscheduled, &[claim("Pending")]), False, "StoragePending", "StorageClass slow"),
            (seen(&away, &unscheduled, &[claim("Lost")]), False, "StoragePending", "is gone"),
        ];
        for (seen, status, reason, part) in cases {
            let aspect = ready(&seen);
            assert_eq!((aspect.status, aspect.reason.as_str()), (status, reason), "{}", aspect.message);
            assert!(aspect.message.contains(part), "{}", aspect.message);
        }
    }

    #[test]
    fn a_machine_that_is_lost_is_told_with_what_frees_the_pod() {
        let mut seen = seen(&json!({"observedGeneration": 2, "replicas": 1}), &json!({"phase": "Running"}), &[]);
        seen.pods[0].spec = serde_json::from_value(json!({"containers": [], "nodeName": "m1"})).unwrap();
        seen.pods[0].metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::from_second(1000).unwrap()));
        seen.at = Timestamp::from_second(1029).unwrap();
        assert_eq!(ready(&seen).reason, "Starting", "it may still end");
        seen.at = Timestamp::from_second(1030).unwrap();
        let aspect = ready(&seen);
        assert_eq!((aspect.status, aspect.reason.as_str()), (False, "MachineAway"));
        assert!(aspect.message.contains("kubectl taint node m1"), "{}", aspect.message);
    }

    #[test]
    fn a_gateway_whose_rollout_is_under_way_is_not_ready_by_its_old_pod() {
        let revisions = |current: &str| {
            json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "currentRevision": current,
                "updateRevision": "new"})
        };
        assert_eq!(ready(&seen(&revisions("old"), &Value::Null, &[])).status, Unknown);
        assert_eq!(ready(&seen(&revisions("new"), &Value::Null, &[])).status, True);
    }

    #[test]
    fn of_several_gateways_those_that_are_ready_serve_for_the_others() {
        let of_three = |up: i32, update: &str, pod: &Value| {
            let status = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": up,
                "currentRevision": "old", "updateRevision": update});
            let mut seen = seen(&status, pod, &[]);
            let spec = json!({"replicas": 3, "serviceName": "mesh-a", "selector": {}, "template": {}});
            seen.set.as_mut().unwrap().spec = serde_json::from_value(spec).unwrap();
            let aspect = ready(&seen);
            (aspect, is_serving(seen.set.as_ref().unwrap()))
        };
        let waits = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]});
        for (up, update, pod, status, reason, part) in [
            (3, "old", &Value::Null, True, "Serving", "3 of 3 gateways"),
            (2, "new", &Value::Null, True, "ServingInPart", "2 of 3 gateways"),
            (2, "old", &waits, True, "ServingInPart", "no machine takes pod mesh-a-0: no room"),
            (0, "old", &waits, False, "Unschedulable", "no room"),
        ] {
            let (aspect, serves) = of_three(up, update, pod);
            assert_eq!((aspect.status, aspect.reason.as_str()), (status, reason), "{}", aspect.message);
            assert!(aspect.message.contains(part), "{}", aspect.message);
            assert_eq!(serves, up == 3, "the next node's gateways wait for all of these");
        }
    }

    #[test]
    fn what_others_said_is_cut_between_characters() {
        assert_eq!(quote(" short "), "short");
        assert!(quote(&"证".repeat(1000)).len() <= QUOTE_MAX);
    }
}
