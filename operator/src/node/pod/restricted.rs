//! For tests: what Pod Security *restricted* would refuse of a pod (Kubernetes' Pod Security Standards, version 1.33).
//!
//! The admission plugin of a real API server judges the gateway in the tests on a node; this says it without one.

use serde_json::Value;

/// What would be refused, by container and rule.
pub(crate) fn refusals(pod_spec: &Value) -> Vec<String> {
    let pod = &pod_spec["securityContext"];
    let mut all = Vec::new();
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for container in pod_spec[kind].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            all.extend(of_container(container, pod).into_iter().map(|rule| format!("{name}: {rule}")));
        }
    }
    let host = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|member| pod_spec[*member] == true);
    all.extend(host.map(str::to_owned));
    let allowed =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    for volume in pod_spec["volumes"].as_array().into_iter().flatten() {
        let kinds = volume.as_object().into_iter().flatten().map(|(kind, _)| kind).filter(|kind| *kind != "name");
        all.extend(kinds.filter(|kind| !allowed.contains(&kind.as_str())).map(|kind| format!("volume of kind {kind}")));
    }
    all
}

fn of_container(container: &Value, pod: &Value) -> Vec<&'static str> {
    let own = &container["securityContext"];
    let either = |member: &str| if own[member].is_null() { &pod[member] } else { &own[member] };
    let profile = either("seccompProfile")["type"].as_str();
    let added = own["capabilities"]["add"].as_array().is_some_and(|add| add.iter().any(|c| c != "NET_BIND_SERVICE"));
    let dropped = own["capabilities"]["drop"].as_array().is_some_and(|drop| drop.iter().any(|c| c == "ALL"));
    let host_port = container["ports"].as_array().into_iter().flatten().any(|port| !port["hostPort"].is_null());
    let rules = [
        ("runAsNonRoot", either("runAsNonRoot") == true),
        ("runAsUser", either("runAsUser") != 0),
        ("allowPrivilegeEscalation", own["allowPrivilegeEscalation"] == false),
        ("privileged", own["privileged"] != true),
        ("seccompProfile", matches!(profile, Some("RuntimeDefault" | "Localhost"))),
        ("capabilities.drop", dropped),
        ("capabilities.add", !added),
        ("hostPort", !host_port),
    ];
    rules.into_iter().filter(|(_, holds)| !holds).map(|(rule, _)| rule).collect()
}
