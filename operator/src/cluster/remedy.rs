//! What people can do where the API server refuses or does not answer, by what it says.

/// What to do about `error`; it is tried again in any case.
pub(crate) fn of(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(refusal) => of_refusal(refusal.code, &refusal.message),
        _ => {
            "the API server did not answer as it should: where that stays, see its own state, and the network policies before it"
        }
    }
}

fn of_refusal(code: u16, message: &str) -> &'static str {
    let says = |text: &str| message.contains(text);
    match code {
        403 if says("exceeded quota") => {
            "raise the namespace's ResourceQuota, or make room in it: kubectl describe quota"
        }
        403 if says("being terminated") => "the namespace is being deleted, and the node with it",
        403 if says(" cannot ") => {
            "the operator lacks a right: upgrade its release, which brings the roles of this version; mesh-operator check names what is missing"
        }
        400 | 403 if says("denied") => {
            "a policy of the cluster refuses the object: make an exception for what the operator of Interconn writes, or change the MeshNode's spec to what the policy takes"
        }
        404 => {
            "the kind, or the namespace, is not there: apply the definitions of this version, or make the namespace again"
        }
        409 => "somebody else wrote it at the same moment",
        413 => "it is larger than the API server takes: make routes or registrations fewer, or shorter",
        400 | 422 => "what the API server names comes from the MeshNode's spec: change it there",
        429 => "the API server has too much to do",
        _ => "where that stays, see the state of the API server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_comes_with_something_to_do() {
        let services = r#"User "u" cannot create resource "services" in API group "" in the namespace "ns""#;
        let quota = "services \"a\" is forbidden: exceeded quota: few, requested: count/services=1";
        let ended = "unable to create new content in namespace ns because it is being terminated";
        let policy = "admission webhook \"p.example\" denied the request: no LoadBalancer here";
        for (code, message, says) in [
            (403, services, "upgrade its release"),
            (403, quota, "ResourceQuota"),
            (403, ended, "being deleted"),
            (403, policy, "policy of the cluster"),
            (400, policy, "policy of the cluster"),
            (422, "spec.ports[0].nodePort: Invalid value", "MeshNode's spec"),
            (413, "Request entity too large", "fewer"),
            (500, "etcdserver: no leader", "state of the API server"),
        ] {
            assert!(of_refusal(code, message).contains(says), "{code} {message}");
        }
    }
}
